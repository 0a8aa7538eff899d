exporter "push" {
  url = "http://localhost"

  tls "name" {}
}

exporter "server" {
  storage "memory" "again" {}
}
