exporter "server" {
  storage "memory" {}
  storage "disk" {
    path = "a"
  }
}

exporter "server" "labels" {
  storage {}
}

exporter "server" "kind" {
  storage "disc" {}
}
