package export

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestStartFails(t *testing.T) {
	script := func(text string) func(*bench) {
		return func(b *bench) {
			b.options.Path = filepath.Join(b.t.TempDir(), "plugin")
			if err := os.WriteFile(b.options.Path, []byte(text), 0o755); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		part   string
		change func(*bench)
		want   string
	}{
		"garbage":     {"garbage", nil, `it printed "Hello, I am no plugin." where the handshake belongs`},
		"version":     {"version 2", nil, "it speaks version 2 of the exporter protocol, this sensor version 1: install"},
		"dies":        {"dies", nil, `the plugin ended (exit status 3), its last words: cannot find my \x1b[31mlibrary`},
		"panics":      {"panics", nil, `its last words: panic: no such luck`},
		"other type":  {"exporter", func(b *bench) { b.options.Type = "other" }, `it is the exporter "test", not "other"`},
		"silent":      {"silent", func(b *bench) {}, "no answer within 1s"},
		"by hand":     {"", script("#!/bin/sh\nexit 0\n"), "the plugin ended (exit status 0) without a word"},
		"empty line":  {"", script("#!/bin/sh\necho\nexec sleep 60\n"), `it printed "" where the handshake belongs`},
		"long line":   {"", script("#!/bin/sh\nyes | tr -d '\\n'\n"), `it printed "yyyy`},
		"no program":  {"", script("\x7fELF and then nothing"), "exec format error"},
		"absent":      {"", func(b *bench) { b.options.Path += "-absent" }, "no such file"},
		"no user":     {"", func(b *bench) { b.options.User = "no-such-user-here" }, `user "no-such-user-here" for plugins: no such user`},
		"no place":    {"", func(b *bench) { b.options.RuntimeDir = "/proc/nothing" }, "directory for the socket"},
		"long place":  {"", func(b *bench) { b.options.RuntimeDir += strings.Repeat("/long", 20) }, "has more than 69 bytes"},
		"broken pipe": {"", script("#!/bin/sh\nexec 1>&-\nsleep 60\n"), "the plugin ended"},
	} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			b := newBench(t, c.part)
			if c.change != nil {
				c.change(b)
			}
			b.sink = New(b.options, b.settings, b.log)
			if name == "silent" {
				b.sink.limits.start = time.Second
			}
			began := time.Now()
			err := b.sink.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v, want %s", err, c.want)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			b.left()
		})
	}
}

func TestNothingLeaks(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	b := newBench(t, "exporter")
	if err := b.sink.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { b.ran <- b.sink.Run(t.Context()) }()
	b.log.append(3, 1)
	b.awaitAcknowledged(3)
	pid := b.sink.Status().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.awaitRunning(pid)
	b.finish()
}

// TestSurroundings reads what a plugin finds of the sensor: nothing.
func TestSurroundings(t *testing.T) {
	t.Setenv("NETMON_TEST_SECRET", "hunter2")
	t.Setenv("TZ", "UTC")
	t.Setenv("SSL_CERT_DIR", "/etc/ssl/certs")
	// Not close-on-exec, as the sockets of a C library are.
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(socket)

	accounts := []string{""}
	if os.Geteuid() == 0 {
		accounts = append(accounts, "nobody")
	}
	for _, account := range accounts {
		t.Run("as "+account, func(t *testing.T) {
			b := newBench(t, "looks around", func(b *bench) {
				dir := shared(b.t)
				b.out = filepath.Join(dir, "out")
				b.settings["file"] = b.out
				b.options.Env["OUT"] = filepath.Join(dir, "seen")
				b.options.Path = copyOf(b.t, b.options.Path, dir)
				b.options.User, b.options.RuntimeDir = account, filepath.Join(dir, "run")
			})
			b.start()
			b.log.append(1, 1)
			b.finish()
			text, err := os.ReadFile(b.options.Env["OUT"])
			if err != nil {
				t.Fatal(err)
			}
			var seen surroundings
			if err := json.Unmarshal(text, &seen); err != nil {
				t.Fatal(err)
			}
			checkSurroundings(t, seen)
			if status := field(seen.Status, "Uid"); account == "nobody" && strings.HasPrefix(status, "0\t") {
				t.Errorf("runs as %s", status)
			}
		})
	}
}

func checkSurroundings(t *testing.T, seen surroundings) {
	t.Helper()
	if i := slices.IndexFunc(seen.Files, func(f string) bool { return strings.Contains(f, "socket:") }); i >= 0 {
		t.Errorf("a socket came along: %q", seen.Files)
	}
	if i := slices.IndexFunc(seen.Files, func(f string) bool { return f == "0 /dev/null" }); i < 0 {
		t.Errorf("standard input: %q", seen.Files)
	}
	allowed := regexp.MustCompile(`^(PATH|TZ|LANG|SSL_CERT_\w+|GOMEMLIMIT|PLUGIN_\w+|NETMON_EXPORTER|NETMON_LOG_LEVEL|OUT|` + partEnv + `)=`)
	given := map[string]bool{}
	for _, entry := range seen.Environment {
		name, _, _ := strings.Cut(entry, "=")
		if given[name] = true; !allowed.MatchString(entry) {
			t.Errorf("in its environment: %.40s", entry)
		}
	}
	if !given["TZ"] || !given["SSL_CERT_DIR"] || !given["OUT"] {
		t.Errorf("missing in its environment: %v", given)
	}
	for _, set := range []string{"CapEff", "CapPrm", "CapAmb"} {
		if value := field(seen.Status, set); strings.Trim(value, "0") != "" {
			t.Errorf("%s %s", set, value)
		}
	}
	if field(seen.Status, "NoNewPrivs") != "1" {
		t.Error("may gain privileges")
	}
	if seen.Directory != "/" {
		t.Errorf("in %s", seen.Directory)
	}
}

func field(status, name string) string {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, name+":\t"); ok {
			return strings.TrimSpace(value)
		}
	}
	return "absent"
}

// shared is a directory that another user may write to, though every test's own
// directory is below one that is closed to others.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "export")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyOf(t *testing.T, path, dir string) string {
	t.Helper()
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "plugin"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Name()
}

func TestFlood(t *testing.T) {
	b := newBench(t, "exporter", with("fail", "flood"))
	b.start()
	b.log.append(2, 1)
	b.awaitAcknowledged(2)
	b.finish()
	b.wantReceived("window 1", "window 2", "stop 0")
	text := b.lines.String()
	if len(text) > 1<<20 {
		t.Errorf("%d bytes of log", len(text))
	}
	for _, want := range []string{`{"@message":5`, "cut=true", "line after line", "lines were left out", "Println goes to the log"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if n := b.sink.Status().Failures[failedLines]; n < 10000 {
		t.Errorf("%d lines are counted that were left out", n)
	}
}

// hostPart is a sensor that runs a plugin until it is killed.
func hostPart() {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	s := New(Options{
		Label: "test", Type: "test", Path: self, RuntimeDir: os.Getenv("RUN"),
		Env:    map[string]string{partEnv: "exporter"},
		Logger: hclog.New(&hclog.LoggerOptions{Output: os.Stderr}),
	}, testSettings{"file": os.Getenv("OUT")}, newMemory())
	if err := s.Start(context.Background()); err != nil {
		fmt.Println("start:", err)
		os.Exit(1)
	}
	fmt.Println(s.Status().PID)
	_ = s.Run(context.Background())
}

func TestHostIsKilled(t *testing.T) {
	dir := shared(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self)
	host.Env = append(os.Environ(), partEnv+"=host", "OUT="+filepath.Join(dir, "out"), "RUN="+dir)
	host.Stderr = os.Stderr
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, errNumber := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || errNumber != nil {
		_ = host.Process.Kill()
		t.Fatalf("%q, %v", line, err)
	}
	if !alive(pid) {
		t.Error("the plugin does not run")
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait()
	await(t, "the plugin is gone", 5*time.Second, func() bool { return !alive(pid) })
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/bin", "AWS_SECRET=x", "LANG=C", "SSL_CERT_FILE=f", "PATHOLOGY=1", "GOMEMLIMIT=1GiB", "HOME=/root"},
		map[string]string{"B": "2", "A": "1"}, hclog.Debug)
	want := []string{"PATH=/bin", "LANG=C", "SSL_CERT_FILE=f", "GOMEMLIMIT=1GiB", "NETMON_LOG_LEVEL=debug", "A=1", "B=2"}
	if !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
}
