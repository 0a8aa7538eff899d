package server

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// volumeOf is what the counters of a series say of traffic.
func volumeOf(c *counts) rows.Volume {
	return rows.Volume{
		BytesSent: c.n[bytesSent], BytesReceived: c.n[bytesReceived], Bytes: c.n[bytesSent] + c.n[bytesReceived],
		PacketsSent: c.n[packetsSent], PacketsReceived: c.n[packetsReceived],
		Connections: c.n[connections], Accesses: c.n[accesses],
	}
}

// ranked is a volume with the name of what it is of, in the field for its kind.
type ranked struct {
	Domain   string `json:"domain,omitempty"`
	Address  string `json:"address,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	ID       string `json:"id,omitempty"`
	rows.Volume
}

func (r *ranked) name() string { return r.Domain + r.Address + r.Protocol + r.ID }

// topList is the name of the list of a group, the label it has its names from,
// and the field they go to.
func topList(g groupID) (list, label string, field func(*ranked) *string) {
	switch g {
	case byAddress:
		return "addresses", "ip", func(r *ranked) *string { return &r.Address }
	case byApplication, byProtocol:
		return "protocols", "protocol", func(r *ranked) *string { return &r.Protocol }
	}
	return "domains", "domain", func(r *ranked) *string { return &r.Domain }
}

// top answers with the names of a group that have most, over all sensors or those
// that the query picks.
func (s *service) top(g groupID) http.HandlerFunc {
	list, _, _ := topList(g)
	known := []string{"limit", "sort", "host", "interface", "search"}
	if g == byDomain {
		known = append(known, "direction")
	}
	return func(w http.ResponseWriter, r *http.Request) {
		q, limit, err := listQuery(r, 50, 10_000, known...)
		if err != nil {
			s.fail(w, err)
			return
		}
		names := slices.Sorted(maps.Keys(rows.VolumeOrders()))
		sort, err := q.choice("sort", "bytes", names...)
		if err != nil {
			s.fail(w, err)
			return
		}
		if _, err := q.choice("direction", "", "outbound", "inbound", "internal", "transit", "unknown"); err != nil {
			s.fail(w, err)
			return
		}
		found, sum := s.gather(g, q)
		order := rows.VolumeOrders()[sort]
		slices.SortFunc(found, func(a, b ranked) int {
			return cmp.Or(cmp.Compare(order(&b.Volume), order(&a.Volume)), cmp.Compare(a.name(), b.name()))
		})
		out := found[:min(limit, len(found))]
		s.answer(w, http.StatusOK, map[string]any{list: out, "count": len(out), "total": len(found), "sort": sort, "sum": sum})
	}
}

// atATime is how many series a reader looks at before it lets writers in.
const atATime = 512

// copied is what is taken from a series.
type copied struct {
	labels string
	rows.Volume
}

// gather adds up the series of a group by one of their labels.
func (s *service) gather(g groupID, q parameters) (found []ranked, sum rows.Volume) {
	_, label, field := topList(g)
	iface, direction, search := q.Get("interface"), q.Get("direction"), strings.ToLower(q.Get("search"))
	// Of series that end while writers are let in all or nothing is in the sum.
	all := map[string]*rows.Volume{}
	copies := make([]copied, 0, atATime)
	add := func() {
		for i := range copies {
			one, name := &copies[i], ""
			eachLabel(one.labels, func(n, v string) {
				if n == label {
					name = v
				}
			})
			if !strings.Contains(name, search) {
				continue
			}
			v := all[name]
			if v == nil {
				v = &rows.Volume{}
				all[name] = v
			}
			v.Add(&one.Volume)
			sum.Add(&one.Volume)
		}
		copies = copies[:0]
	}
	s.store.read(func(st *state) {
		st.each(g, q.Get("host"), add, func(series *series) {
			if (iface == "" || series.iface == iface) && (direction == "" || rows.DirectionName(series.direction) == direction) {
				copies = append(copies, copied{series.labels, volumeOf(&series.counts)})
			}
		})
	})
	found = make([]ranked, 0, len(all))
	for name, v := range all {
		one := ranked{Volume: *v}
		*field(&one) = name
		found = append(found, one)
	}
	return found, sum
}

// each calls f for the series of a group, of all sensors or one. Writers wait for
// atATime of them; then they are let in, and meanwhile is called.
func (s *state) each(g groupID, host string, meanwhile func(), f func(*series)) {
	var list []*series
	for _, sensor := range s.sensors {
		if host != "" && sensor.id != host {
			continue
		}
		list = append(list[:0], sensor.groups[g].series...)
		for some := range slices.Chunk(list, atATime) {
			for _, series := range some {
				if series.position >= 0 { // else it has ended
					f(series)
				}
			}
			s.breathe(meanwhile)
		}
	}
}

// place is where a domain was seen.
type place struct {
	Host      string `json:"host"`
	Interface string `json:"interface"`
	Direction string `json:"direction"`
	rows.Volume
	Sources []string `json:"sources"`
}

// domain is GET /api/v1/domains/{name}. Sources are the evidence for the name in
// the logs whose rows are still told apart.
func (s *service) domain(w http.ResponseWriter, r *http.Request) {
	if _, err := query(r); err != nil {
		s.fail(w, err)
		return
	}
	name := strings.TrimSuffix(strings.ToLower(r.PathValue("name")), ".")
	if !validDomain(name) && !reservedName(name) {
		s.fail(w, refuse(codeInvalid, "this is no domain name"))
		return
	}
	places := []place{}
	var sum rows.Volume
	s.store.read(func(st *state) {
		var labels []byte
		for _, sensor := range st.sensors {
			g := &sensor.groups[byDomain]
			for _, at := range sensor.sides() {
				k := &netmonpb.Key{View: netmonpb.View_VIEW_DOMAINS, Interface: at.iface, Direction: at.direction, Domain: name}
				labels = appendLabels(labels[:0], sensor.id, byDomain, k)
				series := g.byLabels[string(labels)]
				if series == nil {
					continue
				}
				p := place{
					Host: sensor.id, Interface: at.iface, Direction: rows.DirectionName(at.direction),
					Volume: volumeOf(&series.counts), Sources: sensor.sources(k),
				}
				sum.Add(&p.Volume)
				places = append(places, p)
			}
		}
	})
	if len(places) == 0 {
		s.fail(w, refuse(codeNotFound, "no traffic with %s is known here", brief(name)))
		return
	}
	s.answer(w, http.StatusOK, map[string]any{"domain": name, "places": places, "sum": sum})
}

type side struct {
	iface     string
	direction netmonpb.Direction
}

// sides are the interfaces on which a sensor saw names, in every direction.
func (s *sensor) sides() []side {
	seen := map[side]bool{}
	for _, series := range s.groups[bySource].series { // every row of a domain leads there, too
		for direction := range netmonpb.Direction_name {
			seen[side{series.iface, netmonpb.Direction(direction)}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b side) int {
		return cmp.Or(cmp.Compare(a.iface, b.iface), cmp.Compare(a.direction, b.direction))
	})
}

// sources lists the evidence by which rows of a domain were named.
func (s *sensor) sources(k *netmonpb.Key) []string {
	sources := []string{}
	for n := range netmonpb.NameSource_name {
		k.NameSource = netmonpb.NameSource(n)
		if key := rows.Key(k); slices.ContainsFunc(s.logs, func(l *log) bool { return l.rows[key] != nil }) {
			sources = append(sources, rows.SourceName(k.NameSource))
		}
	}
	slices.Sort(sources)
	return slices.Compact(sources)
}
