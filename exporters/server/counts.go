package server

import (
	"math"
	"slices"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// counter is a field of a row's counters.
type counter int8

const (
	bytesSent counter = iota
	bytesReceived
	packetsSent
	packetsReceived
	connections
	accesses
	value
	dnsQueries
	retransmitted
	resets
	refused
	unansweredSYNs
	numCounters

	none counter = -1
)

// histogramID is a histogram of a row's counters.
type histogramID int8

const (
	dnsLatency histogramID = iota
	duration
	handshake
	handshakeACK
	numHistograms
)

// counts is what of netmonpb.Counters is shown.
type counts struct {
	n          [numCounters]uint64
	histograms *[numHistograms]histogram // nil while all are empty
}

type histogram struct {
	buckets []uint64 // not cumulative; nil: nothing was observed
	seconds uint64   // of the sum
	sum     uint64   // nanoseconds, in addition
}

func (c *counts) add(d *netmonpb.Counters) {
	c.n[bytesSent] += d.BytesSent
	c.n[bytesReceived] += d.BytesReceived
	c.n[packetsSent] += d.PacketsSent
	c.n[packetsReceived] += d.PacketsReceived
	c.n[connections] += d.Connections
	c.n[accesses] += d.Accesses
	c.n[value] += d.Value
	c.n[dnsQueries] += d.DnsQueries
	c.n[retransmitted] += d.RetransmittedBytes
	c.n[resets] += d.Resets
	c.n[refused] += d.Refused
	c.n[unansweredSYNs] += d.Unanswered
	for i, h := range [numHistograms]*netmonpb.Histogram{
		dnsLatency: d.DnsLatency, duration: d.Duration, handshake: d.Handshake, handshakeACK: d.HandshakeAck,
	} {
		if h == nil {
			continue
		}
		if c.histograms == nil {
			c.histograms = &[numHistograms]histogram{}
		}
		c.histograms[i].add(h.Buckets, h.SumS, h.SumNs)
	}
}

func (h *histogram) add(buckets []uint64, seconds, nanoseconds uint64) {
	if missing := len(buckets) - len(h.buckets); missing > 0 {
		h.buckets = append(h.buckets, make([]uint64, missing)...)
	}
	for i, n := range buckets {
		h.buckets[i] += n
	}
	h.seconds += seconds
	h.sum += nanoseconds
}

func (c *counts) merge(d *counts) {
	for i, n := range d.n {
		c.n[i] += n
	}
	if d.histograms == nil {
		return
	}
	if c.histograms == nil {
		c.histograms = &[numHistograms]histogram{}
	}
	for i := range d.histograms {
		c.histograms[i].add(d.histograms[i].buckets, d.histograms[i].seconds, d.histograms[i].sum)
	}
}

// observations are a copy of the histograms, nil while all are empty.
func (c *counts) observations() *[numHistograms]histogram {
	if c.histograms == nil {
		return nil
	}
	all := *c.histograms
	for i := range all {
		all[i].buckets = slices.Clone(all[i].buckets)
	}
	return &all
}

// subtract takes out what was added before.
func (c *counts) subtract(d *counts) {
	for i, n := range d.n {
		c.n[i] -= n
	}
	if d.histograms == nil {
		return
	}
	for i := range d.histograms {
		for j, n := range d.histograms[i].buckets {
			c.histograms[i].buckets[j] -= n
		}
		c.histograms[i].seconds -= d.histograms[i].seconds
		c.histograms[i].sum -= d.histograms[i].sum
	}
}

func (c *counts) zero() bool {
	var any uint64
	for _, n := range c.n {
		any |= n
	}
	if c.histograms != nil {
		for i := range c.histograms {
			any |= c.histograms[i].seconds | c.histograms[i].sum
			for _, n := range c.histograms[i].buckets {
				any |= n
			}
		}
	}
	return any == 0
}

// maxSum bounds what a sensor's windows may add up to in any counter, so that
// no series wraps around, in whatever type it is kept or sent.
const maxSum = 1 << 62

// sums are the counters of all rows together, then the observations of all
// histograms, their seconds and their nanoseconds.
type sums [numCounters + 3]uint64

// add adds up rows, and tells whether all sums stay below maxSum.
func (s *sums) add(all []*netmonpb.Row) bool {
	for _, r := range all {
		c := r.Counters
		if c == nil {
			continue
		}
		for i, n := range [numCounters]uint64{
			c.BytesSent, c.BytesReceived, c.PacketsSent, c.PacketsReceived, c.Connections, c.Accesses,
			c.Value, c.DnsQueries, c.RetransmittedBytes, c.Resets, c.Refused, c.Unanswered,
		} {
			s[i] += n
		}
		for _, h := range [...]*netmonpb.Histogram{c.DnsLatency, c.Duration, c.Handshake, c.HandshakeAck} {
			if h == nil {
				continue
			}
			for _, n := range h.Buckets {
				if s[numCounters] += n; s[numCounters] >= maxSum {
					return false
				}
			}
			s[numCounters+1] += h.SumS
			s[numCounters+2] += h.SumNs
			if max(s[numCounters+1], s[numCounters+2]) >= maxSum {
				return false
			}
		}
		for _, n := range s {
			if n >= maxSum {
				return false
			}
		}
	}
	return true
}

func (s *sums) subtract(t *sums) {
	for i, n := range t {
		s[i] -= n
	}
}

// imbalance is by how many bytes what a log's windows add up to here is off from
// what the sensor says they do, in the view where that is most. 0 is right.
func (l *log) imbalance() uint64 {
	var worst uint64
	if l.ledger == nil {
		return 0
	}
	for _, v := range [...]view{netmonpb.View_VIEW_DOMAINS, netmonpb.View_VIEW_ADDRESSES, netmonpb.View_VIEW_PROTOCOLS} {
		off := int64(l.bytes[v] - *l.ledger)
		if off == math.MinInt64 {
			off++
		}
		worst = max(worst, uint64(max(off, -off)))
	}
	return worst
}
