package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// in keeps the log of a configuration in a directory of the test's.
func in(dir, config string) string {
	return strings.Replace(config, `state_dir = ""`, `state_dir = "`+dir+`"`, 1)
}

// TestLogOutlivesSensors kills and stops a sensor again and again, at rest and with
// its push out of reach. The server, which is there all the time, has every byte that
// the kernel counted: at rest nothing is in the ring nor in the open window. What
// passes while there is no sensor is not counted, and the gap is (P5).
func TestLogOutlivesSensors(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	c := newCenter(w)
	dir := tempDir(t) + "/state"
	config := in(dir, sensorConfig(exporterServer+c.push()))
	local := func() (scrape, error) { return w.client.scrape(localMetrics) }
	m := w.client.meter("eth0")
	watchServer := watch(t, "the server", c.scrape)
	watchLocal := watch(t, "the sensor's own exporter", local)

	end := map[string]func(*program){
		"killed": func(p *program) { p.kill() },
		"stopped": func(p *program) {
			p.signal(syscall.SIGTERM)
			if code := p.wait(drainBound); code != 0 {
				t.Errorf("exit code %d", code)
			}
		},
	}
	for round, how := range []string{"killed", "stopped", "killed"} {
		sensor := w.client.sensor(config)
		if round == 1 {
			w.web.run("ip", "link", "set", "mgmt", "down") // push has nobody to send to
		}
		w.visit(tour())
		w.settle(m, local)
		end[how](sensor)
		if round == 1 {
			w.web.run("ip", "link", "set", "mgmt", "up")
		}
	}
	sensor := w.client.sensor(config)
	w.visit(tour())
	own := w.settle(m, local)
	c.agrees(own)
	watchServer()
	watchLocal()
	for detail, want := range map[string]float64{"killed": 2, "stopped": 1} {
		if got := own.by("netmon_log_gaps_total", "detail")[detail]; got != want {
			t.Errorf("%v gaps of a sensor that was %s, want %v", got, detail, want)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has %v, %v", info.Mode(), err)
	}
	sensor.signal(syscall.SIGTERM)
	sensor.wait(drainBound)
}

// TestTwoSensorsOneLog wants the second refused, in words.
func TestTwoSensorsOneLog(t *testing.T) {
	t.Parallel()
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	config := in(tempDir(t), sensorConfig(""))
	a.sensor(config)
	second := b.startSensor(config)
	if code := second.wait(20 * time.Second); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	if err := containsAll(second.stderr.String(), "state_dir", "another sensor uses it"); err != nil {
		t.Error(err)
	}
}

// TestFullDisk fills the disk of the log under traffic. The sensor goes on, says so,
// and when there is space again the exporters get everything.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	disk := tempDir(t)
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=2m"); err != nil {
		missing(t, fmt.Sprintf("needs CAP_SYS_ADMIN to mount a small tmpfs: %v", err))
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	sensor := w.client.sensor(in(disk+"/state", sensorConfig(exporterServer)))
	m := w.client.meter("eth0")
	w.visit(tour())
	if err := fill(disk + "/filler"); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	status := func(metric string) float64 {
		s, err := w.client.scrape(statusURL + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		return s.sum(metric)
	}
	eventually(t, 30*time.Second, "the log gathers in memory", func() error {
		if status("netmon_log_state") != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	if _, err := w.client.get(statusURL + "/-/ready"); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("ready says %v", err)
	}
	if got := w.client.reasons(); got != "log" {
		t.Errorf("not ready because of %q", got)
	}
	w.visit(tour())
	eventually(t, 30*time.Second, "more windows than wait one by one are gathered", func() error {
		if n := status("netmon_log_gathered_windows"); n < 12 {
			return fmt.Errorf("%v are", n)
		}
		return nil
	})
	if err := os.Remove(disk + "/filler"); err != nil {
		t.Fatal(err)
	}
	w.settle(m, func() (scrape, error) { return w.client.scrape(localMetrics) })
	if state, errs := status("netmon_log_state"), status("netmon_log_errors_total"); state != 0 || errs == 0 {
		t.Errorf("state %v after %v errors", state, errs)
	}
	if n := strings.Count(sensor.stderr.String(), "the disk refuses the log"); n == 0 || n > 2 {
		t.Errorf("said %d times that the disk refuses", n)
	}
}

// fill writes until there is no room.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return err
		}
	}
}

// TestStateDirRefused starts a sensor whose directory nobody may write.
func TestStateDirRefused(t *testing.T) {
	t.Parallel()
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	disk := tempDir(t)
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_RDONLY, "size=1m"); err != nil {
		missing(t, fmt.Sprintf("needs CAP_SYS_ADMIN to mount a read-only tmpfs: %v", err))
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	p := a.startSensor(in(disk+"/state", sensorConfig("")))
	if code := p.wait(20 * time.Second); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	if err := containsAll(p.stderr.String(), "read-only file system", "install -d", `state_dir = ""`); err != nil {
		t.Error(err)
	}
}
