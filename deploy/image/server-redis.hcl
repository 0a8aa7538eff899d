# The server in a container, with STORAGE_TYPE=redis: several servers show the same,
# and it survives all of them. Every value comes from a variable of the environment.

server {
  listen          = ["${env("SERVER_HTTP_HOST", env("SERVER_HOST", ""))}:${env("SERVER_HTTP_PORT", env("SERVER_PORT", "8080"))}"]
  probe_listen    = [env("PROBE_LISTEN", ":8081")]
  insecure        = env("INSECURE", env("WEB_CONFIG_FILE", "") == "" ? "true" : "false")
  web_config_file = env("WEB_CONFIG_FILE", "")
  max_rows        = env("STORAGE_MAX_ENTRIES", "1000000")
  forget_after    = env("STORAGE_RETENTION", env("STORAGE_TTL", "24h"))

  storage "redis" {
    mode        = env("REDIS_MODE", "single")
    addresses   = split(",", env("REDIS_ADDRESSES", "${env("REDIS_HOST", "localhost")}:${env("REDIS_PORT", "6379")}"))
    master_name = env("REDIS_MASTER_NAME", "")
    username    = env("REDIS_USERNAME", "")
    password    = env("REDIS_PASSWORD", "")
    db          = env("REDIS_DB", "0")
    pool_size   = env("REDIS_POOL_SIZE", "10")
    timeout     = env("REDIS_TIMEOUT", "5s")
    key_prefix  = env("REDIS_KEY_PREFIX", "netmon")
  }
}

log {
  level  = replace(lower(env("SERVER_LOG_LEVEL", env("LOG_LEVEL", "info"))), "warning", "warn")
  format = env("LOG_FORMAT", "json")
  output = env("LOG_OUTPUT", "stderr")
}
