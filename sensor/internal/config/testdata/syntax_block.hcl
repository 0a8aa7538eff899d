sensor {
  id = "a"

capture {
  shards = = 2
