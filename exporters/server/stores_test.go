package server

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// rig makes stores of one kind that hold the same.
type rig struct {
	// open returns the store as it is after a start.
	open func(l limits) store
	// crash ends it as a kill does, and returns what a new start finds. nil where
	// nothing is left.
	crash func(store, limits) store
}

// rigs are the stores there are. What holds for one holds for all.
func rigs(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		f(t, &rig{open: func(l limits) store { return newMemory(l, time.Now) }})
	})
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		folder := t.TempDir()
		open := func(l limits) store { return diskAt(t, folder, l, createFile) }
		f(t, &rig{open: open, crash: func(st store, l limits) store {
			st.(*disk).die()
			return open(l)
		}})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		r := startRedis(t)
		open := func(l limits) store {
			c := defaultStorage()
			c.Type, c.Addresses = "redis", []string{r.addr()}
			st, err := openRedis(&c, nil, l, time.Now, hclog.NewNullLogger())
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		f(t, &rig{open: open, crash: func(st store, l limits) store {
			_ = st.close() // nothing of it is needed
			return open(l)
		}})
	})
}

func diskAt(t testing.TB, folder string, l limits, create files) *disk {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		d, err := openDisk(folder, l, time.Now, create, hclog.NewNullLogger())
		if err == nil {
			return d
		}
		// A process that another test is just starting still has the lock of one that
		// has died here, until it executes its program.
		if !strings.Contains(err.Error(), "in use") || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// die ends a disk store without its last checkpoint, as a kill does.
func (d *disk) die() {
	d.once.Do(func() { close(d.quit) })
	<-d.done
	if d.making {
		<-d.checkpoint
	}
	_ = d.journal.file.Close()
	_ = d.lock.Close()
	d.codec.close()
}

// sortedLines is an exposition in an order that does not depend on history.
func sortedLines(exposition string) string {
	lines := strings.Split(exposition, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestStores(t *testing.T) {
	rigs(t, func(t *testing.T, r *rig) {
		l := limits{sensors: 2, rowsPerSensor: 100, rows: 1000}
		st := r.open(l)
		defer func() { _ = st.close() }()
		s := serviceOn(st)
		for n := uint64(1); n <= 3; n++ {
			if held := mustTake(t, s, windowRequest(windowOf("a", aLog, n))); held != (ack{n, true}) {
				t.Errorf("window %d: %v", n, held)
			}
		}
		clone := windowOf("a", aLog, 4)
		clone.PreviousChain = []byte("another history")
		for _, tt := range []struct {
			name string
			err  error
			want code
		}{
			{"gap", errOf(st.apply(t.Context(), windowOf("a", aLog, 5))), codeOutOfSequence},
			{"fork", errOf(st.apply(t.Context(), clone)), codeConflict},
			{"unknown log", errOf(st.apply(t.Context(), windowOf("a", []byte("0123456789abcdef"), 2))), codeUnknownLog},
			{"repeat", errOf(st.apply(t.Context(), windowOf("a", aLog, 2))), ""},
			{"older snapshot", errOf(st.install(t.Context(), snapshotOf("a", aLog, 2))), ""},
			{"second sensor", errOf(st.apply(t.Context(), windowOf("b", aLog, 1))), ""},
			{"third sensor", errOf(st.apply(t.Context(), windowOf("c", aLog, 1))), codeConflict},
			{"newer snapshot", errOf(st.install(t.Context(), snapshotOf("a", aLog, 9))), ""},
		} {
			if codeOf(tt.err) != tt.want || tt.want == "" && tt.err != nil {
				t.Errorf("%s: %v", tt.name, tt.err)
			}
		}
		wantTotal(t, s, total(9)+total(1))

		// Sums stay below 2^62, whatever a sensor says.
		for n := uint64(10); n < 13; n++ {
			w := next("a", aLog, n, chainOf(aLog, n-1), domainRow("big.test", maxDelta-1, 0))
			mustTake(t, s, windowRequest(w))
		}
		w := next("a", aLog, 13, chainOf(aLog, 12), domainRow("big.test", maxDelta-1, 0))
		if _, err := s.take(t.Context(), windowRequest(w)); codeOf(err) != codeInvalid {
			t.Errorf("a sum beyond 2^62: %v", err)
		}

		before := sortedLines(exposition(s, false))
		if r.crash != nil {
			st = r.crash(st, l)
			s = serviceOn(st)
			if after := sortedLines(exposition(s, false)); after != before {
				t.Errorf("after a crash:\n%s\nbefore:\n%s", after, before)
			}
		}
		if known, err := st.remove(t.Context(), "a"); err != nil || !known {
			t.Errorf("remove: %v %v", known, err)
		}
		if known, err := st.remove(t.Context(), "a"); err != nil || known {
			t.Errorf("remove again: %v %v", known, err)
		}
		if r.crash != nil {
			st = r.crash(st, l)
			s = serviceOn(st)
		}
		wantTotal(t, s, total(1))
		if _, err := st.apply(t.Context(), windowOf("a", aLog, 13)); codeOf(err) != codeUnknownLog {
			t.Errorf("a removed sensor: %v", err)
		}
		for id, want := range map[string]bool{"b": true, "a": false} {
			if known, err := st.heartbeat(t.Context(), id, []byte("it")); err != nil || known != want {
				t.Errorf("heartbeat of %s: %v %v", id, known, err)
			}
		}
	})
}

func errOf(_ ack, err error) error { return err }

// TestStoresRandomly: repeats, gaps, snapshots, new logs, retired rows and crashes
// in any order leave exactly what the accepted windows say.
func TestStoresRandomly(t *testing.T) {
	l := limits{sensors: 100, rowsPerSensor: 100, rows: 150}
	for seed := range uint64(3) {
		rigs(t, func(t *testing.T, r *rig) {
			if r.crash == nil {
				t.Skip("TestRandomHistories")
			}
			st := r.open(l)
			s := serviceOn(st)
			defer func() { _ = st.close() }()
			randomHistory(t, seed, 120, func(rng *rand.Rand) *service {
				if rng.IntN(8) == 0 {
					before := sortedLines(exposition(s, false))
					st = r.crash(st, l)
					s = serviceOn(st)
					if after := sortedLines(exposition(s, false)); after != before {
						t.Fatalf("after a crash:\n%s\nbefore:\n%s", after, before)
					}
				}
				if d, ok := st.(*disk); ok && rng.IntN(4) == 0 {
					d.soon.Store(true)
				}
				return s
			})
		})
	}
}

// TestStoresAtOnce: many sensors, each pushed twice at the same time.
func TestStoresAtOnce(t *testing.T) {
	rigs(t, func(t *testing.T, r *rig) {
		st := r.open(testLimits())
		defer func() { _ = st.close() }()
		s := serviceOn(st)
		const sensors, windows = 8, 10
		var all sync.WaitGroup
		for i := range 2 * sensors {
			all.Go(func() {
				for n := uint64(1); n <= windows; n++ {
					held, err := s.take(context.Background(), windowRequest(windowOf(fmt.Sprint("s", i/2), aLog, n)))
					if err != nil || held.watermark < n {
						t.Errorf("window %d: %v %v", n, held, err)
						return
					}
				}
			})
		}
		for range 20 { // and scrapes meanwhile
			exposition(s, false)
		}
		all.Wait()
		wantTotal(t, s, sensors*total(windows))
	})
}

// TestCodec: what is decoded is what was encoded, and damage is an error.
func TestCodec(t *testing.T) {
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	s := testService(t, nil)
	mustTake(t, s, windowRequest(oneOfEach()))
	retired := next("host-1", aLog, 2, chainOf(aLog, 1), domainRow("www.example.com", 1, 1))
	retired.Rows[0].Retired = true
	mustTake(t, s, windowRequest(retired))
	mustTake(t, s, windowRequest(next("host-1", bytes.Repeat([]byte{7}, 16), 1, nil, domainRow("b.test", 1, 1))))
	before := exposition(s, false)
	var plain []byte
	s.store.read(func(st *state) { plain = encodeSensor(st.sensors[0]) })
	one, err := c.sensor(c.pack(plain))
	if err != nil {
		t.Fatal(err)
	}
	m := newMemory(testLimits(), time.Now)
	m.state.adopt(one)
	if after := exposition(serviceOn(m), false); sortedLines(after) != sortedLines(before) {
		t.Errorf("decoded:\n%s\nencoded:\n%s", after, before)
	}
	if m.state.rows == 0 || m.state.rows != one.rows {
		t.Errorf("%d rows of %d", m.state.rows, one.rows)
	}
	for cut := range plain {
		if _, err := decodeSensor(plain[:cut]); err == nil {
			t.Fatalf("what ends after %d bytes of %d is decoded", cut, len(plain))
		}
	}
	plain[0]++
	if _, err := decodeSensor(plain); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("another version: %v", err)
	}
}

// FuzzSensor: no encoding makes the decoder panic.
func FuzzSensor(f *testing.F) {
	s := testService(f, nil)
	mustTake(f, s, windowRequest(oneOfEach()))
	s.store.read(func(st *state) { f.Add(encodeSensor(st.sensors[0])) })
	f.Fuzz(func(t *testing.T, b []byte) {
		if one, err := decodeSensor(b); err == nil {
			encodeSensor(one)
		}
	})
}
