# Umlauts before the mistake: äöü
sensor {
	id       = "tab" # a tab before
  interval = /* größer */ "50ms"
}
