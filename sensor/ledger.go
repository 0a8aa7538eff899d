package sensor

import (
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// ledger holds the running totals that P1 compares, in packets.
type ledger struct {
	decoded, accounted uint64
	read               []uint64 // frames, by shard
	seen               []seen   // by interface number
	excess             uint64   // frames that rings gave and the kernel says it did not
}

// seen is what was read of an interface: frames, and the packets on the wire that
// they stand for.
type seen struct{ frames, wire uint64 }

// add adds what a shard read of an interface.
func (l *ledger) add(shard int, iface int, c *counts) {
	n := uint64(0)
	for _, frames := range c.frames {
		n += frames
	}
	l.read = reach(l.read, shard)
	l.read[shard] += n
	l.seen = reach(l.seen, iface)
	l.seen[iface].frames += n
	l.seen[iface].wire += n + c.merged
	l.decoded += c.frames[packet.Decoded] - c.filtered
}

// reach makes a slice long enough for an index.
func reach[T any](s []T, i int) []T {
	if i < len(s) {
		return s
	}
	return append(s, make([]T, i+1-len(s))...)
}

// sensorRows puts what a harvest says about the sensor itself into the view
// `sensor`. Item is the metric's name without its prefix.
func (j *join) sensorRows(h *harvest) {
	shard := uint32(h.shard)
	for i := range h.counts {
		c := &h.counts[i]
		iface := j.ifaces(uint16(i))
		for r, n := range c.frames {
			j.total("frames_total", iface, shard, packet.Reason(r).String(), n)
		}
		j.total("link_bytes_total", iface, shard, "", c.linkBytes)
		j.total("ip_bytes_total", iface, shard, "", c.ipBytes)
		j.total("packets_filtered_total", iface, shard, "", c.filtered)
		j.total("wire_packets_estimated_total", iface, shard, "", c.frames[packet.Decoded]+c.merged)
		j.ledger.add(h.shard, i, c)
	}
	for i, n := range h.unseen {
		j.total("tcp_unseen_bytes_total", j.ifaces(uint16(i)), shard, "", n)
	}
	j.active.take(h.shard, h.active)
	before := &j.tables[h.shard]
	j.total("flows_evicted_total", "", shard, "", h.table.Evicted-before.Evicted)
	j.total("flows_overflowed_total", "", shard, "", h.table.Overflowed-before.Overflowed)
	j.total("tcp_unseen_overflowed_total", "", shard, "", h.table.HolesOverflowed-before.HolesOverflowed)
	j.total("fragments_overflowed_total", "", shard, "", h.table.FragmentsOverflowed-before.FragmentsOverflowed)
	*before = h.table
	j.views.Gauge("flows", "", shard, "", float64(h.table.Flows))
	j.views.Gauge("flow_table_bytes", "", shard, "", float64(h.table.Bytes))
	j.views.Gauge("packets_held", "", shard, "", float64(h.table.HeldPackets))

	s := &h.names.Stats
	j.total("dns_malformed_total", "", shard, "", s.DNSMalformed)
	j.total("names_invalid_total", "", shard, "", s.NamesInvalid)
	j.total("names_overflowed_total", "", shard, "heads", s.HeadsOverflowed)
	j.total("names_overflowed_total", "", shard, "streams", s.StreamsOverflowed)
	j.total("names_overflowed_total", "", shard, "transactions", s.TransactionsOverflowed)
	j.total("names_overflowed_total", "", shard, "resolvers", s.RowsOverflowed)
	j.total("names_overflowed_total", "", shard, "facts", s.FactsOverflowed)
	j.total("names_overflowed_total", "", shard, "hints", s.HintsOverflowed)
	for i := range h.names.DNS {
		d := &h.names.DNS[i]
		j.views.DNS(j.ifaces(d.Interface), d.Resolver, d.Type, d.Rcode, d.Queries, d.Responses, d.Latency[:], d.SumNS)
	}
}

// total adds to a counter of the view `sensor`. It is 0 before it moves, so that
// nobody misses its first step; only where interfaces have it, who may be many, it
// has no row until then.
func (j *join) total(item, iface string, shard uint32, detail string, delta uint64) {
	if delta > 0 || iface == "" {
		j.views.Count(item, iface, shard, detail, delta)
	}
}

// audit compares what was decoded with what the windows and the tables hold
// (P1), and what rings gave with what the kernel put there. Anything but 0 is a
// fault of the sensor's.
func (j *join) audit() {
	held := uint64(0)
	for i := range j.tables {
		held += j.tables[i].HeldPackets
	}
	j.views.Gauge("audit_imbalance", "", 0, "", float64(int64(j.ledger.decoded-j.ledger.accounted-held))+float64(j.ledger.excess))
}
