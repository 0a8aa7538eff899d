exporter "server" {
  enabled  = "maybe"
  checksum = "md5:0123"
  command  = 5
  env = {
    "A=B" = "c"
  }
}

exporter "push" {
  checksum = "sha256:0123"
  env = {
    "A=B" = "c"
  }
}
