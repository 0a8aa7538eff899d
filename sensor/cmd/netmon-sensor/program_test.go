package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A program is a process that a test started, with what it printed.
type program struct {
	t              testing.TB
	name           string
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr output
	done           chan struct{} // closed once it is dead
	err            error         // valid after done
}

// output is a buffer that can be read while it is written.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts cmd in a process group of its own. When the test ends the group
// is killed, and what the program said is shown if the test failed.
func start(t testing.TB, name string, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // a child may hold the pipes
	var err error
	if p.stdin, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		if p.alive() == nil {
			_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
		}
		<-p.done
		text := p.stderr.String()
		for _, sign := range []string{"panic:", "goroutine ", "DATA RACE", "fatal error:"} {
			if strings.Contains(text, sign) {
				t.Errorf("%s printed %q", name, sign)
			}
		}
		if t.Failed() {
			t.Logf("%s: %v\n%s\n%s", name, cmd.Args, clip(p.stdout.String()), tail(text))
		}
	})
	return p
}

// clip is the beginning of a long text, tail its end.
func clip(text string) string {
	const most = 500
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

func tail(text string) string {
	const most = 4000
	if len(text) > most {
		return "..." + text[len(text)-most:]
	}
	return text
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// alive returns nil while the program runs, else how it ended.
func (p *program) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %v", p.name, p.exit())
	default:
		return nil
	}
}

func (p *program) exit() string {
	if p.err == nil {
		return "exit status 0"
	}
	return p.err.Error()
}

func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.pid(), s); err != nil {
		p.t.Fatalf("%v to %s: %v", s, p.name, err)
	}
}

// wait waits for the end and returns the exit code, -1 for a signal.
func (p *program) wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("%s has not ended within %v", p.name, within)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatalf("%s: %v", p.name, p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the program as a power cut would and waits until it is gone.
func (p *program) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait(10 * time.Second)
}

// until waits for text on standard error.
func (p *program) until(text string) {
	p.t.Helper()
	eventually(p.t, 20*time.Second, fmt.Sprintf("%s says %q", p.name, text), func() error {
		if strings.Contains(p.stderr.String(), text) {
			return nil
		}
		if err := p.alive(); err != nil {
			p.t.Fatal(err)
		}
		return errors.New("not said")
	})
}

// statusURL is the sensor's own listener, in its namespace.
const statusURL = "http://127.0.0.1:9854"

// sensor starts a sensor in the namespace and waits until it captures.
func (h *host) sensor(config string, flags ...string) *program {
	h.t.Helper()
	p := h.startSensor(config, flags...)
	h.ready(p)
	return p
}

// ready waits until a sensor in the namespace captures and its exporters run.
func (h *host) ready(p *program) {
	h.t.Helper()
	eventually(h.t, 20*time.Second, "the sensor is ready", func() error {
		if err := p.alive(); err != nil {
			h.t.Fatal(err)
		}
		_, err := h.get(statusURL + "/-/ready")
		return err
	})
}

// startSensor starts a sensor and does not wait for it.
func (h *host) startSensor(config string, flags ...string) *program {
	h.t.Helper()
	// A log of its own, on disk as everybody's.
	if !strings.Contains(config, "state_dir") {
		h.t.Fatal("a sensor of a test needs a state_dir: the default one is the machine's")
	}
	config = strings.Replace(config, `state_dir = ""`, `state_dir = "`+tempDir(h.t)+`/state"`, 1)
	path := writeFile(h.t, "netmon.hcl", config)
	return start(h.t, "sensor", h.command(bin(h.t, sensorProgram), append([]string{"-config", path}, flags...)...))
}

// plugin returns the pid of the running plugin of p of this name, 0 for none.
func (p *program) plugin(name string) int {
	p.t.Helper()
	for _, pid := range p.plugins(name) {
		return pid
	}
	return 0
}

// plugins are the pids of the running plugins of p of these names. Their parent is
// p's launcher.
func (p *program) plugins(names ...string) (pids []int) {
	p.t.Helper()
	for _, launcher := range p.children(p.pid(), sensorProgram) {
		pids = append(pids, p.children(launcher, names...)...)
	}
	return pids
}

// children are the running processes below parent that execute a program of one of
// these names.
func (p *program) children(parent int, names ...string) (pids []int) {
	p.t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (comm) state ppid ...; comm may hold anything
		end := bytes.LastIndexByte(text, ')')
		fields := strings.Fields(string(text[end+1:]))
		exe, err := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		if err != nil || fields[0] == "Z" || fields[1] != strconv.Itoa(parent) || !slices.Contains(names, filepath.Base(exe)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			p.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// killPlugin kills a plugin of p and waits until another one runs.
func (p *program) killPlugin(name string, within time.Duration) {
	p.t.Helper()
	old := p.plugin(name)
	if old == 0 {
		p.t.Fatalf("%s has no plugin %s", p.name, name)
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, within, name+" runs again", func() error {
		if pid := p.plugin(name); pid == 0 || pid == old {
			return errors.New("no new process")
		}
		return p.alive()
	})
}

// call runs a program to its end.
func call(t testing.TB, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, filepath.Base(cmd.Args[0]), cmd)
	p.stdin.Close()
	code = p.wait(60 * time.Second)
	return code, p.stdout.String(), p.stderr.String()
}
