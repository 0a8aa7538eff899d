exporter "server" {
  enable  = true
  listens = [":8080"]
  storage = "memory"

  listen {}
  storages "disk" {}
}

exporter "push" {
  url = "http://localhost:8080"

  tls "name" {
    ca_file = "a"
  }
}
