package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/netmon-sensor/netmon/bench/measure"
)

// A reader is a program that captures on the interface under test.
type reader struct {
	name   string
	sensor string // the program; "": ringcount
	shards int
	fanout string
	snap   string // of the sensor; of ringcount, bytes
	bursts bool   // are read, by threads that keep their places

	against string // the reader that this one is compared with
}

const (
	under  = "sink" // the interface under test
	status = "127.0.0.1:9854"

	// interval is the sensor's default: what is seen within it is counted at its end.
	// After bursts it is not waited for so long.
	interval      = 5 * time.Second
	shortInterval = time.Second

	// patience is how long a program may take to start, to count what was sent,
	// and to end.
	patience = 20 * time.Second
)

// A running reader.
type running struct {
	reader
	command *exec.Cmd
	output  *bufio.Reader
	folder  string
}

func (r reader) start(counter string) (*running, error) {
	folder, err := os.MkdirTemp("", "netmon-live-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(folder, 0o755); err != nil { // the sensor becomes another user
		return nil, err
	}
	p := &running{reader: r, folder: folder}
	if r.sensor == "" {
		p.command = exec.Command(counter, under, r.snap)
	} else {
		config := filepath.Join(folder, "netmon.hcl")
		text := fmt.Sprintf(`
sensor {
  interval  = "%s"
  state_dir = %q
}
capture {
  interfaces = [%q]
  shards     = %d
  fanout     = %q
  snap       = %q
  pin        = %v
}
status { listen = %q }
`, r.interval(), filepath.Join(folder, "state"), under, r.shards, r.fanout, r.snap, r.bursts, status)
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			return nil, err
		}
		p.command = exec.Command(r.sensor, "-config", config, "-log-level", "error")
		p.command.Stderr = os.Stderr
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.output = bufio.NewReader(out)
	if err := p.command.Start(); err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	if err := p.ready(); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	return p, nil
}

func (r reader) interval() time.Duration {
	if r.bursts {
		return shortInterval
	}
	return interval
}

func (p *running) ready() error {
	if p.sensor == "" {
		_, err := p.output.ReadString('\n')
		return err
	}
	return until(5*time.Millisecond, func() bool {
		r, err := http.Get("http://" + status + "/-/ready")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// until asks every so often until the answer is yes.
func until(every time.Duration, yes func() bool) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(every) {
		if yes() {
			return nil
		}
	}
	return errors.New("took too long")
}

func (p *running) cpu() time.Duration { return measure.CPU(p.command.Process.Pid) }

// settle waits until the reader has done all there is to do.
func (p *running) settle() {
	if p.sensor == "" {
		time.Sleep(200 * time.Millisecond) // for the last block: its timer is 64 ms
		return
	}
	time.Sleep(p.interval() + time.Second) // for the last window
}

// counted returns how many packets the reader has counted and how many it knows
// to have been dropped, once that is as many as were sent, or the two are still.
// ringcount says so when it ends.
func (p *running) counted(sent float64) (packets, dropped float64, err error) {
	if p.sensor == "" {
		if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
			return 0, 0, err
		}
		_, err = fmt.Fscanf(p.output, "packets %g bytes %g dropped %g\n", &packets, new(float64), &dropped)
		return packets, dropped, err
	}
	last, still := -1.0, 0
	err = until(50*time.Millisecond, func() bool {
		packets, dropped, err = scrape()
		if err != nil || packets+dropped != last {
			last, still = packets+dropped, 0
		}
		still++
		return err == nil && packets+dropped >= sent || still > 120 // longer than a window
	})
	return packets, dropped, err
}

// scrape adds up the sensor's own metrics.
func scrape() (packets, dropped float64, err error) {
	r, err := http.Get("http://" + status + "/metrics")
	if err != nil {
		return 0, 0, err
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(r.Body, 8<<20))
	for lines.Scan() {
		line := lines.Text()
		value, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		switch {
		case strings.HasPrefix(line, "netmon_frames_total{"):
			packets += value
		case strings.HasPrefix(line, "netmon_capture_dropped_total{"):
			dropped += value
		}
	}
	return packets, dropped, lines.Err()
}

// stop ends the program, by force where it must.
func (p *running) stop() {
	p.command.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(patience, func() { p.command.Process.Kill() })
	defer kill.Stop()
	io.Copy(io.Discard, p.output)
	p.command.Wait()
	os.RemoveAll(p.folder)
}
