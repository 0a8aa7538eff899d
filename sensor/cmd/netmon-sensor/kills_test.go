package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stopBound is how long a sensor takes to end after SIGTERM, at most.
const stopBound = 10 * time.Second

// TestHungPluginsKeepNobody freezes five exporters and stops the sensor: it is gone
// within ten seconds, and the next one delivers what they did not take, once.
func TestHungPluginsKeepNobody(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	c := newCenter(w)
	var four strings.Builder
	for i := range 4 {
		fmt.Fprintf(&four, "exporter \"server\" \"s%d\" {\n  listen = [\"127.0.0.1:%d\"]\n  storage \"memory\" {}\n}\n", i, 8081+i)
	}
	config := in(tempDir(t)+"/state", sensorConfig(c.push()+four.String()))
	first := w.client.sensor(config)
	m := w.client.meter("eth0")
	w.visit(tour())
	plugins := first.children(first.children(first.pid(), sensorProgram)[0], pushProgram, serverProgram)
	if len(plugins) != 5 {
		t.Fatalf("plugins %v", plugins)
	}
	for _, pid := range plugins {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	w.visit(tour())
	w.quiet(m)
	began := time.Now()
	first.signal(syscall.SIGTERM)
	if code := first.wait(drainBound); code != 0 {
		t.Errorf("exit code %d", code)
	}
	took := time.Since(began)
	t.Logf("ended after %v", took)
	if took > stopBound+abruptly()-time.Second {
		t.Errorf("ended after %v", took)
	}

	w.client.sensor(config)
	var last scrape
	eventually(t, 45*time.Second, "the server has what the kernel counted", func() (err error) {
		if last, err = c.scrape(); err != nil {
			return err
		}
		return w.balance(m, last)
	})
}

// TestSecondSignalKeepsTheLog ends a sensor by a second signal while it drains; the
// next one goes on with its log.
func TestSecondSignalKeepsTheLog(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	c := newCenter(w)
	dir := tempDir(t) + "/state"
	config := in(dir, sensorConfig(c.push()))
	first := w.client.sensor(config)
	m := w.client.meter("eth0")
	push := first.plugin(pushProgram)
	if err := syscall.Kill(push, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.visit(tour())
	w.quiet(m)
	eventually(t, 5*time.Second, "a window tells of flows", func() error {
		if w.client.status().sum("netmon_flows") == 0 {
			return errors.New("none does")
		}
		return nil
	})
	first.signal(syscall.SIGTERM)
	eventually(t, 5*time.Second, "the sensor has closed its rings", func() error {
		if n := sockets(t, first.pid(), packetSockets(t, first.pid())); n > 0 {
			return fmt.Errorf("%d packet sockets", n)
		}
		return nil
	})
	eventually(t, 5*time.Second, "the last window is on disk", func() error {
		s := w.client.status()
		if n := s.sum("netmon_flows"); n > 0 { // the last window ends them all
			return fmt.Errorf("the newest window tells of %v flows", n)
		}
		if n := s.sum("netmon_log_gathered_windows"); n > 0 {
			return fmt.Errorf("%v windows are in memory", n)
		}
		return nil
	})
	began := time.Now()
	first.signal(syscall.SIGTERM)
	first.wait(5 * time.Second)
	if took := time.Since(began); took > abruptly() {
		t.Errorf("the second signal took %v", took)
	}

	second := w.client.sensor(config)
	second.until("going on with the log")
	if _, err := os.Stat(filepath.Join(dir, "log.db.damaged")); err == nil {
		t.Error("the log was damaged")
	}
	eventually(t, 45*time.Second, "the server has what the kernel counted", func() error {
		s, err := c.scrape()
		if err != nil {
			return err
		}
		return w.balance(m, s)
	})
}
