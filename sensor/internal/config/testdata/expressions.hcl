locals {
  list = ["a", "b"]
}

sensor {
  id = local.name
}

capture {
  interfaces = local.list[2]
  fanout     = hash
  snap       = "${auto}"
}

filter {
  only_domains = split(",", file("testdata-that-is-not-there"))
}

views {
  max_rows     = env("NETMON_TEST_ROWS_UNSET")
  idle_timeout = env("A", "B", "C")
}

plugins {
  directory = lowercase("A")
}

log {
  level = format("%d", "x")
}

status {
  listen = jsondecode("{")
}
