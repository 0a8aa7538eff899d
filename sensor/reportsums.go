package sensor

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// reportSums adds flows up by domain, protocol and address.
type reportSums struct {
	flows, connections uint64
	domains            []domainJSON // by ID, which are dense
	protocols          [256]protocolJSON
	ips                pieces[ipSum]
	v4                 map[[4]byte]uint32 // where in ips
	v6                 map[ipKey]uint32   // likewise, and mapped addresses of IPv6
}

type ipKey struct {
	address [16]byte
	version uint8
}

type ipSum struct {
	ipKey
	out, in traffic
}

func (s *reportSums) add(f *reportFlow) {
	n := f.connections()
	s.flows++
	s.connections += n

	for int(f.name) >= len(s.domains) {
		s.domains = append(s.domains, domainJSON{})
	}
	d := &s.domains[f.name]
	d.BytesSent += f.sent.bytes
	d.BytesReceived += f.received.bytes
	d.PacketsSent += f.sent.packets
	d.PacketsReceived += f.received.packets
	d.Connections += n

	t := &s.protocols[f.protocol]
	t.Packets += f.sent.packets + f.received.packets
	t.IPBytes += f.sent.bytes + f.received.bytes
	t.Connections += n

	ip := s.ip(f.initiator, f.version)
	ip.out.add(f.sent)
	ip.in.add(f.received)
	ip = s.ip(f.responder, f.version)
	ip.out.add(f.received)
	ip.in.add(f.sent)
}

func (s *reportSums) ip(a [16]byte, version uint8) *ipSum {
	if s.v4 == nil {
		s.v4, s.v6 = map[[4]byte]uint32{}, map[ipKey]uint32{}
	}
	var i uint32
	var ok bool
	next := uint32(s.ips.n)
	if version == 4 {
		k := [4]byte(a[12:])
		if i, ok = s.v4[k]; !ok {
			i, s.v4[k] = next, next
		}
	} else {
		k := ipKey{a, version}
		if i, ok = s.v6[k]; !ok {
			i, s.v6[k] = next, next
		}
	}
	sum := s.ips.at(int(i))
	if !ok {
		sum.ipKey = ipKey{a, version}
	}
	return sum
}

// summary is the report without its flows. It is made once.
func (p *report) summary(name func(names.ID) string) *reportJSON {
	sums := &p.sums
	for f := range p.flows.each() {
		sums.add(f)
	}
	out := &reportJSON{
		Schema: "netmon-replay/1",
		Totals: totalsJSON{
			IPPackets: p.frames[packet.Decoded], IPBytes: p.ipBytes, LinkBytes: p.linkBytes,
			NonIP: p.frames[packet.NotIP], Malformed: p.frames[packet.Malformed],
			Unsupported: p.frames[packet.Unsupported], Flows: sums.flows, Connections: sums.connections,
		},
		Domains: []domainJSON{}, Protocols: []protocolJSON{}, IPs: make([]ipJSON, 0, sums.ips.n),
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
	for id, d := range sums.domains {
		switch {
		case id == 0:
			out.Unattributed = d
		case d.PacketsSent+d.PacketsReceived > 0:
			d.Name = name(names.ID(id))
			out.Domains = append(out.Domains, d)
		}
	}
	slices.SortFunc(out.Domains, func(a, b domainJSON) int { return cmp.Compare(a.Name, b.Name) })
	for number, t := range sums.protocols {
		if t.Packets > 0 {
			t.Proto, t.Number = rows.ProtocolName(uint32(number)), uint8(number)
			out.Protocols = append(out.Protocols, t)
		}
	}
	for s := range sums.ips.each() {
		out.IPs = append(out.IPs, ipJSON{
			IP: address(s.address, s.version), PacketsOut: s.out.packets, PacketsIn: s.in.packets,
			BytesOut: s.out.bytes, BytesIn: s.in.bytes,
		})
	}
	slices.SortFunc(out.IPs, func(a, b ipJSON) int { return cmp.Compare(a.IP, b.IP) })
	return out
}

// address prints an address of a packet of the given IP version: an IPv6 packet
// may carry an IPv4-mapped address.
func address(a [16]byte, version uint8) string {
	ip := netip.AddrFrom16(a)
	if version == 4 {
		ip = ip.Unmap()
	}
	return ip.String()
}
