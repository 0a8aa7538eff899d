# netmon.hcl: every option with its default. Run: sudo netmon-sensor -config netmon.hcl
#
# Durations are written "5s", sizes "64MiB". Values may use env("NAME", "default"),
# file("path"), hostname(), trimspace, lower, upper, join, split, concat, format,
# replace, jsondecode, and local.NAME from a block locals { NAME = ... }. Relative
# paths begin at the directory of this file.

sensor {
  id       = hostname() # the label `host` on every series
  interval = "5s"       # length of a window, 100ms to 1h
  user     = ""         # to become when started as root, with CAP_NET_RAW alone; "" = netmon if there is one, else nobody; "root" stays root

  state_dir     = "/var/lib/netmon" # where windows are kept for the exporters, across restarts; "" = in memory
  log_max_bytes = "64MiB"           # of these windows; older ones are added up, and nothing is dropped
  sync          = "0s"              # windows may wait this long to be written to disk together; exporters get them after that
  memory_limit  = "0B"              # refuse a configuration with which memory may come to more than this, by the account of -check-config; 0B = no limit
}

capture {
  interfaces    = []      # names and globs such as "eth*"; empty = where the default route goes
  shards        = 0       # rings, each with its own thread; 0 = one per CPU, at most 16
  fanout        = "hash"  # how packets spread over the shards: hash keeps both directions of a flow together, cpu and queue do not
  ring_memory   = "64MiB" # of all rings together
  promiscuous   = false   # also take packets that are addressed to other machines
  home_networks = []      # on a mirror port: the networks that are ours
  block_timeout = "64ms"  # the longest that a packet waits in the ring
  snap          = "auto"  # auto = headers, and the first bytes where names are; full = whole packets
  max_flows     = 1000000 # remembered by all shards together
  pin           = false   # keep each shard on a thread and a CPU of its own
}

filter {
  protocols        = []    # names such as "tcp", "https", "dns", or numbers of IP protocols; empty = all
  ignore_localhost = true  # leave out loopback traffic
  ignore_ports     = []    # at either end: 22, "6000-6010"
  ignore_nets      = []    # at either end: "192.0.2.0/24", "2001:db8::1"
  count            = false # have the kernel hand over the first bytes of what is left out, so that it can be counted
  only_domains     = []    # "example.com", "*.example.com" (below it), ".example.com" (both); others count as (excluded)
  ignore_domains   = []    # the same patterns; these count as (excluded)
}

views {
  max_rows     = 10000 # of each view; the rest adds to (other)
  idle_timeout = "1h"  # a row that rests this long moves to (retired)
}

plugins {
  directory    = "/usr/lib/netmon/plugins" # looked into first, then the directory of netmon-sensor itself
  user         = ""                        # of plugins when started as root; "" = netmon-plugin if there is one, else nobody
  memory_limit = "512MiB"                  # of each plugin, which ends and is started again when it wants more; 0B = no limit
}

# An exporter runs the program netmon-exporter-TYPE. A second one of the same type
# has a name as its second label: exporter "push" "backup" { ... }.

exporter "server" { # serves /metrics and the API
  enabled  = true   # in every exporter block: false keeps it from running
  command  = ""     # in every exporter block: the program's path; "" = look for it
  checksum = ""     # in every exporter block: "sha256:..." of the program; "" = not checked
  env      = {}     # in every exporter block: added to the program's environment

  listen          = ["127.0.0.1:8080"] # addresses of /metrics, the API and the health pages
  probe_listen    = []                 # addresses of the health pages alone, without TLS and login
  web_config_file = ""                 # TLS, client certificates and users, in the format of exporter-toolkit
  insecure        = false              # true: listen beyond this machine without TLS or without a login
  reload          = false              # true: POST /-/reload reads this again, for those who may write

  auth {             # who may do what, beyond what web_config_file asks for
    readers     = [] # users and certificate names that may read; empty = all that got in
    pushers     = [] # users that may push, certificate names that may push for any sensor; empty = all users, a certificate for its own
    writers     = [] # users and certificate names that may remove sensors and reload; empty = none
    tokens_file = "" # lines: SENSORS SECRET [push,read,write]

    # token "web-*" {                # bearer tokens, for the sensors of this name or pattern
    #   secret = env("NETMON_TOKEN") # 16 characters or more, or "sha256:" and the hash in hex
    #   allow  = ["push"]            # push, read, write
    # }
  }

  quota {                        # of each sensor; beyond it, it is asked to wait
    pushes_per_second = 50       # 0 = any number, here and below
    rows_per_minute   = 5000000  # of windows and snapshots
    bytes_per_minute  = "512MiB" # once decompressed
  }

  max_connections     = 2000    # at a time, a quarter of them from one address
  max_sensors         = 1000    # further ones are refused
  max_rows_per_sensor = 100000  # what is beyond adds to (other)
  max_rows            = 1000000 # of all sensors together, likewise
  max_body            = "8MiB"  # of a push as it is sent
  max_decoded         = "32MiB" # of a push once decompressed
  offline_after       = "1m"    # a sensor silent for this long is called offline
  forget_after        = "24h"   # a sensor silent for this long is forgotten; "0s" = never

  storage "memory" {} # where the sensors' totals are kept: memory is filled again by the sensors;
  # "disk" { path = "/var/lib/netmon-server" } survives a kill; "redis" is shared by several
  # servers: examples/server.hcl has its options
}

exporter "push" {                                      # sends to a server
  enabled     = false                                  # this one is an example
  url         = "http://localhost:8080/api/v1/metrics" # of the server
  timeout     = "10s"                                  # of one request
  compression = "zstd"                                 # zstd or none
  heartbeat   = "15s"                                  # how often the server is told that the sensor lives; "0s" = never

  tls {              # for https
    ca_file     = "" # PEM with the authorities to trust; "" = the system's
    cert_file   = "" # PEM with the client's certificate; "" = none
    key_file    = "" # PEM with its key
    server_name = "" # expected in the server's certificate; "" = the URL's host
  }

  auth {              # a username and its password, or a bearer token
    username     = "" # "" = none
    password     = "" # for example trimspace(file("password"))
    bearer_token = "" # for example env("NETMON_TOKEN")
  }
}

log {
  level  = "info"   # trace, debug, info, warn or error
  format = "text"   # text or json
  output = "stderr" # stderr, stdout or a path
}

status {
  listen   = "127.0.0.1:9854" # the sensor's own metrics, probes and pages; "" = off
  insecure = false            # true = listen may be an address that other machines reach, without TLS or login
  reload   = false            # true = POST /-/reload reads this file again, as SIGHUP does
}
