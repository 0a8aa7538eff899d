interval = "5s"
sensor = {}

sensors {
  interval = "5s"
}

sensor {
  intervall = "5s"
  colour    = "red"

  interval {
    seconds = 5
  }

  label "x" {}
}

capture {
  ring_memory = "64MiB"
  filter {
    bpf = "tcp"
  }
}

exporter "server" {
  enable = true
  storage = "memory"
}
