package main

import (
	"fmt"
	"time"
)

// status is the sensor's own figures.
func (h *host) status() scrape {
	h.t.Helper()
	s, err := h.scrape(statusURL + "/metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// windows waits until the sensor has appended so many windows more.
func (h *host) windows(n int) {
	h.t.Helper()
	from := h.status().sum("netmon_log_windows_total")
	eventually(h.t, 30*time.Second, fmt.Sprintf("%d more windows", n), func() error {
		if now := h.status().sum("netmon_log_windows_total"); now < from+float64(n) {
			return fmt.Errorf("%v after %v", now, from)
		}
		return nil
	})
}

// progress waits until an exporter has taken so many windows more than there are
// now.
func (h *host) progress(exporter string, n int) {
	h.t.Helper()
	taken := func() float64 {
		s := h.status()
		return s.sum("netmon_log_windows_total") - s.by("netmon_exporter_behind_windows", "exporter")[exporter]
	}
	want := h.status().sum("netmon_log_windows_total") + float64(n)
	eventually(h.t, 60*time.Second, fmt.Sprintf("exporter %s goes on", exporter), func() error {
		if now := taken(); now < want {
			return fmt.Errorf("it has windows through %v, want %v", now, want)
		}
		return nil
	})
}
