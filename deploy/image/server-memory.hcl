# The server in a container, with STORAGE_TYPE=memory: the sensors fill it again
# after a restart. Every value comes from a variable of the environment.

server {
  listen          = ["${env("SERVER_HTTP_HOST", env("SERVER_HOST", ""))}:${env("SERVER_HTTP_PORT", env("SERVER_PORT", "8080"))}"]
  probe_listen    = [env("PROBE_LISTEN", ":8081")]
  insecure        = env("INSECURE", env("WEB_CONFIG_FILE", "") == "" ? "true" : "false")
  web_config_file = env("WEB_CONFIG_FILE", "")
  max_rows        = env("STORAGE_MAX_ENTRIES", "1000000")
  forget_after    = env("STORAGE_RETENTION", env("STORAGE_TTL", "24h"))

  storage "memory" {}
}

log {
  level  = replace(lower(env("SERVER_LOG_LEVEL", env("LOG_LEVEL", "info"))), "warning", "warn")
  format = env("LOG_FORMAT", "json")
  output = env("LOG_OUTPUT", "stderr")
}
