locals {
  a = local.b
  b = "${local.c}-b"
  c = local.a
}

locals {
  d = "once"
  e = local.e
  f = local.nowhere
  block {}
}

locals {
  d = "twice"
}

sensor {
  id = local.a
}
