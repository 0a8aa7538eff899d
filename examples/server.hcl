# server.hcl: a server that sensors push to.
# Run: netmon-exporter-server -config server.hcl
#
# The body of the block server is that of exporter "server" in netmon.hcl. Functions
# and locals work as there.

server {
  listen          = [":8080"]          # everything: pushes, the API, /metrics
  probe_listen    = ["127.0.0.1:8081"] # the health pages, without TLS and login
  web_config_file = ""                 # TLS, client certificates and users, in the format of exporter-toolkit
  insecure        = true               # everybody may push and read, in the clear: for a first try, and for networks that are trusted

  storage "disk" { # an acknowledged window survives a kill and a loss of power
    path = "/var/lib/netmon-server"
  }

  # storage "memory" {} # after a restart the sensors fill it again

  # storage "redis" { # shared: any sensor may push to any server, and all show the same
  #   mode        = env("REDIS_MODE", "single")                        # single, sentinel or cluster
  #   addresses   = split(",", env("REDIS_ADDRESSES", "127.0.0.1:6379")) # of Redis, the sentinels, or some nodes
  #   master_name = env("REDIS_MASTER_NAME", "")                       # what the sentinels call it
  #   username    = env("REDIS_USERNAME", "")
  #   password    = env("REDIS_PASSWORD", "")
  #   db          = 0
  #   pool_size   = 10 # connections at most, to each node
  #   timeout     = "5s"
  #   key_prefix  = "netmon"
  #   # tls { ca_file, cert_file, key_file, server_name }
  #   # sentinel_username, sentinel_password
  # }
}

log {
  level  = "info"   # trace, debug, info, warn or error
  format = "json"   # text or json
  output = "stderr" # stderr, stdout or a path
}
