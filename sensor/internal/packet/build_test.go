package packet

import (
	"encoding/binary"
	"slices"
)

// Frames for tests, built from the inside out: ether(0x0800, ip4(6, tcp(SYN))).

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }

func u16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func ether(etherType uint16, payload []byte) []byte {
	return cat([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, u16(etherType), payload)
}

// vlan is a tag's body: what follows its ethertype.
func vlan(etherType uint16, payload []byte) []byte { return cat(u16(7), u16(etherType), payload) }

// tags is n tags around an IPv4 packet, without the outer ethertype.
func tags(n int, packet []byte) []byte {
	packet = vlan(0x0800, packet)
	for range n - 1 {
		packet = vlan(0x8100, packet)
	}
	return packet
}

// label is an MPLS label.
func label(bottom bool, payload []byte) []byte {
	b := []byte{0, 1, 0x20, 64}
	if bottom {
		b[2] |= 1
	}
	return cat(b, payload)
}

func snapOf(etherType uint16, payload []byte) []byte {
	return cat([]byte{0xaa, 0xaa, 3, 0, 0, 0}, u16(etherType), payload)
}

func pppoe(protocol []byte, payload []byte) []byte {
	return cat([]byte{0x11, 0, 0, 1}, u16(uint16(len(payload)+2)), protocol, payload)
}

// ip4 is an IPv4 packet from 192.0.2.1 to 198.51.100.2; change alters its header.
func ip4(protocol uint8, payload []byte, change ...func(header []byte) []byte) []byte {
	h := make([]byte, ipv4Header)
	h[0], h[8], h[9] = 0x45, 64, protocol
	copy(h[12:], []byte{192, 0, 2, 1, 198, 51, 100, 2})
	binary.BigEndian.PutUint16(h[2:], uint16(ipv4Header+len(payload)))
	for _, c := range change {
		h = c(h)
	}
	return cat(h, payload)
}

func at16(at int, v uint16) func([]byte) []byte {
	return func(h []byte) []byte {
		binary.BigEndian.PutUint16(h[at:], v)
		return h
	}
}

func at8(at int, v uint8) func([]byte) []byte {
	return func(h []byte) []byte {
		h[at] = v
		return h
	}
}

func totalLength(v uint16) func([]byte) []byte { return at16(2, v) }

// fragmentOf sets identification, offset in bytes and the flag for more.
func fragmentOf(id uint16, offset uint16, more bool) func([]byte) []byte {
	f := offset / 8
	if more {
		f |= 0x2000
	}
	return func(h []byte) []byte { return at16(6, f)(at16(4, id)(h)) }
}

// options puts n bytes of options into an IPv4 header.
func options(n int) func([]byte) []byte {
	return func(h []byte) []byte {
		h[0] += byte(n / 4)
		binary.BigEndian.PutUint16(h[2:], binary.BigEndian.Uint16(h[2:])+uint16(n))
		return cat(h, make([]byte, n))
	}
}

// ip6 is an IPv6 packet from 2001:db8::1 to 2001:db8::2.
func ip6(next uint8, payload []byte, change ...func(header []byte) []byte) []byte {
	h := make([]byte, ipv6Header)
	h[0], h[6], h[7] = 0x60, next, 64
	copy(h[8:], []byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})
	copy(h[24:], []byte{0x20, 0x01, 0x0d, 0xb8, 15: 2})
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	for _, c := range change {
		h = c(h)
	}
	return cat(h, payload)
}

func payloadLength(v uint16) func([]byte) []byte { return at16(4, v) }

// extension is an IPv6 extension header of 8 bytes and more.
func extension(next uint8, body []byte, payload []byte) []byte {
	for body = cat(body); len(body) == 0 || len(body)%8 != 6; {
		body = append(body, 0) // Pad1
	}
	return cat([]byte{next, byte(len(body) / 8)}, body, payload)
}

func jumboOption(length uint32) []byte { return cat([]byte{optionJumbo, 4}, u32(length)) }

func fragment6(next uint8, offset uint16, more bool, payload []byte) []byte {
	if more {
		offset |= 1
	}
	return cat([]byte{next, 0}, u16(offset), u32(0xabcdef), payload)
}

// authentication is an AH header with 12 bytes of check value.
func authentication(next uint8, payload []byte) []byte {
	return cat([]byte{next, 4}, make([]byte, 22), payload)
}

// tcp is a segment from port 40000 to 443.
func tcp(flags uint8, payload string) []byte {
	return cat(u16(40000), u16(443), u32(0x01020304), u32(0x05060708), []byte{0x50, flags}, make([]byte, 6), []byte(payload))
}

// udp is a datagram from port 40000 to 53.
func udp(payload string) []byte {
	return cat(u16(40000), u16(53), u16(uint16(udpHeader+len(payload))), u16(0), []byte(payload))
}
