capture {
  pin = 3
}

filter {
  count = "often"
}

sensor {
  memory_limit = 512
}
