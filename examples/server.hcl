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

  storage "memory" {} # after a restart the sensors fill it again
}

log {
  level  = "info"   # trace, debug, info, warn or error
  format = "json"   # text or json
  output = "stderr" # stderr, stdout or a path
}
