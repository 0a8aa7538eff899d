package server

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// mapping turns figures into rows. Where figures say nothing of a number, what is
// held of it stays; held is nil for a log that begins.
type mapping struct {
	held      *log
	iface     string
	restarted bool // a number is below the one held
	entries   map[string]*entry
	unmapped  map[string]uint64
}

type entry struct {
	key  *netmonpb.Key
	n    [numCounters]uint64
	said [numCounters]bool
}

func (m *mapping) cannot(field string, n int) {
	if n > 0 {
		m.unmapped[field] += uint64(n)
	}
}

func (m *mapping) at(k *netmonpb.Key) *entry {
	name := rows.Key(k)
	e := m.entries[name]
	if e == nil {
		e = &entry{key: k}
		m.entries[name] = e
	}
	return e
}

// add adds what the figures say of one counter of a key.
func (m *mapping) add(k *netmonpb.Key, c counter, n amount) {
	e := m.at(k)
	e.n[c] += uint64(n)
	e.said[c] = true
}

// heldAt is what the log holds of a key.
func (m *mapping) heldAt(k *netmonpb.Key) (n [numCounters]uint64) {
	if m.held != nil {
		if r := m.held.rows[rows.Key(k)]; r != nil && r.parts[0] != nil {
			return r.parts[0].counts.n
		}
	}
	return n
}

func (m *mapping) domain(name string) *netmonpb.Key {
	return &netmonpb.Key{View: netmonpb.View_VIEW_DOMAINS, Interface: m.iface, Direction: netmonpb.Direction_DIRECTION_UNKNOWN, Domain: name}
}

func (m *mapping) other(v view, detail string) *netmonpb.Key {
	return &netmonpb.Key{View: v, Interface: m.iface, Domain: otherName, Detail: detail}
}

func (m *mapping) item(item, detail string) *netmonpb.Key {
	return &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Interface: m.iface, Item: item, Detail: detail}
}

func (m *mapping) all(f *figures) {
	m.entries, m.unmapped = map[string]*entry{}, map[string]uint64{}
	m.names(f)
	m.figures(f)
	m.compare()
	m.keep()
	m.sums()
	m.cannot("events", len(f.Events))
}

// names maps what the figures say of domains and addresses. What is no valid name
// or address counts among the rest.
func (m *mapping) names(f *figures) {
	domain := func(name, field string) *netmonpb.Key {
		name = strings.TrimSuffix(strings.ToLower(name), ".")
		if !validDomain(name) {
			m.cannot(field, 1)
			name = unattributed
		}
		return m.domain(name)
	}
	for name, t := range f.Traffic {
		if t != nil {
			k := domain(name, "domain_traffic")
			for i, n := range [...]*amount{bytesSent: t.BytesSent, bytesReceived: t.BytesReceived,
				packetsSent: t.PacketsSent, packetsReceived: t.PacketsReceived, connections: t.Connections} {
				if n != nil {
					m.add(k, counter(i), *n)
				}
			}
		}
	}
	for name, n := range f.Domains {
		m.add(domain(name, "domains_accessed"), accesses, n)
	}
	for text, n := range f.IPs {
		k := m.other(netmonpb.View_VIEW_ADDRESSES, "")
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			k.Domain, k.Address = "", a.Unmap().AsSlice()
		} else {
			m.cannot("ips_accessed", 1)
		}
		m.add(k, accesses, n)
	}
}

// figures maps what they say of protocols, ports and processes.
func (m *mapping) figures(f *figures) {
	for i, n := range [...]*amount{bytesSent: f.BytesSent, bytesReceived: f.BytesReceived,
		packetsSent: f.PacketsSent, packetsReceived: f.PacketsReceived, connections: f.Connections} {
		if n != nil {
			m.add(m.item("reported_totals_total", totalNames()[i]), value, *n)
		}
	}
	for name, n := range f.Protocols {
		k := m.other(netmonpb.View_VIEW_PROTOCOLS, packetsAlone)
		if printable(name, maxName) && name != "" && name[0] != '(' {
			k.Domain, k.Application = "", strings.ToLower(name)
		} else {
			m.cannot("protocol_stats", 1)
		}
		m.add(k, packetsSent, n)
	}
	for port, n := range f.Ports {
		if number, err := strconv.ParseUint(port, 10, 16); err == nil {
			m.add(m.item("reported_ports_total", strconv.FormatUint(number, 10)), value, n)
		} else {
			m.cannot("port_stats", 1)
		}
	}
	for _, p := range f.Processes {
		if !printable(p.Name, maxText) || p.Name == "" || p.Name[0] == '(' {
			m.cannot("top_processes", 1)
			continue
		}
		m.add(m.item("reported_process_connections_total", p.Name), value, p.Connections)
		m.add(m.item("reported_process_bytes_sent_total", p.Name), value, p.BytesSent)
		m.add(m.item("reported_process_bytes_received_total", p.Name), value, p.BytesReceived)
	}
}

// compare finds out whether a number went down, and keeps what was not said. The
// list of processes is a short one of those on top: what goes down there is
// another process of that name.
func (m *mapping) compare() {
	for _, e := range m.entries {
		if reserved(e.key) {
			continue
		}
		for i, held := range m.heldAt(e.key) {
			switch {
			case !e.said[i] || strings.HasPrefix(e.key.Item, "reported_process_"):
				e.n[i] = max(e.n[i], held)
			case held > e.n[i]:
				m.restarted = true
			}
		}
	}
}

// keep adds the keys that are held and of which the figures say nothing.
func (m *mapping) keep() {
	if m.held == nil {
		return
	}
	for name, r := range m.held.rows {
		if k := rows.ParseKey(name); k != nil && m.entries[name] == nil && !reserved(k) && r.parts[0] != nil {
			m.at(k).n = r.parts[0].counts.n
		}
	}
}

// totalNames are the sums of a report, by counter.
func totalNames() [5]string {
	return [...]string{bytesSent: "bytes_sent", bytesReceived: "bytes_received", packetsSent: "packets_sent", packetsReceived: "packets_received", connections: "connections"}
}

// sums maps the totals. What the names do not account for is unattributed; where
// they account for more, the total is theirs. No sum goes down.
func (m *mapping) sums() {
	var named, apart [numCounters]uint64
	for _, e := range m.entries {
		switch {
		case reserved(e.key):
		case e.key.View == netmonpb.View_VIEW_DOMAINS:
			for i, n := range e.n {
				named[i] += n
			}
		case e.key.View == netmonpb.View_VIEW_PROTOCOLS:
			apart[packetsSent] += e.n[packetsSent]
		}
	}
	rest, total := m.at(m.domain(unattributed)), m.at(m.other(netmonpb.View_VIEW_PROTOCOLS, packetsElsewhere))
	address, packets := m.at(m.other(netmonpb.View_VIEW_ADDRESSES, "")), m.at(m.other(netmonpb.View_VIEW_PROTOCOLS, packetsAlone))
	restHeld := m.heldAt(rest.key)
	for i, name := range totalNames() {
		said := m.at(m.item("reported_totals_total", name)).n[value]
		rest.n[i] = max(restHeld[i], said-min(said, named[i]))
		total.n[i] = named[i] + rest.n[i]
		address.n[i] = total.n[i]
	}
	rest.n[accesses] = max(rest.n[accesses], restHeld[accesses])
	address.n[accesses] = max(address.n[accesses], m.heldAt(address.key)[accesses])
	all := total.n[packetsSent] + total.n[packetsReceived]
	packets.n[packetsSent] = max(packets.n[packetsSent], m.heldAt(packets.key)[packetsSent], all-min(all, apart[packetsSent]))
}

func (m *mapping) snapshot() *netmonpb.Snapshot {
	out := &netmonpb.Snapshot{}
	for _, e := range m.entries {
		out.Rows = append(out.Rows, &netmonpb.Row{Key: e.key, Counters: &netmonpb.Counters{
			BytesSent: e.n[bytesSent], BytesReceived: e.n[bytesReceived], PacketsSent: e.n[packetsSent], PacketsReceived: e.n[packetsReceived],
			Connections: e.n[connections], Accesses: e.n[accesses], Value: e.n[value],
		}})
	}
	slices.SortFunc(out.Rows, func(a, b *netmonpb.Row) int { return rows.Compare(a.Key, b.Key) })
	out.Ledger = rows.Sum(out.Rows, netmonpb.View_VIEW_DOMAINS)
	return out
}
