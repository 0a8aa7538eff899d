package server

import (
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// groupID names a set of labels besides host and interface. Families with the
// same labels show the same series.
type groupID uint8

const (
	byDomain       groupID = iota // direction, domain
	bySource                      // source
	byReason                      // reason
	byAddress                     // ip
	byProtocol                    // protocol
	byProtocolSide                // protocol, direction
	byApplication                 // protocol, the most specific one known
	byInterface                   // none
	byDirection                   // direction
	byQuestion                    // type, rcode
	byRcode                       // rcode
	byIdentity                    // ip_address, mac_address
	byState                       // protocol, state
	byResolver                    // resolver, rcode; shown by the API alone
	numGroups

	byItem // shard, detail; one group for each item
)

// maxFeeds is how many groups one row leads to at most.
const maxFeeds = 5

// Rows of VIEW_PROTOCOLS with these details come of reports, which tell packets by
// application apart from everything else.
const (
	packetsAlone     = "packets_alone"
	packetsElsewhere = "packets_elsewhere"
)

// target is a group of a sensor.
type target struct {
	group groupID
	item  string // byItem
}

// feeds says in which groups the rows of a key are shown.
func feeds(k *netmonpb.Key) (to [maxFeeds]target, n int) {
	add := func(g groupID) { to[n], n = target{group: g}, n+1 }
	switch k.View {
	case netmonpb.View_VIEW_DOMAINS:
		add(byDomain)
		add(bySource)
		if k.Domain == unattributed {
			add(byReason)
		}
	case netmonpb.View_VIEW_ADDRESSES:
		add(byAddress)
	case netmonpb.View_VIEW_PROTOCOLS:
		if k.Detail == packetsAlone {
			add(byApplication)
			break
		}
		add(byProtocol)
		add(byProtocolSide)
		if k.Detail != packetsElsewhere {
			add(byApplication)
		}
		add(byInterface)
		add(byDirection)
	case netmonpb.View_VIEW_DNS:
		add(byQuestion)
		add(byRcode)
		add(byResolver)
	case netmonpb.View_VIEW_SENSOR:
		switch k.Item {
		case rows.Retired, otherName: // sums of unlike things are shown nowhere
		case "interface_info":
			add(byIdentity)
		case "active_connections":
			add(byState)
		default:
			to[0], n = target{byItem, k.Item}, 1
		}
	}
	return to, n
}

// group is the series of one sensor that have the same labels.
type group struct {
	id       groupID
	owner    *sensor
	series   []*series // in the order of their coming, but for those that ended
	byLabels map[string]*series
}

// series is a label set with its values. What it shows is the sum of its parts
// and the base: what logs added that were folded.
type series struct {
	labels    string // rendered: {host="a",interface="eth0",...}
	counts    counts
	gauge     float64
	hasGauge  bool
	rows      int           // of all logs that lead here
	sum       *netmonpb.Key // set where the series stands for many keys: it does not end with its rows
	group     *group
	position  int // in group.series; -1 once it has ended
	view      view
	iface     string
	direction netmonpb.Direction
}

func newSensor(id string) *sensor {
	s := &sensor{id: id, items: map[string]*group{}}
	for i := range s.groups {
		s.groups[i] = group{id: groupID(i), owner: s, byLabels: map[string]*series{}}
	}
	return s
}

// at returns a group, a new one for an item that is new.
func (s *sensor) at(to target) *group {
	if to.group != byItem {
		return &s.groups[to.group]
	}
	g := s.items[to.item]
	if g == nil {
		g = &group{id: byItem, owner: s, byLabels: map[string]*series{}}
		s.items[strings.Clone(to.item)] = g
	}
	return g
}

// at returns the series with these labels, a new one if there is none.
func (g *group) at(labels []byte, k *netmonpb.Key) *series {
	if s := g.byLabels[string(labels)]; s != nil {
		return s
	}
	s := &series{
		labels: string(labels), group: g, position: len(g.series),
		view: k.View, iface: strings.Clone(k.Interface), direction: k.Direction,
	}
	if reserved(k) || g.id == bySource || g.id == byInterface || g.id == byDirection {
		s.sum = &netmonpb.Key{Domain: strings.Clone(k.Domain), NameSource: k.NameSource, Detail: strings.Clone(k.Detail)}
	}
	g.owner.series++
	g.series = append(g.series, s)
	g.byLabels[s.labels] = s
	return s
}

func (g *group) remove(s *series) {
	last := g.series[len(g.series)-1]
	g.series[s.position], last.position = last, s.position
	g.series[len(g.series)-1] = nil
	g.series = g.series[:len(g.series)-1]
	delete(g.byLabels, s.labels)
	g.owner.series--
	s.position = -1
}

// heir is the key of the series to which this one's value moves when it ends,
// nil where it moves nowhere. A sum moves to the same sum of interface (other).
func (s *series) heir() *netmonpb.Key {
	switch s.group.id {
	case byItem, byIdentity, byState:
		return nil
	}
	if s.sum != nil {
		return &netmonpb.Key{View: s.view, Interface: otherName, Domain: s.sum.Domain, NameSource: s.sum.NameSource, Detail: s.sum.Detail}
	}
	return &netmonpb.Key{View: s.view, Interface: s.iface, Direction: s.direction, Domain: rows.Retired}
}

// all calls f for every group of the sensor.
func (s *sensor) all(f func(*group)) {
	for i := range s.groups {
		f(&s.groups[i])
	}
	for _, g := range s.items {
		f(g)
	}
}

// endGauges hides the gauges until they are set again.
func (s *sensor) endGauges() {
	s.all(func(g *group) {
		for _, series := range g.series {
			series.hasGauge = false
		}
	})
}

// prune removes the series that no row leads to and that count nothing.
func (s *state) prune(sensor *sensor) {
	s.end(sensor, func(series *series) bool { return series.counts.zero() })
}

// bury bounds the series of a sensor. Those that only the base still holds end,
// then the sums of interfaces that are gone: names are given up, sums are kept.
func (s *state) bury(sensor *sensor) {
	limit, before := 2*s.room.log, sensor.series
	if sensor.series > limit {
		s.end(sensor, func(series *series) bool { return series.sum == nil })
	}
	if sensor.series > limit {
		s.end(sensor, func(*series) bool { return true })
	}
	s.buried += uint64(max(before-sensor.series, 0))
}

// end ends the series that no row leads to and that which picks.
func (s *state) end(sensor *sensor, which func(*series) bool) {
	sensor.all(func(g *group) {
		var ending []*series
		for _, series := range g.series {
			if series.rows == 0 && which(series) {
				ending = append(ending, series)
			}
		}
		for _, series := range ending {
			s.bequeath(sensor, series)
		}
	})
}

// reserved tells whether a key stands for many.
func reserved(k *netmonpb.Key) bool {
	return strings.HasPrefix(k.Domain, "(") || strings.HasPrefix(k.Item, "(")
}

// otherKey is the key of the row that takes what k has no row for; same says
// that it is k itself. Where even the rows of sums have become many, there is
// one for all interfaces.
func otherKey(k *netmonpb.Key, full bool) (other *netmonpb.Key, same bool) {
	if reserved(k) && !full {
		return k, true
	}
	other = &netmonpb.Key{View: k.View, Interface: k.Interface, Direction: k.Direction, Domain: otherName}
	switch {
	case reserved(k):
		other.Domain, other.Item, other.NameSource = k.Domain, k.Item, k.NameSource
		if k.View == netmonpb.View_VIEW_PROTOCOLS {
			other.Detail = k.Detail
		}
		if k.Domain == unattributed && reasonName(k.Detail) == k.Detail {
			other.Detail = k.Detail
		}
	case k.View == netmonpb.View_VIEW_SENSOR:
		other.Domain, other.Item, other.Detail = "", k.Item, otherName
	case k.View == netmonpb.View_VIEW_PROTOCOLS:
		other.Detail = k.Detail
	}
	if full {
		other.Interface, other.Direction = otherName, netmonpb.Direction_DIRECTION_UNSPECIFIED
		if k.View == netmonpb.View_VIEW_SENSOR {
			other.Item, other.Detail = otherName, ""
		}
	}
	return other, false
}
