package view

import (
	"slices"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Health is what happened to a connection in the window. Times are nanoseconds; docs/metrics.md
// says what they are.
type Health struct {
	Over     bool  // it ended, after
	Duration int64 // so long

	SYNACK, ACK   int64 // from the first SYN; 0: none
	Retransmitted uint64
	Reset         bool
	Refused       bool
	Unanswered    bool
}

// The upper bounds of the histograms' buckets in nanoseconds; one more bucket
// counts what is above.
var (
	durationBounds = [...]int64{
		int64(10 * time.Millisecond), int64(100 * time.Millisecond), int64(time.Second), int64(10 * time.Second),
		int64(time.Minute), int64(5 * time.Minute), int64(30 * time.Minute),
		int64(time.Hour), int64(6 * time.Hour), int64(24 * time.Hour),
	}
	handshakeBounds = [...]int64{1e6, 2e6, 5e6, 10e6, 20e6, 50e6, 100e6, 200e6, 500e6, 1e9, 2e9, 5e9}
)

// health is what a row of VIEW_PROTOCOLS counts besides traffic.
type health struct {
	retransmitted               uint64
	resets, refused, unanswered uint64
	duration                    [len(durationBounds) + 1]uint64
	synAck, ack                 [len(handshakeBounds) + 1]uint64
	durations, synAcks, acks    span
}

// A span is a time that 64 bits of nanoseconds need not hold.
type span struct{ seconds, nanoseconds uint64 }

func (s *span) add(d span) {
	n := s.nanoseconds + d.nanoseconds
	s.seconds += d.seconds + n/uint64(time.Second)
	s.nanoseconds = n % uint64(time.Second)
}

// counted returns a Health as what it adds.
func (h *Health) counted() (c health) {
	c.retransmitted = h.Retransmitted
	if h.Reset {
		c.resets = 1
	}
	if h.Refused {
		c.refused = 1
	}
	if h.Unanswered {
		c.unanswered = 1
	}
	if h.Over {
		observe(c.duration[:], durationBounds[:], &c.durations, h.Duration)
	}
	if h.SYNACK != 0 {
		observe(c.synAck[:], handshakeBounds[:], &c.synAcks, h.SYNACK)
	}
	if h.ACK != 0 {
		observe(c.ack[:], handshakeBounds[:], &c.acks, h.ACK)
	}
	return c
}

func observe(buckets []uint64, bounds []int64, total *span, ns int64) {
	i, _ := slices.BinarySearch(bounds, ns)
	buckets[i]++
	total.add(span{0, uint64(max(ns, 0))})
}

func (h *health) add(d *health) {
	h.retransmitted += d.retransmitted
	h.resets += d.resets
	h.refused += d.refused
	h.unanswered += d.unanswered
	for i, n := range d.duration {
		h.duration[i] += n
	}
	for i := range d.synAck {
		h.synAck[i] += d.synAck[i]
		h.ack[i] += d.ack[i]
	}
	h.durations.add(d.durations)
	h.synAcks.add(d.synAcks)
	h.acks.add(d.acks)
}

// fill writes h as counters of a row, which takes over the histograms.
func (h *health) fill(out *netmonpb.Counters) {
	out.RetransmittedBytes = h.retransmitted
	out.Resets, out.Refused, out.Unanswered = h.resets, h.refused, h.unanswered
	out.Duration = histogram(h.duration[:], h.durations)
	out.Handshake = histogram(h.synAck[:], h.synAcks)
	out.HandshakeAck = histogram(h.ack[:], h.acks)
}

func histogram(buckets []uint64, s span) *netmonpb.Histogram {
	if slices.Max(buckets) == 0 {
		return nil
	}
	return &netmonpb.Histogram{Buckets: buckets, SumNs: s.nanoseconds, SumS: s.seconds}
}
