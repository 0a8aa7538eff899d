capture {
  pin = 3
}

filter {
  count = "often"
}
