package view

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// A definition is a view: its name on the wire and the fields of its keys.
type definition struct {
	view   netmonpb.View
	fields fields
}

// fields is a set of key fields. The interface is a field of every view.
type fields uint8

const (
	byDirection fields = 1 << iota
	byDomain           // and the evidence for it, or the reason why there is none
	byAddress
	byProtocol // and application
	byQuestion // DNS type and response code
)

// key is the key of a row. Fields that its view does not use are zero.
type key struct {
	domain, application string
	reason              string
	address             [16]byte
	iface               uint16
	dnsType, dnsRcode   uint16
	direction, source   uint8
	protocol            uint8
}

// of returns the part of a key that is in the set.
func (f fields) of(all *key) key {
	k := key{iface: all.iface}
	if f&byDirection != 0 {
		k.direction = all.direction
	}
	if f&byDomain != 0 {
		k.domain, k.source, k.reason = all.domain, all.source, all.reason
	}
	if f&byAddress != 0 {
		k.address = all.address
	}
	if f&byProtocol != 0 {
		k.protocol, k.application = all.protocol, all.application
	}
	if f&byQuestion != 0 {
		k.dnsType, k.dnsRcode = all.dnsType, all.dnsRcode
	}
	return k
}

// reserved tells whether the key is that of a row which stands for many.
func (k *key) reserved() bool {
	return k.domain != "" && k.domain[0] == '('
}

// other returns the key of the row that takes what k has no row for.
func (k *key) other() key {
	return key{iface: k.iface, direction: k.direction, domain: Other}
}

// fill writes k as the key of a row; address is the memory for the row's.
func (f fields) fill(k *key, in *interfaces, out *netmonpb.Key, address *[16]byte) {
	out.Interface = in.names[k.iface]
	out.Direction = netmonpb.Direction(k.direction)
	out.Domain, out.NameSource, out.Detail = k.domain, netmonpb.NameSource(k.source), k.reason
	out.Protocol, out.Application = uint32(k.protocol), k.application
	out.DnsType, out.DnsRcode = uint32(k.dnsType), uint32(k.dnsRcode)
	if f&byAddress != 0 && !k.reserved() {
		*address = k.address
		out.Address = address[:]
		if netip.AddrFrom16(*address).Is4In6() {
			out.Address = address[12:]
		}
	}
}

// compare orders keys of one view as rows.Compare orders those of its rows.
func (in *interfaces) compare(a, b *key) int {
	if a.iface != b.iface {
		return strings.Compare(in.names[a.iface], in.names[b.iface])
	}
	if c := cmp.Or(cmp.Compare(a.direction, b.direction), strings.Compare(a.domain, b.domain)); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.source, b.source),
		compareAddresses(&a.address, &b.address),
		cmp.Compare(a.protocol, b.protocol),
		strings.Compare(a.application, b.application),
		cmp.Compare(a.dnsType, b.dnsType),
		cmp.Compare(a.dnsRcode, b.dnsRcode),
		strings.Compare(a.reason, b.reason),
	)
}

// compareAddresses compares as the bytes on the wire do, where IPv4 has four.
func compareAddresses(a, b *[16]byte) int {
	if *a == *b {
		return 0
	}
	wire := func(x *[16]byte) []byte {
		if netip.AddrFrom16(*x).Is4In6() {
			return x[12:]
		}
		return x[:]
	}
	return bytes.Compare(wire(a), wire(b))
}

// hash mixes every field of k. It is the same in every process, so that the
// same packets give the same rows.
func (in *interfaces) hash(k *key) uint64 {
	h := hashText(14695981039346656037, in.names[k.iface])
	h = hashText(h, k.domain)
	h = hashText(h, k.application)
	h = hashText(h, k.reason)
	for _, n := range [...]uint64{
		binary.BigEndian.Uint64(k.address[:8]),
		binary.BigEndian.Uint64(k.address[8:]),
		uint64(k.dnsType)<<48 | uint64(k.dnsRcode)<<32 | uint64(k.direction)<<16 | uint64(k.source)<<8 | uint64(k.protocol),
	} {
		hi, lo := bits.Mul64(h^n, 0x9e3779b97f4a7c15)
		h = hi ^ lo ^ n
	}
	return h * 0xd6e8feb86659fd93
}

// hashText is FNV-1a with a mark after each string.
func hashText(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return (h ^ 0xff) * 1099511628211
}

// maxInterfaces bounds the interfaces that keys can have. Those beyond it are
// one, of the name "(other)".
const maxInterfaces = 4096

// interfaces numbers the names of interfaces, so that keys stay small.
type interfaces struct {
	names []string
	ids   map[string]uint16
	last  uint16 // flows come interface by interface
}

func (in *interfaces) id(name string) uint16 {
	if int(in.last) < len(in.names) && in.names[in.last] == name {
		return in.last
	}
	id, known := in.ids[name]
	if !known {
		if len(in.names) >= maxInterfaces && name != Other {
			return in.id(Other)
		}
		id = uint16(len(in.names))
		name = strings.Clone(name)
		in.names = append(in.names, name)
		in.ids[name] = id
	}
	in.last = id
	return id
}
