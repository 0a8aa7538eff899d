# The sensor in a container. Every value comes from a variable of the environment;
# mount a file of your own over this one, or name it in CONFIG_FILE, for the rest.

locals {
  interfaces = env("NETWORK_INTERFACE", env("INTERFACE", "")) # separated by commas; "" = where the default route goes
  host       = env("AGENT_SERVER_HOST", env("SERVER_HOST", "localhost"))
  port       = env("AGENT_SERVER_PORT", env("SERVER_PORT", "8080"))
}

sensor {
  id       = env("NODE_NAME", env("HOSTNAME", hostname()))
  interval = env("REPORT_INTERVAL", "5s")
}

capture {
  interfaces  = local.interfaces == "" ? [] : split(",", local.interfaces)
  ring_memory = env("RING_MEMORY", "${env("BUFFER_SIZE", "1024") * 64}KiB") # BUFFER_SIZE counts blocks of 64 KiB
}

filter {
  ignore_localhost = env("IGNORE_LOCALHOST", "true")
}

exporter "push" {
  url     = env("SERVER_URL", "http://${local.host}:${local.port}/api/v1/metrics")
  timeout = env("REPORTER_TIMEOUT", "10s")
}

log {
  level  = replace(lower(env("AGENT_LOG_LEVEL", env("LOG_LEVEL", "info"))), "warning", "warn")
  format = env("LOG_FORMAT", "json")
  output = env("LOG_OUTPUT", "stderr")
}

status {
  listen = env("STATUS_LISTEN", "127.0.0.1:9854")
}
