package export

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// newLiar prepares a sink for a plugin that does one thing wrong, the first time it
// runs, and one on the same log for an exporter that does nothing wrong.
func newLiar(t *testing.T, misdeed string) (bad, good *bench) {
	bad = newBench(t, "liar", func(b *bench) {
		b.options.Env["MISDEED"], b.options.Env["ONCE"] = misdeed, filepath.Join(filepath.Dir(b.out), "once")
	})
	good = newBench(t, "exporter", func(o *bench) { o.log, o.options.Label = bad.log, "other" })
	bad.sink.limits.start = 5 * time.Second
	bad.sink.limits.configure, bad.sink.limits.validate = time.Second, time.Second
	bad.sink.limits.flush, bad.sink.limits.stop, bad.sink.limits.abandon = time.Second, time.Second, time.Second
	return bad, good
}

func (b *bench) awaitOther(n uint64) {
	b.t.Helper()
	await(b.t, "the other exporter goes on", 15*time.Second, func() bool { return b.log.Cursor("other") == n })
}

// Whatever a plugin answers or does not: it is replaced, its cursor stands meanwhile,
// and other exporters go on.
func TestMisdeeds(t *testing.T) {
	t.Parallel()
	for misdeed, c := range map[string]struct {
		cursor uint64 // when it is found out
		want   string // the error
	}{
		"hang in handshake":   {0, "no answer within 5s"},
		"hang in Describe":    {0, "no answer within 5s"},
		"hang in Configure":   {0, "no answer to Configure within 1s"},
		"giant Describe":      {0, "larger than max"},
		"giant Configure":     {0, "larger than max"},
		"giant Export":        {0, "larger than max"},
		"malformed Describe":  {0, "unmarshal"},
		"malformed Configure": {0, "unmarshal"},
		"malformed Export":    {0, "unmarshal"},
		"more":                {0, "acknowledged window 1099511627776, but only"},
		"backwards":           {2, "acknowledged window 1 after 2"},
		"neither":             {0, "neither an acknowledgement nor a rewind"},
	} {
		t.Run(misdeed, func(t *testing.T) {
			t.Parallel()
			bad, good := newLiar(t, misdeed)
			bad.log.append(6, 1)
			good.run()
			bad.run()
			good.awaitOther(6)
			await(t, "found out", 20*time.Second, func() bool { return bad.sink.Status().LastError != "" })
			if s := bad.sink.Status(); !strings.Contains(s.LastError, c.want) || len(s.LastError) > 1000 {
				t.Errorf("%+v, want %s", s, c.want)
			}
			if n := bad.log.Cursor("test"); n != c.cursor && n != 6 { // 6: it was started again already
				t.Errorf("its cursor is at %d, want %d", n, c.cursor)
			}
			bad.awaitAcknowledged(6)
			if s := bad.sink.Status(); s.Restarts != 1 {
				t.Errorf("%+v", s)
			}
			if misdeed == "more" && !strings.Contains(bad.lines.String(), "wrote to standard output") {
				t.Error("nobody tells of what is on standard output")
			}
			bad.finish()
			good.finish()
		})
	}
}

// At the end, a plugin that hangs is ended in the time that each call has, and what
// it acknowledged stays so.
func TestHangsAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"Flush", "Stop"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			bad, good := newLiar(t, "hang in "+call)
			bad.run()
			good.run()
			pid := bad.awaitRunning(0)
			bad.log.append(6, 1)
			bad.awaitAcknowledged(6)
			began := time.Now()
			bad.finish()
			good.finish()
			if took := time.Since(began); took > 5*time.Second || alive(pid) {
				t.Errorf("ended after %v, alive: %v", took, alive(pid))
			}
			if n := bad.log.Cursor("test"); n != 6 {
				t.Errorf("its cursor is at %d", n)
			}
		})
	}
}

func TestCheckMisdeeds(t *testing.T) {
	t.Parallel()
	for misdeed, want := range map[string]string{
		"hang in Validate": "no answer to Validate within 1s", "giant Validate": "larger than max", "malformed Validate": "unmarshal",
	} {
		t.Run(misdeed, func(t *testing.T) {
			t.Parallel()
			bad, _ := newLiar(t, misdeed)
			if err := bad.sink.Check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
			bad.left()
		})
	}
}

// A plugin that dies whenever it starts is started less and less often.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", with("fail", "configure"))
	good := newBench(t, "exporter", func(o *bench) { o.log, o.options.Label = b.log, "other" })
	b.log.append(5, 1)
	good.run()
	began := time.Now()
	b.run()
	good.awaitOther(5)
	await(t, "started four times", 30*time.Second, func() bool { return b.sink.Status().Restarts == 3 })
	// Pauses of 0.5, 1 and 2 s, give or take a fifth.
	if took := time.Since(began); took < 2800*time.Millisecond {
		t.Errorf("started four times within %v", took)
	}
	if s := b.sink.Status(); s.Acknowledged != 0 || !strings.Contains(s.LastError, "dying in Configure") {
		t.Errorf("%+v", s)
	}
	good.finish()
}

// Another version put in the place of a running plugin takes over when that ends,
// if it may.
func TestReplacedWhileRunning(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", func(b *bench) { b.options.Path = copyOf(b.t, b.options.Path, b.t.TempDir()) })
	path := b.options.Path
	install := func(write func(path string) error) {
		t.Helper()
		if err := write(path + ".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	b.start()
	first := b.sink.Status().PID
	b.log.append(2, 1)
	b.awaitAcknowledged(2)

	// One that speaks another protocol: refused in words, and it is only this cursor
	// that waits.
	self, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	install(func(path string) error {
		return os.WriteFile(path, []byte("#!/bin/sh\necho '1|99|unix|/tmp/x|grpc|'\nexec sleep 60\n"), 0o755)
	})
	b.log.append(2, 1)
	b.awaitAcknowledged(4)
	if pid := b.sink.Status().PID; pid != first {
		t.Errorf("process %d in place of %d", pid, first)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the other protocol is refused", 15*time.Second, func() bool {
		return strings.Contains(b.sink.Status().LastError, "it speaks version 99")
	})
	b.log.append(2, 1)

	// One that is newer.
	if err := os.WriteFile(path+".version", []byte("2.0.0"), 0o600); err != nil {
		t.Fatal(err)
	}
	install(func(path string) error { return os.WriteFile(path, self, 0o755) })
	b.awaitAcknowledged(6)
	if s := b.sink.Status(); s.Version != "2.0.0" {
		t.Errorf("%+v", s)
	}
	b.finish()
	b.wantReceived(append(windows(1, 6), "stop 0")...)
}

// underLauncher has the plugin started by a launcher, as the sensor does.
func underLauncher(memory int64) func(*bench) {
	return func(b *bench) {
		b.t.Helper()
		l, err := NewLauncher(nil, memory, os.Geteuid(), "")
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(l.Close)
		b.options.Launcher, b.options.Memory = l, memory
	}
}

// A grandchild that left the group and holds standard error keeps nobody waiting,
// and dies with the plugin all the same.
func TestDaemonDiesToo(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", underLauncher(0), with("fail", "daemon"), once)
	b.start()
	text, err := os.ReadFile(b.settings["once"].(string))
	if err != nil {
		t.Fatal(err)
	}
	daemon, err := strconv.Atoi(string(text))
	if err != nil || !alive(daemon) {
		t.Fatalf("no daemon %d: %v", daemon, err)
	}
	pid := b.sink.Status().PID
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the daemon is gone", 5*time.Second, func() bool { return !alive(daemon) })
	await(t, "the death is seen", 5*time.Second, func() bool { return b.sink.Status().LastError != "" })
	t.Logf("seen after %v", time.Since(began))
	b.awaitRunning(pid)
	b.finish()
}

// A plugin that leaks ends by itself, not the host; it is started again and misses
// nothing.
func TestLeak(t *testing.T) {
	t.Parallel()
	limit, lastWords := int64(256<<20), "out of memory"
	if raceDetector() {
		limit, lastWords = 1<<30, "failed to allocate" // its shadow of memory is memory
	}
	b := newBench(t, "keeper", underLauncher(limit), with("fail", "leak"), with("at", 3), once)
	good := newBench(t, "exporter", func(o *bench) {
		o.log, o.options.Label, o.options.Launcher, o.options.Memory = b.log, "other", b.options.Launcher, limit
	})
	b.start()
	good.start()
	pid := b.sink.Status().PID
	other := good.sink.Status().PID
	b.log.append(10, 1)
	good.awaitOther(10)
	await(t, "it ended", 30*time.Second, func() bool { return b.sink.Status().LastError != "" })
	if s := b.sink.Status(); !strings.Contains(s.LastError, lastWords) {
		t.Errorf("%+v", s)
	}
	b.awaitRunning(pid)
	b.awaitAcknowledged(10)
	if s := good.sink.Status(); s.PID != other || s.Restarts != 0 {
		t.Errorf("the other exporter: %+v", s)
	}
	b.finish()
	good.finish()
	b.wantReceived(append(windows(1, 10), "stop 0")...)
}

// Many plugins start at once, as another user.
func TestManyAtOnce(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	dir := shared(t)
	l, err := NewLauncher(&Account{65533, 65533}, 0, os.Geteuid(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := copyOf(t, self, dir)
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var starts errgroup.Group
	starts.SetLimit(6)
	for range 100 {
		starts.Go(func() error {
			c, pid, err := l.start(path, "", []string{partEnv + "=dies"}, out, out)
			if err != nil {
				return err
			}
			if <-c.done; c.exit == nil || c.exit.Error() != "exit status 3" {
				return fmt.Errorf("process %d: %v", pid, c.exit)
			}
			return nil
		})
	}
	if err := starts.Wait(); err != nil {
		t.Error(err)
	}
}

func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}
