sensor {
  interval = "5"
}

capture {
  ring_memory   = 64
  block_timeout = 0.5
}

views {
  idle_timeout = "-1h"
}
