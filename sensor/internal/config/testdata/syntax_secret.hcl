exporter "push" {
  auth {
    password = "hunter2
  }
}
