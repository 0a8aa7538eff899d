package sensor

import (
	"net/netip"
	"strconv"

	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// reportSums adds flows up by domain, protocol and address.
type reportSums struct {
	flows, connections uint64
	domains            pieces[domainSum] // by ID, which are dense
	protocols          [256]protocolJSON
	v4, v6             addressSums // v6: mapped addresses in packets of IPv6, too

	waiting [sumBatch]reportFlow
	n       int // how many wait
}

// sumBatch is how many flows are added up at once: their cache misses overlap.
const sumBatch = 32

type domainSum struct {
	sent, received traffic
	connections    uint64
}

// next returns where to put the flow that is to be added next.
func (s *reportSums) next() *reportFlow {
	if s.n == len(s.waiting) {
		s.add()
	}
	s.n++
	return &s.waiting[s.n-1]
}

// add adds the flows that wait.
func (s *reportSums) add() {
	flows := s.waiting[:s.n]
	s.n = 0
	var hashes [sumBatch][2]uint32
	var domains [sumBatch]*domainSum
	var ips [sumBatch][2]*addressSum
	for i := range flows {
		f := &flows[i]
		t := s.ips(f.version)
		hashes[i] = [2]uint32{t.touch(&f.initiator), t.touch(&f.responder)}
		domains[i] = s.domains.at(int(f.name))
		prefetch.Value(domains[i])
	}
	for i := range flows {
		t := s.ips(flows[i].version)
		ips[i] = [2]*addressSum{t.guess(hashes[i][0]), t.guess(hashes[i][1])}
	}
	for i := range flows {
		f := &flows[i]
		n := f.connections()
		s.flows++
		s.connections += n

		d := domains[i]
		d.sent.add(f.sent)
		d.received.add(f.received)
		d.connections += n

		t := &s.protocols[f.protocol]
		t.Packets += f.sent.packets + f.received.packets
		t.IPBytes += f.sent.bytes + f.received.bytes
		t.Connections += n

		addresses := s.ips(f.version)
		ip := addresses.sum(ips[i][0], &f.initiator, hashes[i][0])
		ip.out.add(f.sent)
		ip.in.add(f.received)
		ip = addresses.sum(ips[i][1], &f.responder, hashes[i][1])
		ip.out.add(f.received)
		ip.in.add(f.sent)
	}
}

func (s *reportSums) ips(version uint8) *addressSums {
	if version == 4 {
		return &s.v4
	}
	return &s.v6
}

// summary is the report without its flows. It is made once.
func (p *report) summary() *reportJSON {
	sums := &p.sums
	for f := range p.flows.each() {
		*sums.next() = *f
	}
	sums.add()
	out := &reportJSON{
		Schema: "netmon-replay/1",
		Totals: totalsJSON{
			IPPackets: p.frames[packet.Decoded], IPBytes: p.ipBytes, LinkBytes: p.linkBytes,
			NonIP: p.frames[packet.NotIP], Malformed: p.frames[packet.Malformed],
			Unsupported: p.frames[packet.Unsupported], Flows: sums.flows, Connections: sums.connections,
		},
		Unattributed: sums.domains.at(0).json(""), Protocols: []protocolJSON{},
		DNS: dnsJSON{p.dnsQueries, p.dnsResponses, map[string]uint64{}},
	}
	for _, n := range p.frames {
		out.Totals.Frames += n
	}
	for code, n := range p.rcodes {
		if n > 0 {
			out.DNS.Rcodes[strconv.Itoa(code)] = n
		}
	}
	for number, t := range sums.protocols {
		if t.Packets > 0 {
			t.Proto, t.Number = rows.ProtocolName(uint32(number)), uint8(number)
			out.Protocols = append(out.Protocols, t)
		}
	}
	return out
}

func (d *domainSum) json(name string) domainJSON {
	return domainJSON{
		Name: name, BytesSent: d.sent.bytes, BytesReceived: d.received.bytes,
		PacketsSent: d.sent.packets, PacketsReceived: d.received.packets, Connections: d.connections,
	}
}

// domainsInOrder returns the IDs of the names that flows have, in the order of the names.
func (s *reportSums) domainsInOrder(name func(names.ID) string) []textKey {
	list := make([]textKey, 0, s.domains.n)
	for id := 1; id < s.domains.n; id++ {
		if d := s.domains.at(id); d.sent.packets+d.received.packets > 0 {
			list = append(list, textKey{at: id})
		}
	}
	sortTexts(list, func(list []textKey, n int) {
		for i := range list {
			list[i].part = namePart(name(names.ID(list[i].at)), n)
		}
	})
	return list
}

// ipsInOrder returns the addresses, as ip knows them, in the order of their texts.
func (s *reportSums) ipsInOrder() []textKey {
	list := make([]textKey, s.v4.sums.n+s.v6.sums.n)
	for i := range list {
		list[i].at = i
	}
	var text []byte
	sortTexts(list, func(list []textKey, n int) {
		for i, k := range list {
			s.touchIP(list, i)
			ip, version := s.ip(k.at)
			text = addressOf(ip.address, version).AppendTo(text[:0])
			list[i].part = addressPart(text, n)
		}
	})
	return list
}

// touchIP asks for the address that is some places after the one at i: what is in
// order does not lie in order.
func (s *reportSums) touchIP(list []textKey, i int) {
	if i += 8; i < len(list) {
		ip, _ := s.ip(list[i].at)
		prefetch.Value(ip)
	}
}

// ip returns an address of IPv4 or, after those, of IPv6.
func (s *reportSums) ip(i int) (ip *addressSum, version uint8) {
	if i < s.v4.sums.n {
		return s.v4.sums.at(i), 4
	}
	return s.v6.sums.at(i - s.v4.sums.n), 6
}

// address prints an address of a packet of the given IP version: an IPv6 packet
// may carry an IPv4-mapped address.
func address(a [16]byte, version uint8) string { return addressOf(a, version).String() }

func addressOf(a [16]byte, version uint8) netip.Addr {
	ip := netip.AddrFrom16(a)
	if version == 4 {
		return ip.Unmap()
	}
	return ip
}
