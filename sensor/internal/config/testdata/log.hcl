sensor {
  state_dir     = 5
  log_max_bytes = "1MiB"
  sync          = "1h"
}
