status {
  listen = ":9854"
}
