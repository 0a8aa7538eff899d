package windowlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// generator makes windows as the views do: every view sums to the same, keys
// come, go and return.
type generator struct {
	rng     *rand.Rand
	windows uint64
	sum     rows.Totals // of everything it made
}

func newGenerator(seed uint64) *generator {
	return &generator{rng: rand.New(rand.NewPCG(seed, 0))}
}

func (g *generator) next() *netmonpb.Window {
	g.windows++
	w := &netmonpb.Window{StartNs: g.windows * 10, EndNs: g.windows*10 + 10}
	var addresses, protocols netmonpb.Counters
	for _, name := range g.rng.Perm(12)[:g.rng.IntN(8)] {
		c := &netmonpb.Counters{
			BytesSent: g.rng.Uint64N(1000), PacketsReceived: g.rng.Uint64N(9), Connections: g.rng.Uint64N(3),
		}
		rows.Add(&addresses, c)
		rows.Add(&protocols, c)
		w.Rows = append(w.Rows, &netmonpb.Row{
			Key:      &netmonpb.Key{View: netmonpb.View_VIEW_DOMAINS, Interface: "eth0", Domain: fmt.Sprintf("n%d.example", name)},
			Counters: c, Retired: g.rng.IntN(4) == 0,
		})
	}
	w.Rows = append(w.Rows,
		&netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_ADDRESSES, Address: []byte{192, 0, 2, byte(g.rng.IntN(3))}}, Counters: &addresses},
		&netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_PROTOCOLS, Protocol: 6}, Counters: &protocols},
		&netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Item: "flows"}, Gauge: proto.Float64(g.rng.Float64())},
	)
	g.sum.Apply(w.Rows)
	return w
}

func equal(a, b []*netmonpb.Row) bool {
	return slices.EqualFunc(a, b, func(x, y *netmonpb.Row) bool { return proto.Equal(x, y) })
}

// follower holds what an exporter does: the effect of windows 1..at.
type follower struct {
	log    Log
	at     uint64
	chain  []byte
	totals rows.Totals
	jumps  int // how often it was overtaken
}

// step takes the next window, or the snapshot where it was overtaken.
func (f *follower) step(ctx context.Context) error {
	w, err := f.log.Next(ctx, f.at)
	if errors.Is(err, ErrFolded) {
		s := f.log.Snapshot()
		if s.Sequence <= f.at {
			return fmt.Errorf("overtaken at %d, but the snapshot is of %d", f.at, s.Sequence)
		}
		f.jumps++
		f.at, f.chain, f.totals = s.Sequence, s.Chain, rows.Totals{}
		f.totals.Apply(s.Rows)
		return f.audit(s.Ledger)
	}
	if err != nil {
		return err
	}
	if w.Sequence != f.at+1 {
		return fmt.Errorf("window %d after %d", w.Sequence, f.at)
	}
	if !bytes.Equal(w.PreviousChain, f.chain) {
		return fmt.Errorf("window %d: previous chain is %x, not %x", w.Sequence, w.PreviousChain, f.chain)
	}
	if err := rows.Verify(w); err != nil {
		return err
	}
	f.at, f.chain = w.Sequence, w.Chain
	f.totals.Apply(w.Rows)
	return f.audit(w.Ledger)
}

// audit compares the ledger with what the rows sum to.
func (f *follower) audit(l *netmonpb.Ledger) error {
	if sum := rows.Sum(f.totals.Rows(), netmonpb.View_VIEW_DOMAINS); !proto.Equal(sum, l) {
		return fmt.Errorf("after %d the ledger says %v, rows sum to %v", f.at, l, sum)
	}
	return nil
}

// appendTo appends a window and waits until it is offered.
func appendTo(t *testing.T, l Log, w *netmonpb.Window) {
	t.Helper()
	n := l.Last()
	if err := l.Append(w); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); l.Last() == n; time.Sleep(50 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("window %d is not offered: %+v", n+1, l.Stats())
		}
	}
}

// options are what both logs have.
type options struct {
	maxBytes int64
	now      func() time.Time
}

// both runs a test on either log.
func both(t *testing.T, test func(t *testing.T, open func(options) Log)) {
	t.Run("memory", func(t *testing.T) {
		test(t, func(o options) Log {
			return NewMemory(MemoryOptions{SensorID: "host", MaxBytes: o.maxBytes, Now: o.now})
		})
	})
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		test(t, func(o options) Log {
			d := openDisk(t, DiskOptions{Dir: fastDir(t), MaxBytes: o.maxBytes, Now: o.now})
			t.Cleanup(func() { release(t, d) })
			return d
		})
	})
}

func TestAppendCompletesWindows(t *testing.T) {
	both(t, func(t *testing.T, open func(options) Log) {
		m := open(options{now: func() time.Time { return time.Unix(7, 0) }})
		g := newGenerator(1)
		for range 3 {
			appendTo(t, m, g.next())
		}
		f := &follower{log: m}
		for n := range uint64(3) {
			w, err := m.Next(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			if w.SensorId != "host" || !bytes.Equal(w.LogId, m.ID()) || len(w.LogId) != 16 || len(w.Chain) != 16 {
				t.Errorf("window %d is of log %x of %q, chain %x", n+1, w.LogId, w.SensorId, w.Chain)
			}
			if err := f.step(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if m.Last() != 3 {
			t.Errorf("last is %d", m.Last())
		}
		s := m.Snapshot()
		if s.Sequence != 3 || s.CreatedNs != 7e9 || !bytes.Equal(s.LogId, m.ID()) || s.SensorId != "host" || !bytes.Equal(s.Chain, f.chain) {
			t.Errorf("snapshot %v", s)
		}
		if s := open(options{}).Snapshot(); s.Sequence != 0 || len(s.Rows) != 0 {
			t.Errorf("snapshot of an empty log: %v", s)
		}
		if bytes.Equal(m.ID(), open(options{}).ID()) {
			t.Error("two logs have one id")
		}
	})
}

// At any moment the snapshot is the sum of all windows, and so is what a follower
// holds that has taken windows, or a snapshot and the windows after it.
func TestSnapshotAndWindowsAreEverything(t *testing.T) {
	both(t, func(t *testing.T, open func(options) Log) {
		for seed := range uint64(8) {
			m := open(options{maxBytes: int64(300 + 1500*seed)})
			g := newGenerator(seed)
			for range 120 {
				appendTo(t, m, g.next())
				if s := m.Snapshot(); s.Sequence != m.Last() || !equal(s.Rows, g.sum.Rows()) {
					t.Fatalf("seed %d, window %d: the snapshot is of %d: %v", seed, m.Last(), s.Sequence, s.Rows)
				}
				if g.rng.IntN(4) > 0 {
					continue
				}
				f := &follower{log: m}
				for f.at < m.Last() {
					if err := f.step(t.Context()); err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
				}
				if got, want := f.totals.Rows(), g.sum.Rows(); !equal(got, want) {
					t.Fatalf("seed %d, window %d: got %v\nwant %v", seed, m.Last(), got, want)
				}
			}
			if m.Stats().Folded == 0 {
				t.Errorf("seed %d: nothing was folded", seed)
			}
		}
	})
}

func TestBound(t *testing.T) {
	m := NewMemory(MemoryOptions{MaxBytes: 4000})
	g := newGenerator(3)
	for range 300 {
		appendTo(t, m, g.next())
		s := m.Stats()
		kept := int64(0)
		for _, w := range m.store.(*memoryStore).windows {
			kept += int64(len(w))
		}
		if s.Bytes > 4000 || s.Bytes != kept {
			t.Fatalf("%d bytes kept, %d counted", kept, s.Bytes)
		}
		if uint64(s.Windows)+s.Folded != m.Last() {
			t.Fatalf("%d windows and %d folded are not %d", s.Windows, s.Folded, m.Last())
		}
	}
	huge := g.next()
	huge.Rows = append(huge.Rows, &netmonpb.Row{Key: &netmonpb.Key{Detail: strings.Repeat("x", 10000)}})
	appendTo(t, m, huge)
	if s := m.Stats(); s.Windows != 1 {
		t.Errorf("beside a window above the bound are %d others", s.Windows-1)
	}
	if w, err := m.Next(t.Context(), m.Last()-1); err != nil || w != huge {
		t.Errorf("the newest window is gone: %v", err)
	}
	appendTo(t, m, g.next())
	if s := m.Stats(); s.Bytes > 4000 {
		t.Errorf("%d bytes after the huge window", s.Bytes)
	}
}

// Readers of every speed end with the same rows, while the log grows and folds.
func TestConcurrentReaders(t *testing.T) {
	both(t, func(t *testing.T, open func(options) Log) {
		m := open(options{maxBytes: 3000})
		g := newGenerator(4)
		followers := make([]*follower, 6)
		var wg sync.WaitGroup
		for i := range followers {
			f := &follower{log: m}
			followers[i] = f
			rng := rand.New(rand.NewPCG(uint64(i), 9))
			wg.Go(func() {
				for {
					if err := f.step(t.Context()); err == io.EOF {
						return
					} else if err != nil {
						t.Errorf("reader %d: %v", i, err)
						return
					}
					if err := m.SetCursor(fmt.Sprint(i), f.at); err != nil {
						t.Error(err)
					}
					for range rng.IntN(1 << (2 * i)) { // the last ones are too slow
						m.Snapshot()
					}
				}
			})
		}
		for range 1000 {
			if err := m.Append(g.next()); err != nil {
				t.Fatal(err)
			}
			m.Stats()
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		want := m.Snapshot().Rows
		for view := range netmonpb.View_VIEW_SENSOR {
			if got, want := rows.Sum(want, view), rows.Sum(g.sum.Rows(), view); !proto.Equal(got, want) {
				t.Errorf("%v sums to %v, %v were appended", view, got, want)
			}
		}
		jumps := 0
		for i, f := range followers {
			jumps += f.jumps
			if !equal(f.totals.Rows(), want) {
				t.Errorf("reader %d holds other rows than were appended", i)
			}
			if m.Cursor(fmt.Sprint(i)) != m.Last() {
				t.Errorf("cursor %d is at %d", i, m.Cursor(fmt.Sprint(i)))
			}
		}
		if _, disk := m.(*Disk); jumps == 0 && !disk { // on disk there are fewer windows: they add up
			t.Error("no reader was overtaken")
		}
	})
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryOptions{})
		g := newGenerator(5)
		type result struct {
			w   *netmonpb.Window
			err error
		}
		results := make(chan result, 1)
		next := func(ctx context.Context, n uint64) {
			go func() {
				w, err := m.Next(ctx, n)
				results <- result{w, err}
			}()
			synctest.Wait()
		}
		waiting := func(for_ string) {
			t.Helper()
			select {
			case r := <-results:
				t.Fatalf("does not wait for %s: %v", for_, r)
			default:
			}
		}

		next(t.Context(), 1) // a window that is not even the next one
		waiting("window 2")
		appendTo(t, m, g.next())
		synctest.Wait()
		waiting("window 2")
		appendTo(t, m, g.next())
		if r := <-results; r.err != nil || r.w.Sequence != 2 {
			t.Errorf("got %v", r)
		}

		ctx, cancel := context.WithCancel(t.Context())
		next(ctx, 2)
		waiting("the context")
		cancel()
		if r := <-results; r.err != context.Canceled {
			t.Errorf("got %v", r)
		}
		next(ctx, 1)
		if r := <-results; r.err != nil || r.w.Sequence != 2 {
			t.Errorf("a window that is there: got %v", r)
		}

		next(t.Context(), 2)
		waiting("the end")
		m.Close()
		m.Close()
		if r := <-results; r.err != io.EOF {
			t.Errorf("got %v", r)
		}
		next(t.Context(), 0)
		if r := <-results; r.err != nil || r.w.Sequence != 1 {
			t.Errorf("a closed log does not drain: got %v", r)
		}
		if err := m.Append(g.next()); err == nil || m.Last() != 2 {
			t.Errorf("append to a closed log: %v, last is %d", err, m.Last())
		}
	})
}

func TestAppendRefusesViewsThatDisagree(t *testing.T) {
	both(t, func(t *testing.T, open func(options) Log) {
		m := open(options{})
		g := newGenerator(6)
		appendTo(t, m, g.next())
		fields := map[string]func(*netmonpb.Counters){
			"bytes":       func(c *netmonpb.Counters) { c.BytesReceived++ },
			"packets":     func(c *netmonpb.Counters) { c.PacketsSent++ },
			"connections": func(c *netmonpb.Counters) { c.Connections++ },
		}
		for name, change := range fields {
			for view := netmonpb.View_VIEW_DOMAINS; view <= netmonpb.View_VIEW_PROTOCOLS; view++ {
				w := newGenerator(7).next()
				for _, r := range w.Rows {
					if r.Key.View == view {
						change(r.Counters)
						break
					}
				}
				err := m.Append(w)
				if err == nil || !strings.Contains(err.Error(), "views disagree") {
					t.Errorf("%s of %v: %v", name, view, err)
				}
			}
		}
		appendTo(t, m, g.next())
		f := &follower{log: m}
		for range 2 {
			if err := f.step(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCursors(t *testing.T) {
	both(t, func(t *testing.T, open func(options) Log) {
		m := open(options{})
		g := newGenerator(8)
		appendTo(t, m, g.next())
		appendTo(t, m, g.next())
		for _, n := range []uint64{2, 1} {
			if err := m.SetCursor("push", n); err != nil || m.Cursor("push") != n {
				t.Errorf("cursor set to %d is %d, error %v", n, m.Cursor("push"), err)
			}
		}
		if err := m.SetCursor("push", 3); err == nil || m.Cursor("push") != 1 {
			t.Errorf("cursor beyond the end: %d, error %v", m.Cursor("push"), err)
		}
		if n := m.Cursor("server"); n != 0 {
			t.Errorf("cursor of somebody unknown is %d", n)
		}
	})
}

// bigWindow has n rows in each of the traffic views.
func bigWindow(n int) *netmonpb.Window {
	w := &netmonpb.Window{}
	for view := netmonpb.View_VIEW_DOMAINS; view <= netmonpb.View_VIEW_PROTOCOLS; view++ {
		for i := range n {
			w.Rows = append(w.Rows, &netmonpb.Row{
				Key: &netmonpb.Key{View: view, Interface: "eth0", Direction: 1, Domain: fmt.Sprintf("name%d.example.com", i)},
				Counters: &netmonpb.Counters{
					BytesSent: 1 << 20, BytesReceived: 1 << 20, PacketsSent: 1000, PacketsReceived: 1000, Connections: 1, Accesses: 1},
			})
		}
	}
	return w
}

func BenchmarkAppend(b *testing.B) {
	for _, maxBytes := range []int64{1 << 40, 16 << 20} {
		b.Run(fmt.Sprintf("fold=%v", maxBytes < 1<<40), func(b *testing.B) {
			m := NewMemory(MemoryOptions{MaxBytes: maxBytes})
			w := bigWindow(1000)
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Append(w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(w.Rows)), "ns/row")
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m := NewMemory(MemoryOptions{MaxBytes: 1})
	for range 2 {
		if err := m.Append(bigWindow(10000)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		m.snapshot = nil
		m.Snapshot()
	}
}
