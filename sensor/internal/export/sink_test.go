package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (b *bench) wantReceived(want ...string) {
	b.t.Helper()
	if got := b.received(); !slices.Equal(got, want) {
		b.t.Fatalf("received\n%q, want\n%q", got, want)
	}
}

func TestDelivers(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter")
	b.start()
	if s := b.sink.Status(); s.State != Running || s.Version != "1.2.3" || s.Restarts != 0 || !slices.Equal(s.Listen, []string{"127.0.0.1:4711"}) {
		t.Fatalf("%+v", s)
	}
	b.log.append(20, 3)
	b.awaitAcknowledged(20)
	pid := b.sink.Status().PID
	b.finish()
	b.wantReceived(append(windows(1, 20), "stop 0")...)
	if s := b.sink.Status(); s.State != Stopped || s.Acknowledged != 20 || s.PID != 0 {
		t.Fatalf("%+v", s)
	}
	if alive(pid) {
		t.Fatal("the plugin is still there")
	}
}

func TestGoesOnAtTheCursor(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter")
	b.log.append(6, 1)
	b.log.cursors["test"] = 4
	b.start()
	b.finish()
	b.wantReceived("window 5", "window 6", "stop 0")
}

func TestLargeWindow(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter")
	b.start()
	b.log.appendAt(1, 25_000, strings.Repeat("a-long-domain.", 16)) // more than 5 MiB
	b.finish()
	text, err := os.ReadFile(b.out)
	if err != nil || !strings.HasPrefix(string(text), "window 1 rows 25000\n") {
		t.Fatalf("%.100s, %v", text, err)
	}
}

// A crash, before or after the window was written, loses and doubles nothing at
// an exporter that knows what it has.
func TestCrashInExport(t *testing.T) {
	t.Parallel()
	for _, fail := range []string{"crash before", "crash after"} {
		t.Run(fail, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "keeper", with("fail", fail), with("at", 5), once)
			b.start()
			pid := b.sink.Status().PID
			b.log.append(10, 1)
			began := time.Now()
			b.awaitRunning(pid)
			b.awaitAcknowledged(10)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("was back after %v", took)
			}
			b.finish()
			b.wantReceived(append(windows(1, 10), "stop 0")...)
			if s := b.sink.Status(); s.Restarts != 1 || !strings.Contains(s.LastError, "exit status") {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestCrashInConfigure(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", with("fail", "configure"), once)
	err := b.sink.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 4") || !strings.Contains(err.Error(), "dying in Configure") {
		t.Fatalf("%v", err)
	}
	b.left()
	// The next attempt is Run's.
	b.run()
	b.log.append(2, 1)
	b.finish()
	b.wantReceived("window 1", "window 2", "stop 0")
}

func TestHangInExport(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", with("fail", "hang"), with("at", 3))
	other := newBench(t, "exporter", func(o *bench) { o.log, o.options.Label = b.log, "other" })
	if err := errors.Join(b.sink.Start(t.Context()), other.sink.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	cancel := b.run()
	other.run()
	b.log.append(20, 1)
	await(t, "the other exporter goes on", 10*time.Second, func() bool { return b.log.Cursor("other") == 20 })
	b.awaitAcknowledged(2)
	if s := b.sink.Status(); s.State != Running || s.Sent > 2+maxInFlight {
		t.Fatalf("%+v", s)
	}
	pid := b.sink.Status().PID
	began := time.Now()
	cancel()
	if err := <-b.ran; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if took := time.Since(began); took > 5*time.Second || alive(pid) {
		t.Fatalf("ended after %v, alive: %v", took, alive(pid))
	}
	other.finish()
}

func TestRewind(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", with("fail", "rewind"), with("at", 5), once)
	b.start()
	b.log.append(8, 1)
	b.awaitAcknowledged(8)
	b.finish()
	b.wantReceived(slices.Concat(windows(1, 4), windows(3, 8), []string{"stop 0"})...)
	if s := b.sink.Status(); s.Restarts != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestSnapshotFirst(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cumulative")
	b.log.append(10, 1)
	b.log.fold(4)
	b.log.cursors["test"] = 9 // what an earlier life acknowledged is of no use
	b.start()
	b.awaitAcknowledged(10)
	// Overtaken: the plugin stands still while its windows are folded.
	pid := b.sink.Status().PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.log.append(40, 1)
	b.log.fold(48)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.awaitAcknowledged(50)
	b.finish()
	got := b.received()
	if !slices.Equal(got[:6], append([]string{"snapshot 5"}, windows(6, 10)...)) {
		t.Fatalf("%q", got)
	}
	if !slices.Equal(got[len(got)-3:], []string{"snapshot 49", "window 50", "stop 0"}) {
		t.Fatalf("%q", got)
	}
	if s := b.sink.Status(); s.Snapshots != 2 || s.Skipped != 0 {
		t.Fatalf("%+v", s)
	}
}

// An exporter without snapshots loses what was folded, no window more.
func TestSkipsWhatWasFolded(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter")
	b.log.append(10, 1)
	b.log.fold(4)
	b.start()
	b.finish()
	b.wantReceived(append(windows(5, 10), "stop 0")...)
	if s := b.sink.Status(); s.Skipped != 4 {
		t.Fatalf("%+v", s)
	}
}

func TestKeeperAheadOfTheLog(t *testing.T) {
	t.Parallel()
	b := newBench(t, "keeper")
	if err := os.WriteFile(b.out, []byte("window 99 rows 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.log.append(3, 1)
	b.log.fold(1)
	b.start()
	b.finish()
	b.wantReceived("window 99", "snapshot 2", "window 3", "stop 0")
}

func TestFrozenPlugin(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter")
	b.sink.limits.healthEvery, b.sink.limits.healthTimeout = 50*time.Millisecond, 500*time.Millisecond
	b.start()
	pid := b.sink.Status().PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.log.append(3, 1)
	b.awaitRunning(pid)
	if s := b.sink.Status(); !strings.Contains(s.LastError, "health") {
		t.Errorf("%+v", s)
	}
	if alive(pid) {
		t.Error("the frozen plugin is still there")
	}
	b.finish()
	b.wantReceived(append(windows(1, 3), "stop 0")...)
}

// TestFailuresAreCounted wants what an exporter says of failures, of each of its
// processes, and what the sensor sees itself.
func TestFailuresAreCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", with("fail", "counts"))
	b.sink.limits.healthEvery = 20 * time.Millisecond
	b.start()
	wait := func(n uint64) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for want := (map[string]uint64{"unreachable": 3 * n, "other": n}); !maps.Equal(b.sink.Status().Failures, want); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%v, want %v", b.sink.Status().Failures, want)
			}
		}
	}
	wait(1)
	pid := b.sink.Status().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.awaitRunning(pid)
	wait(2)
	b.finish()
	if got := b.sink.Status().Failures; len(got) != 2 {
		t.Errorf("%v after an end in order", got)
	}
}

func TestRefusesToStop(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", with("fail", "stop"))
	b.sink.limits.stop = 300 * time.Millisecond
	b.start()
	pid := b.sink.Status().PID
	b.log.append(2, 1)
	b.awaitAcknowledged(2)
	b.finish()
	if alive(pid) {
		t.Fatal("the plugin is still there")
	}
	if n := b.sink.Status().Failures[failedStop]; n != 1 {
		t.Errorf("%d failures to stop", n)
	}
}

// A service manager signals everybody at once; exporters wait for the sensor.
func TestSignalsAreTheSensors(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter")
	b.start()
	pid := b.sink.Status().PID
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
	}
	b.log.append(5, 1)
	b.finish()
	b.wantReceived(append(windows(1, 5), "stop 0")...)
	if s := b.sink.Status(); s.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

// Where no death signal reaches it, an exporter notices that nobody speaks to it.
func TestExporterWithoutStreamEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	t.Parallel()
	b := newBench(t, "exporter")
	if err := b.sink.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid := b.sink.Status().PID
	b.sink.live.link.cancel()
	await(t, "the exporter is gone", 20*time.Second, func() bool { return !alive(pid) })
	b.wantReceived("stop 0")
	b.sink.Close()
	b.left()
}

func TestChildrenDieToo(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", with("fail", "child"), once)
	b.start()
	text, err := os.ReadFile(b.settings["once"].(string))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(string(text))
	if err != nil || !alive(child) {
		t.Fatalf("no child %d: %v", child, err)
	}
	pid := b.sink.Status().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the child is gone", 5*time.Second, func() bool { return !alive(child) })
	b.awaitRunning(pid)
	b.finish()
}

func TestChecksumHoldsOverRestarts(t *testing.T) {
	t.Parallel()
	sum := func(path string) string {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			t.Fatal(err)
		}
		return "sha256:" + hex.EncodeToString(h.Sum(nil))
	}
	b := newBench(t, "exporter", func(b *bench) { b.options.Checksum = sum(b.options.Path) })
	b.start()
	pid := b.sink.Status().PID
	for range 3 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		pid = b.awaitRunning(pid)
	}
	if s := b.sink.Status(); s.Restarts != 3 {
		t.Fatalf("%+v", s)
	}
	b.finish()

	for _, wrong := range []string{"sha256:" + strings.Repeat("0", 64), "md5:12", "sha256:12"} {
		b := newBench(t, "exporter", func(b *bench) { b.options.Checksum = wrong })
		if err := b.sink.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "sha256:") {
			t.Errorf("checksum %s: %v", wrong, err)
		}
	}
}

func TestProblemsInTheSettings(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", with("problem", "Bad colour"))
	for name, f := range map[string]func(context.Context) error{"check": b.sink.Check, "start": b.sink.Start} {
		if err := f(t.Context()); err == nil || err.Error() != "netmon.hcl: problem: Bad colour" {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.left()
	if _, err := os.Stat(b.out); err == nil {
		t.Error("the exporter was started")
	}

	b = newBench(t, "exporter", with("problem", "warning"))
	if err := b.sink.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(b.lines.String(), "Not nice") {
		t.Error("the warning is not logged")
	}
	b.left()
}

func TestReload(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter")
	b.start()
	b.log.append(3, 1)
	b.awaitAcknowledged(3)
	pid := b.sink.Status().PID

	bad := testSettings{"file": b.out, "problem": "Bad colour"}
	if err := b.sink.Reload(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "Bad colour") {
		t.Fatalf("%v", err)
	}
	if err := b.sink.Reload(t.Context(), testSettings{"error": errors.New("line 3: what?")}); err == nil || err.Error() != "line 3: what?" {
		t.Fatalf("%v", err)
	}
	b.log.append(2, 1)
	b.awaitAcknowledged(5)

	good := testSettings{"file": b.out + "2"}
	if err := b.sink.Reload(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	b.log.append(2, 1)
	b.awaitAcknowledged(7)
	if s := b.sink.Status(); s.PID != pid || s.Restarts != 0 {
		t.Fatalf("%+v", s)
	}
	b.finish()
	b.wantReceived(append(windows(1, 5), "stop 0")...)
	b.out += "2"
	b.wantReceived("window 6", "window 7", "stop 0")
}

// Settings that repair an exporter that does not start are taken at once.
func TestReloadWhileWaiting(t *testing.T) {
	t.Parallel()
	b := newBench(t, "exporter", with("problem", "Bad colour"))
	b.run()
	b.log.append(2, 1)
	await(t, "waiting", 10*time.Second, func() bool { return b.sink.Status().State == Waiting })
	if err := b.sink.Reload(t.Context(), testSettings{"file": b.out, "problem": "Bad size"}); err == nil || !strings.Contains(err.Error(), "Bad size") {
		t.Fatalf("%v", err)
	}
	if err := b.sink.Reload(t.Context(), testSettings{"file": b.out}); err != nil {
		t.Fatal(err)
	}
	b.finish()
	b.wantReceived("window 1", "window 2", "stop 0")
}
