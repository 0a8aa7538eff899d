package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// consumed is the CPU time that the threads of processes have run, and the MiB that are
// their own: neither of files nor of a ring, which is the kernel's.
func consumed(t *testing.T, pids ...int) (cpu time.Duration, anonymous float64) {
	t.Helper()
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("process %d: no threads: %v", pid, err)
		}
		for _, path := range tasks {
			var ns time.Duration
			if text, err := os.ReadFile(path); err == nil { // else it has ended
				fmt.Sscan(string(text), &ns)
			}
			cpu += ns
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var kB float64
			if n, _ := fmt.Sscanf(line, "RssAnon: %g kB", &kB); n == 1 {
				anonymous += kB / 1024
			}
		}
	}
	return cpu, anonymous
}

// TestStandingBy wants a sensor without exporters on a silent wire to take next to
// nothing. Its start is bounded for a busy machine; the log of the test has the time.
func TestStandingBy(t *testing.T) {
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	bin(t, sensorProgram) // built before the clock runs
	begin := time.Now()
	p := a.startSensor(sensorConfig(""))
	eventually(t, 10*time.Second, "it captures", func() error {
		if !strings.Contains(p.stderr.String(), "capturing") {
			return errors.New("not yet")
		}
		return nil
	})
	started := time.Since(begin)
	a.ready(p)
	all := append(p.children(p.pid(), sensorProgram), p.pid())
	// In any of a few stretches: what a busy machine adds to one passes, what a sensor
	// does all the time does not.
	const length, stretches = 5 * time.Second, 3
	most := 1.0
	if raceDetector() {
		most = 5 // which watches every access to memory
	}
	for n := 1; ; n++ {
		rest := time.Now()
		before, _ := consumed(t, all...)
		eventually(t, 2*length, "some seconds pass", func() error {
			if time.Since(rest) < length {
				return errors.New("not yet")
			}
			return nil
		})
		after, memory := consumed(t, all...)
		share := 100 * (after - before).Seconds() / time.Since(rest).Seconds()
		t.Logf("captures after %v; standing by %.2f %% of a core and %.1f MiB beside the rings in %d processes",
			started.Round(time.Millisecond), share, memory, len(all))
		if memory > 60 {
			t.Errorf("%.0f MiB beside the rings", memory)
		}
		if share <= most {
			return
		}
		if n == stretches {
			t.Fatalf("%.2f %% of a core, and more than %v %% in each of %d stretches of %v", share, most, n, length)
		}
	}
}
