filter {
  protocols      = ["tcp", "tpc", "256"]
  only_domains   = ["example.com", "*.example.com", ".example.com", "Example.COM.", "*", "a..b", "ex*mple.com"]
  ignore_domains = ["192.0.2.1", "http://example.com", "host name"]
}
