sensor {
  id = "a
  interval = "5s"
}

capture {
  shards = 2
}
