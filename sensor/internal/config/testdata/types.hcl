sensor {
  id       = ["a"]
  interval = true
}

capture {
  interfaces  = "eth0"
  shards      = "many"
  promiscuous = "sometimes"
  snap        = null
}

filter {
  protocols    = { a = 1 }
  ignore_ports = [22, [80], null]
}

exporter "server" {
  env = ["A=b"]
}
