package view

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// protocolRows are those of VIEW_PROTOCOLS.
func protocolRows(rs []*netmonpb.Row) (out []*netmonpb.Row) {
	for _, r := range rs {
		if r.Key.View == netmonpb.View_VIEW_PROTOCOLS {
			out = append(out, r)
		}
	}
	return out
}

func TestHealthRows(t *testing.T) {
	s := New(Options{MaxRows: 10})
	f := flowTo(1, 100)
	f.Health = Health{SYNACK: int64(time.Millisecond), ACK: int64(time.Millisecond) + 1, Retransmitted: 1448}
	s.Add(f)
	over := flowTo(2, 0)
	*over = Flow{Interface: f.Interface, Direction: f.Direction, Domain: "other.example", Protocol: 6, Application: "https",
		Health: Health{Over: true, Duration: int64(90 * time.Second), Reset: true, Refused: true, Unanswered: true}}
	s.Add(over)
	s.Add(over)

	out := s.Cut(second)
	if len(out) != 3 {
		t.Fatalf("%d rows: %v", len(out), out)
	}
	want := &netmonpb.Counters{
		BytesSent: 33, BytesReceived: 67, PacketsSent: 1, PacketsReceived: 2, Connections: 1, Accesses: 1,
		Duration:           &netmonpb.Histogram{Buckets: []uint64{0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0}, SumS: 180},
		Handshake:          &netmonpb.Histogram{Buckets: []uint64{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, SumNs: 1e6},
		HandshakeAck:       &netmonpb.Histogram{Buckets: []uint64{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, SumNs: 1e6 + 1},
		RetransmittedBytes: 1448, Resets: 2, Refused: 2, Unanswered: 2,
	}
	if got := protocolRows(out)[0].Counters; !proto.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	for _, r := range out {
		if c := r.Counters; r.Key.View != netmonpb.View_VIEW_PROTOCOLS && (c.Duration != nil || c.Handshake != nil || c.Resets != 0 || c.RetransmittedBytes != 0) {
			t.Errorf("%v tells of health: %v", r.Key, c)
		}
	}
	if again := s.Cut(2 * second); len(again) != 0 {
		t.Errorf("an empty window has rows: %v", again)
	}
}

// TestHealthIsKept adds up what random connections did, in views that are much too
// small for them, in any order.
func TestHealthIsKept(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	flows := randomFlows(rng, 5000, 50)
	want := &netmonpb.Counters{}
	for _, f := range flows {
		f.Application = []string{"a", "b", "c", "d", "e"}[rng.IntN(5)]
		if rng.IntN(2) == 0 {
			continue
		}
		f.Health = Health{
			Over: rng.IntN(2) == 0, SYNACK: rng.Int64N(2) * rng.Int64N(9e9), ACK: rng.Int64N(2) * rng.Int64N(9e9),
			Retransmitted: rng.Uint64N(5000), Reset: rng.IntN(2) == 0, Refused: rng.IntN(3) == 0, Unanswered: rng.IntN(4) == 0,
		}
		if f.Over {
			f.Duration = rng.Int64N(math.MaxInt64)
		}
		one := New(Options{MaxRows: 1})
		one.Add(f)
		for _, r := range protocolRows(one.Cut(second)) {
			rows.Add(want, r.Counters)
		}
	}
	var first []*netmonpb.Row
	for range 2 {
		s, got := New(Options{MaxRows: 3}), &netmonpb.Counters{}
		for _, f := range flows {
			s.Add(f)
		}
		out := protocolRows(s.Cut(second))
		for _, r := range out {
			rows.Add(got, r.Counters)
			for _, h := range []*netmonpb.Histogram{r.Counters.Duration, r.Counters.Handshake, r.Counters.HandshakeAck} {
				if h.GetSumNs() >= uint64(time.Second) {
					t.Errorf("%v has seconds in its nanoseconds: %v", r.Key, h)
				}
			}
		}
		for _, c := range []*netmonpb.Counters{got, want} {
			for _, h := range []*netmonpb.Histogram{c.Duration, c.Handshake, c.HandshakeAck} {
				h.SumS, h.SumNs = h.SumS+h.SumNs/uint64(time.Second), h.SumNs%uint64(time.Second)
			}
		}
		healthOf := func(c *netmonpb.Counters) *netmonpb.Counters {
			return &netmonpb.Counters{Duration: c.Duration, Handshake: c.Handshake, HandshakeAck: c.HandshakeAck,
				RetransmittedBytes: c.RetransmittedBytes, Resets: c.Resets, Refused: c.Refused, Unanswered: c.Unanswered}
		}
		if !proto.Equal(healthOf(got), healthOf(want)) {
			t.Errorf("got %v\nwant %v", healthOf(got), healthOf(want))
		}
		if first == nil {
			first = out
		} else if !equal(out, first) {
			t.Error("the order of flows shows")
		}
		rng.Shuffle(len(flows), func(i, j int) { flows[i], flows[j] = flows[j], flows[i] })
	}
}

// TestAddHealthAllocates: what happened to a flow of a known row costs no memory.
func TestAddHealthAllocates(t *testing.T) {
	s := New(Options{MaxRows: 10})
	f := flowTo(1, 100)
	f.Health = Health{Over: true, Duration: 1, SYNACK: 1, ACK: 1}
	s.Add(f)
	if n := testing.AllocsPerRun(100, func() { s.Add(f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
