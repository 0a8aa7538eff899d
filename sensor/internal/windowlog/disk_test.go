package windowlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// openDisk opens a log of sensor "host".
func openDisk(t testing.TB, o DiskOptions) *Disk {
	t.Helper()
	o.SensorID = "host"
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func release(t testing.TB, d *Disk) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Release(); err != nil {
		t.Error(err)
	}
}

// crash leaves the log as a killed sensor does: what was committed is there, nothing
// is said, the locks are free.
func crash(t testing.TB, d *Disk) {
	t.Helper()
	d.state.Lock()
	d.ended = true
	d.state.Unlock()
	close(d.stop)
	<-d.written
	if err := d.store.close(); err != nil {
		t.Error(err)
	}
	d.unlock()
}

// fastDir is a directory where syncing costs nothing, if the machine has one.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "netmon-log")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// traffic leaves out the sensor's own rows.
func traffic(all []*netmonpb.Row) (out []*netmonpb.Row) {
	for _, r := range all {
		if r.Key.View != netmonpb.View_VIEW_SENSOR {
			out = append(out, r)
		}
	}
	return out
}

// A log is the same log after any number of stops and kills: its windows follow
// each other, and it adds up to what was ever appended.
func TestDiskGoesOn(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 3))
			o := DiskOptions{Dir: fastDir(t), MaxBytes: 1 << (10 + 2*seed)}
			d := openDisk(t, o)
			id := d.ID()
			g := newGenerator(seed)
			behind := &follower{} // takes a step now and then, over all lives
			for range 15 {
				for range rng.IntN(10) {
					appendTo(t, d, g.next())
				}
				if err := d.SetCursor("push", d.Last()); err != nil {
					t.Fatal(err)
				}
				for behind.log = d; behind.at < d.Last() && rng.IntN(4) > 0; {
					if err := behind.step(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if rng.IntN(2) == 0 {
					release(t, d)
				} else {
					crash(t, d)
				}
				d = openDisk(t, o)
				if !bytes.Equal(d.ID(), id) || d.Cursor("push") > d.Last() {
					t.Fatalf("log %x goes on as %x, its cursor at %d of %d", id, d.ID(), d.Cursor("push"), d.Last())
				}
				if got, want := traffic(d.Snapshot().Rows), traffic(g.sum.Rows()); !equal(got, want) {
					t.Fatalf("after window %d: got %v\nwant %v", d.Last(), got, want)
				}
			}
			for behind.log = d; behind.at < d.Last(); {
				if err := behind.step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if !equal(behind.totals.Rows(), d.Snapshot().Rows) {
				t.Error("who followed all the time holds something else")
			}
			release(t, d)
		})
	}
}

// What a sensor that was stopped in order leaves behind is complete: cursors too.
func TestCursorsLast(t *testing.T) {
	t.Parallel()
	o := DiskOptions{Dir: fastDir(t)}
	d := openDisk(t, o)
	g := newGenerator(1)
	for range 5 {
		appendTo(t, d, g.next())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"server", "push"} {
		if err := d.SetCursor(name, uint64(3+i)); err != nil { // an exporter drains after Close
			t.Fatal(err)
		}
	}
	if err := d.Release(); err != nil {
		t.Fatal(err)
	}
	d = openDisk(t, o)
	defer release(t, d)
	if s, p := d.Cursor("server"), d.Cursor("push"); s != 3 || p != 4 {
		t.Errorf("cursors at %d and %d, want 3 and 4", s, p)
	}
	for i := range 2 * maxCursors {
		if err := d.SetCursor(fmt.Sprint(i), 5); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.cursors) > maxCursors {
		t.Errorf("%d cursors", len(d.cursors))
	}
}

// domainRow is what a view says of a name.
func domainWindow(end time.Time, bytes uint64, domains ...string) *netmonpb.Window {
	w := &netmonpb.Window{StartNs: uint64(end.Add(-time.Second).UnixNano()), EndNs: uint64(end.UnixNano())}
	for view := netmonpb.View_VIEW_DOMAINS; view <= netmonpb.View_VIEW_PROTOCOLS; view++ {
		for _, d := range domains {
			w.Rows = append(w.Rows, &netmonpb.Row{
				Key: &netmonpb.Key{View: view, Interface: "eth0", Domain: d}, Counters: &netmonpb.Counters{BytesSent: bytes}})
		}
	}
	w.Rows = append(w.Rows, &netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Item: "flows", Shard: uint32(len(domains))}, Gauge: proto.Float64(1)})
	return w
}

func rowOf(all []*netmonpb.Row, match func(*netmonpb.Key) bool) *netmonpb.Row {
	for _, r := range all {
		if match(r.Key) {
			return r
		}
	}
	return nil
}

// The successor of a sensor ends its gauges, tells the gap, and ends its rows when
// they were idle for long, or are too many.
func TestSuccession(t *testing.T) {
	t.Parallel()
	for detail, leave := range map[string]func(testing.TB, *Disk){"stopped": release, "killed": crash} {
		t.Run(detail, func(t *testing.T) {
			now := time.Unix(1000, 0)
			o := DiskOptions{Dir: fastDir(t), MaxRows: 3, IdleTimeout: time.Minute, Now: func() time.Time { return now }}
			d := openDisk(t, o)
			appendTo(t, d, domainWindow(now, 5, "light.test"))
			appendTo(t, d, domainWindow(now, 10, "a.test", "b.test", "c.test", "(other)"))
			leave(t, d)

			now = now.Add(90*time.Second + 1)
			d = openDisk(t, o)
			defer func() { release(t, d) }()
			appendTo(t, d, domainWindow(now.Add(2*time.Second), 1, "a.test"))
			all := d.Snapshot().Rows
			sensor := func(item string) *netmonpb.Row {
				return rowOf(all, func(k *netmonpb.Key) bool { return k.Item == item && k.Detail == detail })
			}
			if n, s := sensor("log_gaps_total").GetCounters().GetValue(), sensor("log_gap_seconds_total").GetCounters().GetValue(); n != 1 || s != 92 {
				// 90 s and a nanosecond to the start, and one until the first window begins
				t.Errorf("%d gaps of %d s", n, s)
			}
			for shard, there := range map[uint32]bool{1: true, 4: false} { // of now, of the sensor before
				if r := rowOf(all, func(k *netmonpb.Key) bool { return k.Item == "flows" && k.Shard == shard }); (r != nil) != there {
					t.Errorf("gauge of shard %d: %v", shard, r)
				}
			}
			domain := func(name string) uint64 {
				r := rowOf(all, func(k *netmonpb.Key) bool { return k.View == netmonpb.View_VIEW_DOMAINS && k.Domain == name })
				return r.GetCounters().GetBytesSent()
			}
			check := func(want map[string]uint64) {
				t.Helper()
				all = d.Snapshot().Rows
				for name, bytes := range want {
					if got := domain(name); got != bytes {
						t.Errorf("%s has %d bytes, want %d", name, got, bytes)
					}
				}
			}
			check(map[string]uint64{"a.test": 11, "b.test": 10, "c.test": 10, "light.test": 5, "(other)": 10})
			appendTo(t, d, domainWindow(now.Add(59*time.Second), 1, "b.test"))
			check(map[string]uint64{"b.test": 11, "c.test": 10})
			appendTo(t, d, domainWindow(now.Add(60*time.Second), 1, "b.test"))
			check(map[string]uint64{"a.test": 11, "b.test": 12, "c.test": 0, "light.test": 0, "(retired)": 15, "(other)": 10})

			leave(t, d) // it has three names with (other), (retired); now comes a smaller budget
			o.MaxRows, now = 1, now.Add(65*time.Second)
			d = openDisk(t, o)
			appendTo(t, d, domainWindow(now.Add(time.Second), 1, "d.test"))
			check(map[string]uint64{"a.test": 0, "b.test": 12, "d.test": 1, "(retired)": 26, "(other)": 10})
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	d := openDisk(t, DiskOptions{Dir: dir})
	appendTo(t, d, newGenerator(1).next())
	if _, err := Open(DiskOptions{Dir: dir, SensorID: "host"}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second sensor: %v", err)
	}
	release(t, d)
	if _, err := Open(DiskOptions{Dir: dir, SensorID: "other"}); err == nil || !strings.Contains(err.Error(), `sensor "host", this one is "other"`) {
		t.Errorf("another sensor: %v", err)
	}
	change(t, filepath.Join(dir, fileName), func(tx *bbolt.Tx) error { return tx.Bucket(bucketState).Put(keyFormat, []byte{format + 1}) })
	if _, err := Open(DiskOptions{Dir: dir, SensorID: "host"}); err == nil || !strings.Contains(err.Error(), "written by a newer netmon") {
		t.Errorf("a newer format: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(DiskOptions{Dir: file, SensorID: "host"}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file for a directory: %v", err)
	}
	// Each refusal has let go of the directory.
	change(t, filepath.Join(dir, fileName), func(tx *bbolt.Tx) error { return tx.Bucket(bucketState).Put(keyFormat, []byte{format}) })
	d = openDisk(t, DiskOptions{Dir: dir})
	if d.Last() != 1 {
		t.Errorf("the log ends at %d", d.Last())
	}
	release(t, d)
	if info, err := os.Stat(filepath.Join(dir, fileName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has %v, %v", info.Mode(), err)
	}
}

func change(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err == nil {
		err = errors.Join(db.Update(f), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// specimen makes a log with windows before and after its snapshot, and returns the
// file and what it holds after each window.
func specimen(t *testing.T) (file []byte, id []byte, after [][]*netmonpb.Row) {
	t.Helper()
	dir := fastDir(t)
	d := openDisk(t, DiskOptions{Dir: dir})
	g := newGenerator(2)
	after = append(after, nil)
	for i := range 12 {
		if i == 6 {
			release(t, d) // with a snapshot
			d = openDisk(t, DiskOptions{Dir: dir})
		}
		appendTo(t, d, g.next())
		after = append(after, d.Snapshot().Rows)
	}
	crash(t, d)
	file, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return file, d.ID(), after
}

// checkDamaged opens a damaged file: either the log goes on with all that it held, or
// another begins, the damaged file is kept, and somebody is told.
func checkDamaged(t *testing.T, what string, text, id []byte, after [][]*netmonpb.Row) (whole bool) {
	t.Helper()
	dir := fastDir(t)
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	var mu sync.Mutex
	d := openDisk(t, DiskOptions{Dir: dir, Logger: hclog.New(&hclog.LoggerOptions{Output: &told, Mutex: &mu})})
	defer release(t, d)
	if whole = bytes.Equal(d.ID(), id); whole {
		if n := d.Last(); n != uint64(len(after))-1 || !equal(d.Snapshot().Rows, after[n]) {
			t.Errorf("%s: the log goes on after window %d with %v", what, n, d.Snapshot().Rows)
		}
		f := &follower{log: d}
		for f.at < d.Last() {
			if err := f.step(t.Context()); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if !equal(f.totals.Rows(), after[d.Last()]) {
			t.Errorf("%s: who reads it all holds something else", what)
		}
		return whole
	}
	kept, err := os.ReadFile(filepath.Join(dir, damagedName))
	if err != nil || !bytes.Equal(kept, text) {
		t.Errorf("%s: the damaged file is not kept: %v", what, err)
	}
	if !strings.Contains(told.String(), "the log is damaged") || d.Stats().Errors == 0 || d.Last() != 0 {
		t.Errorf("%s: told %q, %+v", what, told.String(), d.Stats())
	}
	return whole
}

// A cut is found wherever it is.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	text, id, after := specimen(t)
	step := 499
	if raceEnabled || testing.Short() {
		step = 1999
	}
	for n := 1; n < len(text); n += step {
		checkDamaged(t, fmt.Sprintf("cut at %d of %d", n, len(text)), text[:n], id, after)
	}
	if !checkDamaged(t, "whole", text, id, after) {
		t.Error("the whole file is called damaged")
	}
}

// A changed byte is found, unless it is one that nobody reads.
func TestFlipAnywhere(t *testing.T) {
	t.Parallel()
	text, id, after := specimen(t)
	rng := rand.New(rand.NewPCG(4, 4))
	found, n := 0, 400
	if raceEnabled || testing.Short() {
		n = 160
	}
	for i := range n {
		at := rng.IntN(len(text))
		if i < 160 { // where bbolt begins to read
			at = i/80*pageSize + i%80
		}
		was := text[at]
		text[at] ^= byte(1 + rng.IntN(255))
		if !checkDamaged(t, fmt.Sprintf("byte %d changed", at), text, id, after) {
			found++
		}
		text[at] = was
	}
	if found == 0 {
		t.Error("no change was ever found")
	}
}

// A window that rots while the sensor runs is in the snapshot still.
func TestRotWhileRunning(t *testing.T) {
	t.Parallel()
	o := DiskOptions{Dir: fastDir(t)}
	d := openDisk(t, o)
	g := newGenerator(3)
	for range 6 {
		appendTo(t, d, g.next())
	}
	release(t, d)
	change(t, d.path(), func(tx *bbolt.Tx) error {
		key := chunkKey(3, 0)
		v := bytes.Clone(tx.Bucket(bucketWindows).Get(key))
		v[20] ^= 1
		return tx.Bucket(bucketWindows).Put(key, v)
	})
	d = openDisk(t, o)
	f := &follower{log: d}
	for f.at < d.Last() {
		if err := f.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if f.jumps != 1 || !equal(traffic(f.totals.Rows()), traffic(g.sum.Rows())) || d.Stats().Errors != 1 {
		t.Errorf("%d jumps, %+v", f.jumps, d.Stats())
	}
	appendTo(t, d, g.next())
	crash(t, d)
	d = openDisk(t, o)
	defer release(t, d)
	if !equal(traffic(d.Snapshot().Rows), traffic(g.sum.Rows())) {
		t.Error("after another crash the log holds something else")
	}
}

// refusal is a disk that fails as it is told.
type refusal struct {
	mu     sync.Mutex
	before error // instead of writing
	after  error // although it was written: as fsync may say
	writes atomic.Int64
	hang   chan struct{} // a write waits for its end
}

func (r *refusal) set(before, after error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.after = before, after
}

func (r *refusal) intercept(write func() error) error {
	r.writes.Add(1)
	if r.hang != nil {
		<-r.hang
	}
	r.mu.Lock()
	before, after := r.before, r.after
	r.mu.Unlock()
	if before != nil {
		return before
	}
	if err := write(); err != nil {
		return err
	}
	return after
}

func awaitStats(t *testing.T, d *Disk, what string, f func(Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(d.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s: %+v", what, d.Stats())
		}
	}
}

// sameSums compares rows that may have been retired at other times.
func sameSums(t *testing.T, got, want []*netmonpb.Row) {
	t.Helper()
	for view := netmonpb.View_VIEW_DOMAINS; view < netmonpb.View_VIEW_SENSOR; view++ {
		if g, w := rows.Sum(got, view), rows.Sum(want, view); !proto.Equal(g, w) {
			t.Errorf("%v sums to %v, want %v", view, g, w)
		}
	}
	keys := func(all []*netmonpb.Row) (out []string) {
		for _, r := range traffic(all) {
			if !standsForMany(r.Key) {
				out = append(out, r.Key.String())
			}
		}
		return out
	}
	if g, w := keys(got), keys(want); fmt.Sprint(g) != fmt.Sprint(w) {
		t.Errorf("rows of %v, want %v", g, w)
	}
}

// While the disk refuses, for whatever reason, windows add up in a bounded memory;
// when it takes them again nothing is missing.
func TestDiskRefuses(t *testing.T) {
	full := &os.PathError{Op: "write", Path: "log.db", Err: syscall.ENOSPC}
	for name, c := range map[string]struct {
		before, after error
		rewrites      bool
	}{
		"full":           {before: full},
		"fsync fails":    {before: syscall.EIO, rewrites: true},
		"cannot be sure": {after: syscall.EIO, rewrites: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &refusal{}
			var told strings.Builder
			var mu sync.Mutex
			o := DiskOptions{Dir: fastDir(t), intercept: r.intercept, Logger: hclog.New(&hclog.LoggerOptions{Output: &told, Mutex: &mu})}
			d := openDisk(t, o)
			g := newGenerator(9)
			for range 5 {
				appendTo(t, d, g.next())
			}
			inode := inodeOf(t, d.path())
			held := d.Last()
			r.set(c.before, c.after)
			appended := 0
			for range 400 {
				if err := d.Append(g.next()); err != nil {
					t.Fatal(err)
				}
				appended++
			}
			awaitStats(t, d, "the disk refuses", func(s Stats) bool { return s.Refused != nil && s.Errors > 1 })
			if s := d.Stats(); s.Gathered != appended || len(d.gather.waiting) > 2*maxWaiting+1 {
				t.Errorf("%d windows are gathered in %d, %d were appended", s.Gathered, len(d.gather.waiting), appended)
			}
			if c.after == nil && d.Last() != held {
				t.Errorf("windows to %d are offered, and %d are on disk", d.Last(), held)
			}
			r.set(nil, nil)
			awaitStats(t, d, "the disk takes them", func(s Stats) bool { return s.Refused == nil && s.Gathered == 0 })
			if rewritten := inodeOf(t, d.path()) != inode; rewritten != c.rewrites {
				t.Errorf("a new file was begun: %v", rewritten)
			}
			if c.after == nil {
				sameSums(t, d.Snapshot().Rows, g.sum.Rows())
			}
			crash(t, d)
			before := d.Snapshot()
			d = openDisk(t, DiskOptions{Dir: o.Dir})
			defer release(t, d)
			if !proto.Equal(before, d.Snapshot()) {
				t.Errorf("on disk is something else")
			}
			mu.Lock()
			defer mu.Unlock()
			if n := strings.Count(told.String(), "the disk refuses the log"); n != 1 || !strings.Contains(told.String(), "the disk takes the log again") {
				t.Errorf("said %d times that the disk refuses:\n%s", n, told.String())
			}
		})
	}
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// A write that does not come back keeps neither Append nor the readers nor the end.
func TestDiskHangs(t *testing.T) {
	t.Parallel()
	r := &refusal{hang: make(chan struct{})}
	var late atomic.Int64
	start := time.Now()
	d := openDisk(t, DiskOptions{Dir: fastDir(t), intercept: r.intercept, Now: func() time.Time { return start.Add(time.Duration(late.Load())) }})
	g := newGenerator(5)
	began := time.Now()
	for range 1000 {
		if err := d.Append(g.next()); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("1000 windows took %v", took)
	}
	late.Store(int64(2 * slow))
	if s := d.Stats(); s.Gathered != 1000 || !errors.Is(s.Refused, errSlow) {
		t.Errorf("%+v", s)
	}
	began = time.Now()
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "1000 windows are not in the log") {
		t.Errorf("close: %v", err)
	}
	if err := d.Release(); err == nil {
		t.Error("release: no error")
	}
	if took := time.Since(began); took > 2*patience+time.Second {
		t.Errorf("closing took %v", took)
	}
	close(r.hang)
	<-d.written
}

// Group commit: windows that come within Sync are written at once.
func TestSync(t *testing.T) {
	t.Parallel()
	r := &refusal{}
	d := openDisk(t, DiskOptions{Dir: fastDir(t), Sync: time.Hour, intercept: r.intercept})
	g := newGenerator(5)
	for range 6 {
		if err := d.Append(g.next()); err != nil {
			t.Fatal(err)
		}
	}
	if d.Last() != 0 {
		t.Errorf("windows to %d are offered before they are on disk", d.Last())
	}
	release(t, d) // does not wait for Sync
	if d.Last() != 6 || r.writes.Load() != 1 {
		t.Errorf("%d windows in %d writes", d.Last(), r.writes.Load())
	}
}

// Windows that are added up say the same as one by one.
func TestMerge(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 8))
		g := newGenerator(seed)
		var before, merged rows.Totals
		for range rng.IntN(4) {
			w := g.next()
			before.Apply(w.Rows)
			merged.Apply(w.Rows)
		}
		gather := gather{known: before.Has, wakes: make(chan struct{}, 1)}
		fly := rng.IntN(3)
		for range fly {
			p, err := audit(g.next())
			if err != nil {
				t.Fatal(err)
			}
			gather.add(p)
		}
		flying := gather.take()
		for range rng.IntN(40) {
			p, err := audit(g.next())
			if err != nil {
				t.Fatal(err)
			}
			gather.add(p)
		}
		if rng.IntN(2) == 0 {
			gather.failed()
		} else {
			for _, p := range flying {
				merged.Apply(p.window.Rows)
			}
			gather.landed()
		}
		for _, p := range gather.take() {
			sum, err := audit(p.window)
			if err != nil || !proto.Equal(sum.sum, p.sum) {
				t.Fatalf("seed %d: %v: rows say %v, not %v", seed, err, sum.sum, p.sum)
			}
			merged.Apply(p.window.Rows)
		}
		sameSums(t, merged.Rows(), g.sum.Rows())
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// However long the disk refuses and whatever comes and goes meanwhile, the sum has
// no more rows than the views.
func TestMergeIsBounded(t *testing.T) {
	t.Parallel()
	gather := gather{known: func(string) bool { return false }, wakes: make(chan struct{}, 1)}
	for i := range 2000 {
		w := domainWindow(time.Unix(int64(i), 0), 1, fmt.Sprintf("n%d.test", i), fmt.Sprintf("n%d.test", i-1))
		for _, r := range w.Rows {
			r.Retired = r.Key.Domain == fmt.Sprintf("n%d.test", i-1)
		}
		p, err := audit(w)
		if err != nil {
			t.Fatal(err)
		}
		gather.add(p)
		n := 0
		for _, p := range gather.waiting {
			n += len(p.window.Rows)
		}
		if n > 100 {
			t.Fatalf("after %d windows %d rows wait", i, n)
		}
	}
}

// wideWindow has a row of this many bytes, whose key is always another: it retires
// at once.
func wideWindow(size int) *netmonpb.Window {
	return &netmonpb.Window{Rows: []*netmonpb.Row{{
		Key:     &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Detail: strings.Repeat("x", size)},
		Retired: true,
	}}}
}

// The file stays within its bound, with windows of any size, and after restarts.
func TestFileIsBounded(t *testing.T) {
	t.Parallel()
	const bound = 1 << 20
	o := DiskOptions{Dir: fastDir(t), MaxBytes: bound}
	d := openDisk(t, o)
	rng := rand.New(rand.NewPCG(1, 1))
	largest, total := int64(0), int64(0)
	for i := range 300 {
		w := wideWindow(1 + rng.IntN(1<<rng.IntN(18)))
		appendTo(t, d, w)
		total += int64(proto.Size(w))
		largest = max(largest, d.Stats().Size)
		if i%100 == 50 {
			crash(t, d)
			d = openDisk(t, o)
		}
	}
	t.Logf("%d MiB of windows through a file of at most %.1f MiB", total>>20, float64(largest)/(1<<20))
	if s := d.Stats(); largest > bound || total < 2*bound || s.Windows < 2 {
		t.Errorf("%d bytes of windows, file of at most %d, %+v", total, largest, s)
	}
	// One that has no room in a file of that size is kept all the same.
	appendTo(t, d, wideWindow(3<<20))
	appendTo(t, d, wideWindow(1))
	release(t, d)
	d = openDisk(t, o)
	defer release(t, d)
	if d.Last() != 302 {
		t.Errorf("the log ends at %d", d.Last())
	}
}

// BenchmarkDisk is what a window of 10,000 rows costs: the join, which only hands it
// over; the writer, on the disk of TMPDIR; and a sensor that starts with a full log.
func BenchmarkDisk(b *testing.B) {
	w := bigWindow(10_000 / 3)
	b.Run("append", func(b *testing.B) {
		r := &refusal{hang: make(chan struct{})}
		d := openDisk(b, DiskOptions{Dir: b.TempDir(), intercept: r.intercept})
		for b.Loop() {
			p, err := audit(w)
			if err != nil {
				b.Fatal(err)
			}
			d.heir.speak(p.window)
		}
		close(r.hang)
		release(b, d)
	})
	b.Run("commit", func(b *testing.B) {
		d := openDisk(b, DiskOptions{Dir: b.TempDir()})
		p, err := audit(w)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := d.commit([]pending{p}, false); err != nil {
				b.Fatal(err)
			}
		}
		s := d.Stats()
		b.ReportMetric(float64(s.Size)/float64(s.Bytes), "file/windows")
		b.ReportMetric(float64(proto.Size(w)), "window-bytes")
		release(b, d)
	})
	b.Run("open full", func(b *testing.B) {
		o := DiskOptions{Dir: b.TempDir()}
		d := openDisk(b, o)
		p, err := audit(w)
		if err != nil {
			b.Fatal(err)
		}
		for d.Stats().Folded == 0 {
			if err := d.commit([]pending{p}, false); err != nil {
				b.Fatal(err)
			}
		}
		crash(b, d)
		for b.Loop() {
			d = openDisk(b, o)
			crash(b, d)
		}
	})
}
