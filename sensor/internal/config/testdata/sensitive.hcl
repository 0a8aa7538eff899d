exporter "push" {
  url = "http://localhost"

  auth {
    username     = "a"
    password     = ["hunter2"]
    bearer_token = { token = "hunter2" }
  }
}

exporter "push" "functions" {
  url = "http://localhost"

  auth {
    password     = jsondecode(env("NETMON_TEST_SECRET"))
    bearer_token = env("NETMON_TEST_TOKEN_UNSET")
  }
}

exporter "push" "misspelled" {
  url = "http://localhost"

  auth {
    pasword = "hunter2"
  }
}

exporter "push" "line" {
  url = "http://localhost"
  auth { bearer_tokn = "hunter2" }
}
