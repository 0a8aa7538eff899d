sensor {
  user = 7
}

status {
  listen   = "0.0.0.0:9854"
  insecure = "no"
  reload   = 2
}
