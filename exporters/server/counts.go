package server

import (
	"math"

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
