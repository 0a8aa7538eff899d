package sensor

import (
	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// ringFigures turns what the kernel counts of the rings and interfaces into
// rows of the view `sensor`. It belongs to the join.
type ringFigures struct {
	rings   *capture.Rings
	before  []capture.ShardStats
	errors  uint64
	ceiling int64      // bytes
	ifaces  []coverage // by interface number
}

func (f *ringFigures) add(v *view.Set, end int64, l *ledger) {
	v.Gauge("memory_ceiling_bytes", "", 0, "", float64(f.ceiling))
	stats := f.rings.Stats()
	f.before = reach(f.before, len(stats.Shards)-1)
	l.read, l.excess = reach(l.read, len(stats.Shards)-1), 0
	for i, s := range stats.Shards {
		was, shard := &f.before[i], uint32(i)
		v.Count("capture_packets_total", "", shard, "", s.Packets+s.Drops-was.Packets-was.Drops)
		v.Count("capture_dropped_total", "", shard, "", s.Drops-was.Drops)
		v.Count("capture_freezes_total", "", shard, "", s.Freezes-was.Freezes)
		v.Count("capture_skipped_total", "", shard, "", s.Skipped-was.Skipped)
		v.Count("capture_damaged_total", "", shard, "", s.Damaged-was.Damaged)
		v.Gauge("capture_ring_bytes", "", shard, "", float64(s.RingBytes))
		v.Gauge("capture_longest_hold_seconds", "", shard, "", s.LongestHold.Seconds())
		gone := l.read[i] + s.Skipped + s.Damaged
		v.Gauge("capture_waiting_packets", "", shard, "", float64(s.Packets-min(gone, s.Packets)))
		l.excess += gone - min(gone, s.Packets)
		*was = s
	}
	v.Count("capture_errors_total", "", 0, "", stats.Errors-f.errors)
	f.errors = stats.Errors
	v.Gauge("interfaces_refused", "", 0, "", float64(stats.Refused))
	all := f.rings.Interfaces()
	f.ifaces, l.seen = reach(f.ifaces, len(all)-1), reach(l.seen, len(all)-1)
	for _, s := range stats.Interfaces {
		if n := s.Interface; int(n) < len(all) {
			f.ifaces[n].add(v, end, all[n], s.Counted, l.seen[n])
		}
	}
	for _, i := range all {
		if !i.Present {
			continue
		}
		up := 0.0
		if i.Up {
			up = 1
		}
		v.Gauge("interface_up", i.Name, 0, "", up)
		for _, p := range i.Addresses {
			v.Gauge("interface_info", i.Name, 0, i.MAC.String()+" "+p.Addr().String(), 1)
		}
	}
}

// figures adds what the join knows of itself.
func (j *join) figures() {
	v := j.views
	v.Gauge("names_known", "", 0, "", float64(j.book.Names()))
	j.total("names_evicted_total", "", 0, "", j.book.Evicted-j.was.evicted)
	j.total("names_overflowed_total", "", 0, "book", j.book.Overflowed-j.was.overflowed)
	j.total("accesses_overflowed_total", "", 0, "", j.accesses.overflowed-j.was.accesses)
	j.total("clients_overflowed_total", "", 0, "", j.clients.overflowed-j.was.clients)
	j.was.overflowed = j.book.Overflowed
	j.was.evicted, j.was.accesses, j.was.clients = j.book.Evicted, j.accesses.overflowed, j.clients.overflowed
	j.total("ech_flows_total", "", 0, "outer_name", j.hidden.outer)
	j.total("ech_flows_total", "", 0, "client_lookup", j.hidden.lookup)
	j.total("ech_flows_total", "", 0, "ordinary", j.hidden.ordinary)
	j.hidden = hidden{}
	j.ratio("named_bytes_ratio", j.share.namedBytes, j.share.bytes)
	j.ratio("named_connections_ratio", j.share.namedConnections, j.share.connections)
	for i, s := range v.Stats() {
		if i >= len(j.was.views) {
			j.was.views = append(j.was.views, view.Stats{})
		}
		was, name := &j.was.views[i], viewName(s.View)
		v.Gauge("rows", "", 0, name, float64(s.Rows))
		j.total("rows_overflowed_total", "", 0, name, s.Overflowed-was.Overflowed)
		j.total("rows_retired_total", "", 0, name, s.Retired-was.Retired)
		*was = s
	}
	j.active.show(v, j.ifaces)
	j.audit()
}

// ratio shows a part of a whole, nothing where there is no whole.
func (j *join) ratio(item string, part, whole uint64) {
	if whole > 0 {
		j.views.Gauge(item, "", 0, "", float64(part)/float64(whole))
	}
}

// figuresWere are counters of others as of the last window.
type figuresWere struct {
	evicted, overflowed, accesses, clients uint64
	views                                  []view.Stats
}

func viewName(v netmonpb.View) string {
	switch v {
	case netmonpb.View_VIEW_DOMAINS:
		return "domains"
	case netmonpb.View_VIEW_ADDRESSES:
		return "addresses"
	case netmonpb.View_VIEW_PROTOCOLS:
		return "protocols"
	case netmonpb.View_VIEW_DNS:
		return "dns"
	}
	return "sensor"
}

// share is how much of the traffic has a name, since the start. What the name
// filters exclude is in neither.
type share struct {
	bytes, namedBytes             uint64
	connections, namedConnections uint64
}

func (s *share) add(named bool, bytes, connections uint64) {
	s.bytes += bytes
	s.connections += connections
	if named {
		s.namedBytes += bytes
		s.namedConnections += connections
	}
}
