sensor {
  id       = ""
  interval = 5
}

capture {
  interfaces    = ["eth0", "", "a/b", "eth[0", "averyverylongname0"]
  shards        = 65
  fanout        = "hush"
  ring_memory   = "1MiB"
  home_networks = ["10.0.0.1/8", "10.0.0.0/33", "home"]
  block_timeout = "2s"
  snap          = "some"
  max_flows     = 0
}

filter {
  ignore_ports = [65536, "6010-6000", "http", -1, 22.5]
  ignore_nets  = concat(["192.0.2.0/24"], ["nowhere"])
}

views {
  max_rows     = 0
  idle_timeout = "soon"
}

plugins {
  directory = ""
}

log {
  level  = "warning"
  format = ""
  output = ""
}

status {
  listen = "9854"
}
