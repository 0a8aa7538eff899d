plugins {
  memory_limit = "64MiB"
}
