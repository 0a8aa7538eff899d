package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// drainBound is the longest that a sensor may take to end after SIGTERM.
const drainBound = 15 * time.Second

// TestTermDrains ends a sensor right after traffic: the server then has every
// packet of it, those of the open window, too.
func TestTermDrains(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	c := newCenter(w)
	sensor := w.client.sensor(sensorConfig(c.push()))
	m := w.client.meter("eth0")
	w.visit(tour())
	w.quiet(m)
	sensor.signal(syscall.SIGTERM)
	if code := sensor.wait(drainBound); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s, err := c.scrape()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.balance(m, s); err != nil {
		t.Error(err)
	}
	checkDomains(t, s, tour())
}

// quiet waits until the wire is silent: the last acknowledgements may come after
// the programs that talked have ended.
func (w *town) quiet(m *meter) {
	w.t.Helper()
	sent, received := m.read()
	since := time.Now()
	eventually(w.t, 10*time.Second, "the wire is silent", func() error {
		if s, r := m.read(); s != sent || r != received {
			sent, received, since = s, r, time.Now()
		}
		if silent := time.Since(since); silent < 300*time.Millisecond {
			return fmt.Errorf("only for %v", silent)
		}
		return nil
	})
}

// TestDrainIsBounded ends a sensor whose server cannot be reached: it gives up
// in time and says so, and a second signal ends it at once.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	// Nobody answers there, not even with a refusal.
	a.run("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.2")
	b.run("nft", "add", "table", "inet", "deaf")
	b.run("nft", "add chain inet deaf in { type filter hook input priority 0; policy drop; }")
	config := sensorConfig("exporter \"push\" {\n  url = \"http://192.0.2.2/api/v1/metrics\"\n}\n")

	first := a.sensor(config)
	a.windows(2)
	first.signal(syscall.SIGTERM)
	if code := first.wait(drainBound); code != 0 {
		t.Errorf("exit code %d, want 0: it was told to stop", code)
	}
	if err := containsAll(first.stderr.String(), "stopped before every window was delivered", "push"); err != nil {
		t.Error(err)
	}

	second := a.sensor(config)
	a.windows(2)
	plugin := second.plugin(pushProgram)
	second.signal(syscall.SIGTERM)
	eventually(t, 5*time.Second, "the sensor has closed its rings", func() error {
		if err := second.alive(); err != nil {
			t.Fatal(err)
		}
		if n := sockets(t, second.pid(), packetSockets(t, second.pid())); n > 0 {
			return fmt.Errorf("%d packet sockets", n)
		}
		return nil
	})
	began := time.Now()
	second.signal(syscall.SIGTERM)
	second.wait(5 * time.Second)
	if took := time.Since(began); took > abruptly() {
		t.Errorf("the second signal took %v", took)
	}
	eventually(t, 5*time.Second, "the plugin has died with its sensor", func() error {
		if syscall.Kill(plugin, 0) == nil && procStatus(t, plugin)["State"] != "Z (zombie)" {
			return fmt.Errorf("%d lives", plugin)
		}
		return nil
	})
}

// abruptly is how long a program takes to end that does not drain. The race detector
// has the launcher, which holds the sensor's standard error, sleep for a second first.
func abruptly() time.Duration {
	if raceDetector() {
		return 2 * time.Second
	}
	return time.Second
}
