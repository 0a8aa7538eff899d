// Package view sums named flows into the rows of a window: a list of views, each
// a set of key fields with a budget. It is pure.
//
// The rows of a window depend on what was added since the last Cut, never on
// the order in which it was added: shards deliver in any order, and their
// number must not show.
package view

import (
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Names of rows that stand for many keys. No valid domain name has a parenthesis.
const (
	Unattributed = "(unattributed)" // no name known
	Other        = "(other)"        // keys beyond the budget
	Retired      = "(retired)"      // keys that were idle
	Excluded     = "(excluded)"     // what the name filters exclude
)

// Flow is what one flow did in the window, named. Sent is from our side.
type Flow struct {
	Interface   string
	Direction   netmonpb.Direction
	Domain      string // a valid name, Unattributed or Excluded
	Source      netmonpb.NameSource
	Reason      string   // why Unattributed, else ""
	Remote      [16]byte // IPv4 in mapped form
	Protocol    uint8
	Application string

	BytesSent, BytesReceived     uint64
	PacketsSent, PacketsReceived uint64
	Connections, Accesses        uint64

	Health // in VIEW_PROTOCOLS
}

// Options bounds a Set.
type Options struct {
	MaxRows     int           // per view, not counting the rows of sums; at least 1
	IdleTimeout time.Duration // after which a row is retired; 0: never
}

// Set holds every view. It has one owner: nothing in it is locked.
type Set struct {
	interfaces interfaces
	traffic    []*table // each sums to the same totals
	dns        *table
	figures    figures
	scratch    health // what one flow adds
}

// trafficViews is the list of views that flows are summed into.
func trafficViews() []definition {
	return []definition{
		{netmonpb.View_VIEW_DOMAINS, byDirection | byDomain},
		{netmonpb.View_VIEW_ADDRESSES, byDirection | byAddress},
		{netmonpb.View_VIEW_PROTOCOLS, byDirection | byProtocol},
	}
}

// New returns a Set without rows.
func New(o Options) *Set {
	o.MaxRows = max(o.MaxRows, 1)
	s := &Set{figures: newFigures(o)}
	s.interfaces.ids = make(map[string]uint16)
	for _, d := range trafficViews() {
		s.traffic = append(s.traffic, newTable(d, o, &s.interfaces))
	}
	s.dns = newTable(definition{netmonpb.View_VIEW_DNS, byAddress | byQuestion}, o, &s.interfaces)
	return s
}

// Add sums f into every traffic view. It keeps nothing of f.
func (s *Set) Add(f *Flow) {
	delta := counters{
		bytesSent: f.BytesSent, bytesReceived: f.BytesReceived,
		packetsSent: f.PacketsSent, packetsReceived: f.PacketsReceived,
		connections: f.Connections, accesses: f.Accesses,
	}
	var happened *health
	if f.Health != (Health{}) {
		s.scratch = f.counted()
		happened = &s.scratch
	} else if delta.empty() {
		return
	}
	all := key{
		iface: s.interfaces.id(f.Interface), direction: uint8(f.Direction),
		domain: f.Domain, source: uint8(f.Source), reason: f.Reason,
		address: f.Remote, protocol: f.Protocol, application: f.Application,
	}
	for _, t := range s.traffic {
		if delta.health = nil; t.fields&byProtocol != 0 {
			delta.health = happened
		}
		if !delta.empty() {
			k := t.fields.of(&all)
			t.add(&k, &delta)
		}
	}
}

// DNS sums what was seen of one resolver. latency counts response times by
// bucket; sumNS is their sum in nanoseconds.
func (s *Set) DNS(iface string, resolver [16]byte, qtype, rcode uint16, queries, responses uint64, latency []uint64, sumNS uint64) {
	delta := counters{queries: queries, responses: responses, latency: latency, latencySum: sumNS}
	if delta.empty() {
		return
	}
	k := key{iface: s.interfaces.id(iface), address: resolver, dnsType: qtype, dnsRcode: rcode}
	s.dns.add(&k, &delta)
}

// Count adds to one of the sensor's own counters; the name of item ends in
// _total. The row appears with its first Count, also of 0.
func (s *Set) Count(item, iface string, shard uint32, detail string, delta uint64) {
	s.figures.count(figure{item, iface, detail, shard}, delta)
}

// Gauge sets one of the sensor's own figures that can go down. A gauge that is
// not set any more is retired after the idle timeout.
func (s *Set) Gauge(item, iface string, shard uint32, detail string, value float64) {
	s.figures.gauge(figure{item, iface, detail, shard}, value)
}

// Cut returns what was added since the last Cut as the rows of a window, sorted
// by key as rows.Compare orders them, and starts the next window. now is packet
// time in Unix nanoseconds. The rows are the caller's.
func (s *Set) Cut(now int64) []*netmonpb.Row {
	var out []*netmonpb.Row
	for _, t := range s.traffic {
		out = append(out, t.cut(now)...)
	}
	out = append(out, s.dns.cut(now)...)
	return append(out, s.figures.cut(now)...)
}

// Stats says how full one view is and what its budget has cost so far.
type Stats struct {
	View       netmonpb.View
	Rows       int    // with a row of their own; the rows of sums are not counted
	Overflowed uint64 // calls of Add, DNS, Count and Gauge whose key had no row
	Retired    uint64 // rows that were idle, or gave way to a heavier key
}

// Stats returns the figures of every view as of the last Cut, in the order of
// the view's numbers.
func (s *Set) Stats() []Stats {
	var out []Stats
	for _, t := range append(s.traffic[:len(s.traffic):len(s.traffic)], s.dns) {
		out = append(out, Stats{t.view, t.admitted, t.overflowed, t.retired})
	}
	return append(out, Stats{netmonpb.View_VIEW_SENSOR, len(s.figures.rows), s.figures.overflowed, s.figures.retired})
}
