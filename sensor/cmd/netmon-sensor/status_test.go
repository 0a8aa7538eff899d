package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
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

// reasons are why the sensor says that it is not ready, which its page must say too.
func (h *host) reasons() string {
	h.t.Helper()
	all := h.status().by("netmon_ready_reason", "reason")
	if want := []string{"exporters", "interfaces", "launcher", "log", "starting"}; !slices.Equal(slices.Sorted(maps.Keys(all)), want) {
		h.t.Errorf("reasons %v, want %v", all, want)
	}
	maps.DeleteFunc(all, func(_ string, holds float64) bool { return holds == 0 })
	return strings.Join(slices.Sorted(maps.Keys(all)), " ")
}

// TestReadyReasons causes what keeps a sensor from being ready, one thing after the
// other, and wants it named, and nothing else. TestFullDisk and TestLauncherGone have
// the others.
func TestReadyReasons(t *testing.T) {
	t.Parallel()
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	sensor := a.sensor(sensorConfig(exporterServer))
	becomes := func(want string) {
		t.Helper()
		eventually(t, 40*time.Second, "ready without "+want, func() error {
			got := a.reasons()
			if got == want {
				return nil
			}
			if got != "" && want != "" {
				t.Errorf("not ready because of %q, want %q", got, want)
			}
			return errors.New(got)
		})
		if _, err := a.get(statusURL + "/-/ready"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want+": ") {
			t.Errorf("because of %q /-/ready says %v", want, err)
		}
	}
	becomes("")
	a.run("ip", "link", "del", "eth0")
	becomes("interfaces")
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	becomes("")
	// A frozen exporter is found by its health and replaced, which takes a while.
	if err := syscall.Kill(sensor.plugin(serverProgram), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	becomes("exporters")
	becomes("")
	if n := a.status().by("netmon_status_refusals_total", "code")["503"]; n < 2 {
		t.Errorf("%v refused probes are counted", n)
	}
}
