package view

import (
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// counters is what a row has counted in the open window.
type counters struct {
	bytesSent, bytesReceived     uint64
	packetsSent, packetsReceived uint64
	connections, accesses        uint64

	queries, responses uint64
	latencySum         uint64
	latency            []uint64

	health *health // VIEW_PROTOCOLS; nil: nothing happened
}

// add adds d, of which it keeps nothing.
func (c *counters) add(d *counters) {
	c.bytesSent += d.bytesSent
	c.bytesReceived += d.bytesReceived
	c.packetsSent += d.packetsSent
	c.packetsReceived += d.packetsReceived
	c.connections += d.connections
	c.accesses += d.accesses
	c.queries += d.queries
	c.responses += d.responses
	c.latencySum += d.latencySum
	if missing := len(d.latency) - len(c.latency); missing > 0 {
		c.latency = append(c.latency, make([]uint64, missing)...)
	}
	for i, n := range d.latency {
		c.latency[i] += n
	}
	if d.health != nil {
		if c.health == nil {
			c.health = new(health)
		}
		c.health.add(d.health)
	}
}

// weight is what keys compete with for a row: bytes, or DNS messages.
func (c *counters) weight() uint64 {
	return c.bytesSent + c.bytesReceived + c.queries + c.responses
}

func (c *counters) empty() bool {
	return c.health == nil && c.bytesSent|c.bytesReceived|c.packetsSent|c.packetsReceived|
		c.connections|c.accesses|c.queries|c.responses|c.latencySum == 0
}

// fill writes c as the counters of a row, which takes over the histograms.
func (c *counters) fill(out *netmonpb.Counters) {
	out.BytesSent, out.BytesReceived = c.bytesSent, c.bytesReceived
	out.PacketsSent, out.PacketsReceived = c.packetsSent, c.packetsReceived
	out.Connections, out.Accesses = c.connections, c.accesses
	out.DnsQueries, out.DnsResponses = c.queries, c.responses
	if c.latency != nil {
		out.DnsLatency = &netmonpb.Histogram{Buckets: c.latency, SumNs: c.latencySum}
	}
	if c.health != nil {
		c.health.fill(out)
	}
}
