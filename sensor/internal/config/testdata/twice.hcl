sensor {}

sensor {
  interval = "10s"
}

log "file" {}

exporter "server" {}
exporter "server" {}
exporter "server" "second" {}
exporter "server" "second" {}
exporter {}
exporter "a" "b" "c" {}
exporter "../server" {}
