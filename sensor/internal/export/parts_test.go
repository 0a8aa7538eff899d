package export

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Parts are small enough, and put together they are the window again.
func TestPartsAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, rows := range []int{0, 1, 2, 1000, 50_000} {
		w := &netmonpb.Window{LogId: make([]byte, 16), Sequence: 7, SensorId: strings.Repeat("s", 100),
			StartNs: 1, EndNs: 2, PreviousChain: make([]byte, 16), Chain: make([]byte, 16), Ledger: &netmonpb.Ledger{Bytes: 1 << 60}}
		for range rows {
			w.Rows = append(w.Rows, &netmonpb.Row{
				Key:      &netmonpb.Key{Domain: strings.Repeat("d", 1+r.IntN(253))},
				Counters: &netmonpb.Counters{BytesSent: r.Uint64(), PacketsSent: r.Uint64N(100)},
			})
		}
		s := &netmonpb.Snapshot{LogId: w.LogId, Sequence: 7, SensorId: w.SensorId, EndNs: 2, Chain: w.Chain,
			Ledger: w.Ledger, Rows: w.Rows, CreatedNs: 5}

		var gotWindow *netmonpb.Window
		messages, size := 0, 0
		for part := range windowParts(w) {
			messages++
			size += proto.Size(part)
			if n := proto.Size(part); n > maxPart {
				t.Fatalf("%d rows: a message of %d bytes", rows, n)
			}
			if last := messages == 1+(proto.Size(w)-1)/maxPart; part.More == last && rows < 1000 {
				t.Fatalf("%d rows: more is %v in message %d", rows, part.More, messages)
			}
			if gotWindow == nil {
				gotWindow = proto.Clone(part.GetWindow()).(*netmonpb.Window)
			} else {
				gotWindow.Rows = append(gotWindow.Rows, part.GetWindow().Rows...)
			}
		}
		if !proto.Equal(gotWindow, w) {
			t.Errorf("%d rows: another window", rows)
		}
		if least := size / maxPart; messages > least+2 {
			t.Errorf("%d rows: %d messages for %d bytes", rows, messages, size)
		}

		var gotSnapshot *netmonpb.Snapshot
		more := true
		for part := range snapshotParts(s) {
			if !more {
				t.Errorf("%d rows: a part after the last", rows)
			}
			more = part.More
			if gotSnapshot == nil {
				gotSnapshot = proto.Clone(part.GetSnapshot()).(*netmonpb.Snapshot)
			} else {
				gotSnapshot.Rows = append(gotSnapshot.Rows, part.GetSnapshot().Rows...)
			}
		}
		if more || !proto.Equal(gotSnapshot, s) {
			t.Errorf("%d rows: another snapshot", rows)
		}
	}
}

func TestFlight(t *testing.T) {
	f := newFlight(3)
	for n := uint64(4); n <= 7; n++ {
		if err := f.reserve(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.depart(n)
	}
	full, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := f.reserve(full); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("room for a fifth: %v", err)
	}
	for _, step := range []struct {
		ack  uint64
		fine bool
	}{{3, true}, {2, false}, {6, true}, {6, true}, {5, false}, {8, false}} {
		if err := f.arrive(step.ack); (err == nil) != step.fine {
			t.Fatalf("acknowledge %d: %v", step.ack, err)
		}
	}
	if f.end(); f.landed() == nil {
		t.Fatal("landed with a window under way")
	}
	if err := errors.Join(f.arrive(7), f.landed()); err != nil {
		t.Fatal(err)
	}
	if len(f.room) != 0 {
		t.Fatalf("%d places are taken", len(f.room))
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	for i, want := range []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000} {
		want *= time.Millisecond
		if got := b.next(time.Second); got < want*8/10 || got > want*12/10 {
			t.Errorf("pause %d: %v, want about %v", i, got, want)
		}
	}
	if got := b.next(2 * time.Minute); got > time.Second {
		t.Errorf("after a healthy while: %v", got)
	}
}

func BenchmarkWindowParts(b *testing.B) {
	m := newMemory()
	m.append(1, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		for part := range windowParts(m.windows[0]) {
			if part == nil {
				b.Fatal("nothing")
			}
		}
	}
}
