exporter "server" {
  listen          = ["127.0.0.1", ":99999", ":http", "[::1]:80", "a b:1", ""]
  web_config_file = "a\u0000b"
}

exporter "push" {
  url         = "ftp://example.com"
  timeout     = "10ms"
  compression = "zsdt"

  tls {
    ca_file = []
  }
}

exporter "push" "without" {}

exporter "push" "empty" {
  url = ""
}

exporter "push" "null" {
  url = null
}
