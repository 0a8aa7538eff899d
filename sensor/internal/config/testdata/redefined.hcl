exporter "push" {
  url = "http://a"
  url = "http://b"
}

locals {
  a = 1
  a = 2
}
