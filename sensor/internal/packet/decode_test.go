package packet

import (
	"bytes"
	"slices"
	"testing"
)

var (
	address4 = [2][16]byte{
		{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1},
		{10: 0xff, 11: 0xff, 12: 198, 13: 51, 14: 100, 15: 2},
	}
	address6 = [2][16]byte{
		{0x20, 0x01, 0x0d, 0xb8, 15: 1},
		{0x20, 0x01, 0x0d, 0xb8, 15: 2},
	}
)

// outer are frames around one UDP packet of IPv4 or IPv6, all of the same flow.
func outer() map[string]struct {
	link  Link
	frame []byte
} {
	p4, p6 := ip4(protoUDP, udp("x")), ip6(protoUDP, udp("x"))
	return map[string]struct {
		link  Link
		frame []byte
	}{
		"ethernet 4":       {LinkEthernet, ether(0x0800, p4)},
		"ethernet 6":       {LinkEthernet, ether(0x86dd, p6)},
		"802.1Q":           {LinkEthernet, ether(0x8100, vlan(0x0800, p4))},
		"802.1ad":          {LinkEthernet, ether(0x88a8, vlan(0x8100, vlan(0x86dd, p6)))},
		"0x9100, 0x9200":   {LinkEthernet, ether(0x9100, vlan(0x9200, vlan(0x0800, p4)))},
		"15 tags":          {LinkEthernet, ether(0x8100, tags(maxNesting-1, p4))},
		"MPLS":             {LinkEthernet, ether(0x8847, label(true, p4))},
		"MPLS stack":       {LinkEthernet, ether(0x8848, label(false, label(false, label(true, p6))))},
		"VLAN and MPLS":    {LinkEthernet, ether(0x8100, vlan(0x8847, label(true, p4)))},
		"PPPoE":            {LinkEthernet, ether(0x8864, pppoe(u16(0x21), p4))},
		"PPPoE, one byte":  {LinkEthernet, ether(0x8864, pppoe([]byte{0x57}, p6))},
		"QinQ and PPPoE":   {LinkEthernet, ether(0x88a8, vlan(0x8100, vlan(0x8864, pppoe(u16(0x57), p6))))},
		"SNAP":             {LinkEthernet, ether(100, snapOf(0x0800, p4))},
		"SNAP in a tag":    {LinkEthernet, ether(0x8100, vlan(100, snapOf(0x86dd, p6)))},
		"raw 12":           {12, p4},
		"raw 14":           {14, p6},
		"raw 101":          {LinkRaw, p6},
		"raw 228":          {LinkIPv4, p4},
		"raw 229":          {LinkIPv6, p6},
		"null":             {LinkNull, cat([]byte{2, 0, 0, 0}, p4)},
		"null, big endian": {LinkNull, cat([]byte{0, 0, 0, 2}, p4)},
		"null, Darwin":     {LinkNull, cat([]byte{30, 0, 0, 0}, p6)},
		"null, FreeBSD":    {LinkNull, cat([]byte{0, 0, 0, 28}, p6)},
		"loop":             {LinkLoop, cat([]byte{0, 0, 0, 24}, p6)},
		"SLL":              {LinkSLL, cat(make([]byte, 14), u16(0x0800), p4)},
		"SLL, tagged":      {LinkSLL, cat(make([]byte, 14), u16(0x8100), vlan(0x86dd, p6))},
		"SLL2":             {LinkSLL2, cat(u16(0x86dd), make([]byte, 18), p6)},
		"PPP":              {LinkPPP, cat([]byte{0xff, 3, 0, 0x21}, p4)},
		"PPP, bare":        {LinkPPP, cat([]byte{0x57}, p6)},
		"PPP in HDLC":      {LinkPPPHDLC, cat([]byte{0xff, 3, 0, 0x57}, p6)},
		"Cisco in 50":      {LinkPPPHDLC, cat([]byte{0x0f, 0, 8, 0}, p4)},
		"PPPoE link":       {LinkPPPoE, pppoe(u16(0x21), p4)},
		"Cisco HDLC":       {LinkCiscoHDLC, cat([]byte{0x8f, 0, 0x86, 0xdd}, p6)},
		"PPP in Cisco's":   {LinkCiscoHDLC, cat([]byte{0xff, 3, 0, 0x21}, p4)},
	}
}

func TestLinks(t *testing.T) {
	for name, c := range outer() {
		t.Run(name, func(t *testing.T) {
			var h Header
			if r := h.Decode(c.link, c.frame, uint32(len(c.frame))); r != Decoded {
				t.Fatal(r)
			}
			want, size := address4, ipv4Header
			if h.Version == 6 {
				want, size = address6, ipv6Header
			}
			if h.Src != want[0] || h.Dst != want[1] || h.SrcPort != 40000 || h.DstPort != 53 || h.Protocol != protoUDP {
				t.Errorf("%+v", h)
			}
			if int(h.Bytes) != size+udpHeader+1 {
				t.Errorf("%d bytes, want %d", h.Bytes, size+udpHeader+1)
			}
			if p := h.Payload(c.frame); string(p) != "x" {
				t.Errorf("payload %q", p)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	p4, p6 := ip4(protoUDP, udp("x")), ip6(protoUDP, udp("x"))
	for _, c := range []struct {
		name  string
		link  Link
		frame []byte
		want  Reason
	}{
		{"nothing", LinkEthernet, nil, NotIP},
		{"13 bytes", LinkEthernet, make([]byte, 13), NotIP},
		{"ARP", LinkEthernet, ether(0x0806, make([]byte, 46)), NotIP},
		{"802.1ah", LinkEthernet, ether(0x88e7, p4), NotIP},
		{"16 tags", LinkEthernet, ether(0x8100, tags(maxNesting, p4)), NotIP},
		{"tag cut off", LinkEthernet, ether(0x8100, []byte{0, 1, 8}), NotIP},
		{"length without SNAP", LinkEthernet, ether(46, p4), NotIP},
		{"SNAP with an OUI", LinkEthernet, ether(46, cat([]byte{0xaa, 0xaa, 3, 0, 0, 12}, u16(0x0800), p4)), NotIP},
		{"MPLS without bottom", LinkEthernet, ether(0x8847, label(false, nil)), NotIP},
		{"pseudowire", LinkEthernet, ether(0x8847, label(true, cat([]byte{0, 0, 0, 0}, p4))), NotIP},
		{"MPLS cut off", LinkEthernet, ether(0x8847, label(true, nil)), NotIP},
		{"PPPoE discovery", LinkEthernet, ether(0x8863, pppoe(u16(0x21), p4)), NotIP},
		{"PPP LCP", LinkEthernet, ether(0x8864, pppoe(u16(0xc021), p4)), NotIP},
		{"PPPoE cut off", LinkEthernet, ether(0x8864, []byte{0x11}), NotIP},
		{"raw, no version", LinkRaw, []byte{0x50}, NotIP},
		{"raw, empty", LinkRaw, nil, NotIP},
		{"raw 228, empty", LinkIPv4, nil, NotIP},
		{"raw 228, IPv6", LinkIPv4, p6, Malformed},
		{"null, AppleTalk", LinkNull, cat([]byte{16, 0, 0, 0}, p4), NotIP},
		{"SLL, netlink", LinkSLL, cat([]byte{0, 0, 3, 56}, make([]byte, 10), u16(0x0800), p4), NotIP},
		{"SLL, ipgre", LinkSLL, cat([]byte{0, 0, 3, 10}, make([]byte, 10), u16(0x0800), p4), NotIP},
		{"SLL, LLC", LinkSLL, cat(make([]byte, 14), u16(4), snapOf(0x0800, p4)), NotIP},
		{"SLL2, netlink", LinkSLL2, cat(u16(0x0800), make([]byte, 6), []byte{3, 56}, make([]byte, 10), p4), NotIP},
		{"Cisco HDLC, SLARP", LinkCiscoHDLC, cat([]byte{0x8f, 0, 0x80, 0x35}, p4), NotIP},
		{"PPP bare in Cisco's", LinkCiscoHDLC, cat([]byte{0x21}, p4), NotIP},
		{"frame relay", 107, p4, Unsupported},
		{"IEEE 802.11", 105, p4, Unsupported},

		{"ends at the IP header", LinkEthernet, ether(0x0800, nil), Malformed},
		{"19 bytes of IPv4", LinkEthernet, ether(0x0800, p4[:19]), Malformed},
		{"39 bytes of IPv6", LinkEthernet, ether(0x86dd, p6[:39]), Malformed},
		{"wrong nibble 4", LinkEthernet, ether(0x0800, p6), Malformed},
		{"wrong nibble 6", LinkEthernet, ether(0x86dd, cat(p4, make([]byte, 40))), Malformed},
		{"IHL 4", LinkEthernet, ether(0x0800, ip4(17, udp(""), at8(0, 0x44))), Malformed},
		{"total length 1", LinkEthernet, ether(0x0800, ip4(17, udp(""), totalLength(1))), Malformed},
		{"total length 19", LinkEthernet, ether(0x0800, ip4(17, udp(""), totalLength(19))), Malformed},
		{"total length below IHL", LinkEthernet, ether(0x0800, ip4(17, udp(""), options(8), totalLength(27))), Malformed},
		{"total length 20", LinkEthernet, ether(0x0800, ip4(17, udp(""), totalLength(20))), Decoded},
		{"total length 0", LinkEthernet, ether(0x0800, ip4(17, udp(""), totalLength(0))), Decoded},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h Header
			if r := h.Decode(c.link, c.frame, uint32(len(c.frame))); r != c.want {
				t.Errorf("%s, want %s", r, c.want)
			}
		})
	}
}

// TestBytes is about DEFINITIONS 2.2: what counts as IP bytes.
func TestBytes(t *testing.T) {
	big := ip6(extHopByHop, extension(protoTCP, jumboOption(8+20+3), tcp(ACK, "abc")), payloadLength(0))
	for _, c := range []struct {
		name       string
		etherType  uint16
		packet     []byte
		after      int // bytes on the wire behind the packet: padding, FCS, or not captured
		bytes, pay uint32
	}{
		{"exact", 0x0800, ip4(6, tcp(ACK, "abc")), 0, 43, 3},
		{"padded", 0x0800, ip4(6, tcp(ACK, "")), 6, 40, 0},
		{"cut by snaplen", 0x0800, ip4(6, tcp(ACK, ""), totalLength(1500)), 1460, 1500, 1460},
		{"says too much", 0x0800, ip4(6, tcp(ACK, "abc"), totalLength(1500)), 0, 43, 3},
		{"TSO", 0x0800, ip4(6, tcp(ACK, "abc"), totalLength(0)), 60000, 60043, 60003},
		{"says too little", 0x0800, ip4(6, tcp(ACK, "abc"), totalLength(41)), 0, 41, 1},
		{"header only", 0x0800, ip4(6, tcp(ACK, "abc"), totalLength(20)), 0, 20, 0},
		{"options", 0x0800, ip4(6, tcp(ACK, "abc"), options(40)), 0, 83, 3},
		{"exact 6", 0x86dd, ip6(6, tcp(ACK, "abc")), 0, 63, 3},
		{"padded 6", 0x86dd, ip6(17, udp("")), 12, 48, 0},
		{"says too much 6", 0x86dd, ip6(17, udp("ab"), payloadLength(99)), 0, 50, 2},
		{"BIG TCP without option", 0x86dd, ip6(6, tcp(ACK, "abc"), payloadLength(0)), 100000, 100063, 100003},
		{"no next header", 0x86dd, ip6(extNone, nil), 6, 40, 0},
		{"no payload", 0x86dd, ip6(6, nil), 0, 40, 0},
		{"jumbogram", 0x86dd, big, 4, uint32(len(big)), 3},
		{"jumbo option of 0", 0x86dd, ip6(extHopByHop, extension(extNone, jumboOption(0), nil), payloadLength(0)), 5, 40, 0},
		{"jumbo option says too much", 0x86dd, ip6(extHopByHop, extension(6, jumboOption(1<<32-1), tcp(ACK, "")), payloadLength(0)), 5, 73, 5},
		{"jumbo option beside a length", 0x86dd, ip6(extHopByHop, extension(6, jumboOption(4000), tcp(ACK, ""))), 5, 68, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame := ether(c.etherType, c.packet)
			var h Header
			if r := h.Decode(LinkEthernet, frame, uint32(len(frame)+c.after)); r != Decoded {
				t.Fatal(r)
			}
			if h.Bytes != c.bytes || h.PayloadLength != c.pay {
				t.Errorf("%d bytes, %d of payload; want %d, %d", h.Bytes, h.PayloadLength, c.bytes, c.pay)
			}
		})
	}
}

// TestWire: a length on the wire below what was captured is not believed.
func TestWire(t *testing.T) {
	frame := ether(0x0800, ip4(6, tcp(ACK, "abc")))
	for _, wire := range []uint32{0, 14, uint32(len(frame)) - 1} {
		var h Header
		if r := h.Decode(LinkEthernet, frame, wire); r != Decoded || h.Bytes != 43 {
			t.Errorf("%d on the wire: %s, %d bytes", wire, r, h.Bytes)
		}
	}
}

// TestProtocols is about DEFINITIONS 2.3 and 2.4: what stands before the
// transport, and what has ports.
func TestProtocols(t *testing.T) {
	ext := func(kind uint8, next uint8, payload []byte) []byte { return ip6(kind, extension(next, nil, payload)) }
	many := udp("")
	for i := range maxExtensions + 1 {
		next := uint8(extDestination)
		if i == 0 {
			next = protoUDP
		}
		many = extension(next, nil, many)
	}
	for _, c := range []struct {
		name      string
		etherType uint16
		packet    []byte
		protocol  uint8
		ports     bool
	}{
		{"TCP", 0x0800, ip4(6, tcp(ACK, "")), 6, true},
		{"DCCP", 0x0800, ip4(33, udp("")), 33, true},
		{"SCTP", 0x86dd, ip6(132, udp("")), 132, true},
		{"UDP-Lite", 0x86dd, ip6(136, udp("")), 136, true},
		{"ICMP", 0x0800, ip4(1, udp("")), 1, false},
		{"GRE", 0x0800, ip4(47, ip4(6, tcp(ACK, ""))), 47, false},
		{"3 bytes of UDP", 0x0800, ip4(17, udp("")[:3]), 17, false},
		{"4 bytes of UDP", 0x0800, ip4(17, udp("")[:4]), 17, true},
		{"AH in IPv4", 0x0800, ip4(extAH, authentication(6, tcp(ACK, ""))), 6, true},
		{"AH twice in IPv4", 0x0800, ip4(extAH, authentication(extAH, authentication(6, tcp(ACK, "")))), extAH, false},
		{"AH cut off in IPv4", 0x0800, ip4(extAH, authentication(6, nil)[:7]), extAH, false},
		{"hop by hop", 0x86dd, ext(extHopByHop, 6, tcp(ACK, "")), 6, true},
		{"routing", 0x86dd, ext(extRouting, 17, udp("")), 17, true},
		{"destination", 0x86dd, ext(extDestination, 17, udp("")), 17, true},
		{"mobility", 0x86dd, ext(extMobility, 17, udp("")), 17, true},
		{"HIP", 0x86dd, ext(extHIP, 17, udp("")), 17, true},
		{"shim6", 0x86dd, ext(extShim6, 17, udp("")), 17, true},
		{"AH in IPv6", 0x86dd, ip6(extAH, authentication(17, udp(""))), 17, true},
		{"atomic fragment", 0x86dd, ip6(extFragment, fragment6(17, 0, false, udp(""))), 17, true},
		{"a chain", 0x86dd, ext(extHopByHop, extRouting, extension(extAH, nil, authentication(6, tcp(ACK, "")))), 6, true},
		{"32 and more", 0x86dd, ip6(extDestination, many), extDestination, false},
		{"walk ends in the dark", 0x86dd, ip6(extHopByHop, extension(extRouting, nil, []byte{17, 0, 0})), extRouting, false},
		{"ESP", 0x86dd, ext(extHopByHop, 50, udp("")), 50, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame := ether(c.etherType, c.packet)
			var h Header
			if r := h.Decode(LinkEthernet, frame, uint32(len(frame))); r != Decoded {
				t.Fatal(r)
			}
			if h.Protocol != c.protocol || (h.SrcPort == 40000) != c.ports || (h.DstPort != 0) != c.ports {
				t.Errorf("protocol %d, ports %d and %d; want %d, ports: %t", h.Protocol, h.SrcPort, h.DstPort, c.protocol, c.ports)
			}
			if h.Fragment != Whole {
				t.Error("a fragment")
			}
		})
	}
}

func TestTCP(t *testing.T) {
	frame := ether(0x0800, ip4(6, tcp(SYN|ACK, "hello")))
	var h Header
	h.Decode(LinkEthernet, frame, uint32(len(frame)))
	if !h.TCP || h.TCPFlags != SYN|ACK || h.Seq != 0x01020304 || h.Ack != 0x05060708 {
		t.Errorf("%+v", h)
	}
	if p := h.Payload(frame); string(p) != "hello" {
		t.Errorf("payload %q", p)
	}
	if p := h.Payload(frame[:56]); string(p) != "he" {
		t.Errorf("payload %q of what is there", p)
	}

	frame[14+20+12] = 0x40 // a header of 16 bytes
	h.Decode(LinkEthernet, frame, uint32(len(frame)))
	if !h.TCP || h.PayloadOffset != 0 || h.PayloadLength != 0 || len(h.Payload(frame)) != 0 {
		t.Errorf("header too short: %+v", h)
	}
	frame[14+20+12] = 0xf0 // one of 60, which reaches beyond the packet
	h.Decode(LinkEthernet, frame, uint32(len(frame)))
	if !h.TCP || h.PayloadLength != 0 || len(h.Payload(frame)) != 0 {
		t.Errorf("header too long: %+v", h)
	}
	h.Decode(LinkEthernet, frame[:14+20+13], uint32(len(frame)))
	if h.TCP || h.SrcPort != 40000 {
		t.Errorf("13 bytes of header: %+v", h)
	}
}

func TestFragments(t *testing.T) {
	body := udp("0123456789abcdef")
	for _, c := range []struct {
		name      string
		etherType uint16
		packet    []byte
		fragment  Fragment
		id        uint32
		own       uint8 // FragmentProtocol
		protocol  uint8
		payload   string
		offset    uint32
		more      bool
	}{
		{"first 4", 0x0800, ip4(17, body[:16], fragmentOf(77, 0, true)), First, 77, 17, 17, string(body[:16]), 0, true},
		{"middle 4", 0x0800, ip4(17, body[8:16], fragmentOf(77, 8, true)), Later, 77, 17, 17, string(body[8:16]), 8, true},
		{"last 4", 0x0800, ip4(17, body[16:], fragmentOf(77, 65528, false)), Later, 77, 17, 17, string(body[16:]), 65528, false},
		{"don't fragment", 0x0800, ip4(17, body, at16(6, 0x4000)), Whole, 0, 0, 17, "", 0, false},
		{"AH first", 0x0800, ip4(extAH, authentication(17, body), fragmentOf(5, 0, true)), First, 5, extAH, 17, "", 0, true},
		{"AH later", 0x0800, ip4(extAH, authentication(17, body), fragmentOf(5, 8, true)), Later, 5, extAH, extAH,
			string(authentication(17, body)), 8, true},
		{"first 6", 0x86dd, ip6(44, fragment6(17, 0, true, body[:16])), First, 0xabcdef, 0, 17, string(body[:16]), 0, true},
		{"last 6", 0x86dd, ip6(44, fragment6(17, 16, false, body[16:])), Later, 0xabcdef, 0, 17, string(body[16:]), 16, false},
		{"later 6 with options", 0x86dd, ip6(44, fragment6(extDestination, 16, true, body)), Later, 0xabcdef, 0,
			extDestination, string(body), 16, true},
		{"first 6 with options", 0x86dd, ip6(44, fragment6(extDestination, 0, true, extension(17, nil, body))), First,
			0xabcdef, 0, 17, "", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame := cat(ether(c.etherType, c.packet), []byte("padding"))
			var h Header
			if r := h.Decode(LinkEthernet, frame, uint32(len(frame))); r != Decoded {
				t.Fatal(r)
			}
			if h.Fragment != c.fragment || h.Protocol != c.protocol {
				t.Errorf("%+v", h)
			}
			if h.Fragment != Whole && (h.FragmentID != c.id || h.FragmentProtocol != c.own) {
				t.Errorf("identification %d of %d, want %d of %d", h.FragmentID, h.FragmentProtocol, c.id, c.own)
			}
			if ports := h.SrcPort != 0 && h.DstPort != 0; ports != (h.Fragment != Later) {
				t.Errorf("ports %d and %d", h.SrcPort, h.DstPort)
			}
			payload, length, offset, more := h.FragmentPayload(frame)
			if length != uint32(len(c.payload)) {
				t.Errorf("length %d, want %d", length, len(c.payload))
			}
			if string(payload) != c.payload || offset != c.offset || more != c.more {
				t.Errorf("%q at %d, more %t; want %q at %d, %t", payload, offset, more, c.payload, c.offset, c.more)
			}
		})
	}
}

// TestFragmentLength wants the length of a fragment by its IP header, which tells
// that it was cut off.
func TestFragmentLength(t *testing.T) {
	for name, frame := range map[string][]byte{
		"4": ether(0x0800, ip4(17, []byte(udp("abcdefgh")), fragmentOf(1, 0, true), totalLength(1500))),
		"6": ether(0x86dd, ip6(extFragment, fragment6(17, 0, true, []byte(udp("abcdefgh"))), payloadLength(1488))),
	} {
		var h Header
		h.Decode(LinkEthernet, frame, uint32(len(frame)))
		if p, length, _, _ := h.FragmentPayload(frame); len(p) != 16 || length != 1480 {
			t.Errorf("IPv%s: %d bytes of %d, want 16 of 1480", name, len(p), length)
		}
		if h.Bytes != uint32(len(frame)-ethernetHeader) {
			t.Errorf("IPv%s: %d IP bytes", name, h.Bytes)
		}
	}
}

// TestTruncation decodes every prefix of every frame, whose bytes behind it are
// out of reach, and expects that payloads lie within.
func TestTruncation(t *testing.T) {
	frames := outer()
	for i, p := range [][]byte{
		ip6(extHopByHop, extension(extRouting, cat(make([]byte, 7), jumboOption(99)), extension(extFragment, nil, fragment6(6, 0, true, tcp(SYN, "abcdef")))), payloadLength(0)),
		ip4(extAH, authentication(6, tcp(SYN, "abcdef")), options(12), fragmentOf(1, 0, true)),
	} {
		et := []uint16{0x86dd, 0x0800}[i]
		frames[[]string{"everything 6", "everything 4"}[i]] = struct {
			link  Link
			frame []byte
		}{LinkEthernet, ether(et, p)}
	}
	for name, c := range frames {
		for n := range len(c.frame) + 1 {
			cut := slices.Clip(bytes.Clone(c.frame[:n]))
			var h Header
			r := h.Decode(c.link, cut, uint32(len(c.frame)))
			if r == Unsupported {
				t.Fatalf("%s cut at %d: %s", name, n, r)
			}
			if r == Decoded {
				within(t, &h, cut)
			}
		}
	}
}

// within checks what is true of every Header.
func within(t *testing.T, h *Header, frame []byte) {
	t.Helper()
	if p := h.Payload(frame); len(p) > int(h.PayloadLength) || len(p) > 0 && &p[0] != &frame[h.PayloadOffset] {
		t.Errorf("payload of %d bytes, %d on the wire at %d", len(p), h.PayloadLength, h.PayloadOffset)
	}
	if p, length, _, _ := h.FragmentPayload(frame); len(p) > min(len(frame), int(length)) || h.Fragment == Whole && p != nil {
		t.Errorf("%d bytes of a fragment", len(p))
	}
	if h.Version != 4 && h.Version != 6 {
		t.Errorf("version %d", h.Version)
	}
	if !HasPorts(h.Protocol) && (h.SrcPort != 0 || h.DstPort != 0 || h.TCP) {
		t.Errorf("ports or TCP in protocol %d", h.Protocol)
	}
	if h.Fragment == Later && (h.SrcPort != 0 || h.DstPort != 0 || h.TCP || h.PayloadLength != 0) {
		t.Errorf("a later fragment with a transport: %+v", h)
	}
}

func TestReasonString(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumReasons + 1 {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d is %q", r, s)
		} else {
			seen[s] = true
		}
	}
}

func TestDecodeAllocates(t *testing.T) {
	frames := outer()
	var h Header
	var payload int
	n := testing.AllocsPerRun(100, func() {
		for _, c := range frames {
			h.Decode(c.link, c.frame, uint32(len(c.frame)))
			payload += len(h.Payload(c.frame))
		}
	})
	if n != 0 || payload == 0 {
		t.Errorf("%v allocations, %d bytes of payload", n, payload)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range outer() {
		f.Add(uint16(c.link), c.frame, uint32(len(c.frame)))
		f.Add(uint16(c.link), c.frame[:len(c.frame)-3], uint32(len(c.frame)))
	}
	f.Add(uint16(1), ether(0x86dd, ip6(0, extension(44, jumboOption(9), fragment6(51, 0, true, authentication(6, tcp(SYN, "")))), payloadLength(0))), uint32(200))
	f.Fuzz(func(t *testing.T, link uint16, frame []byte, wire uint32) {
		wire %= 16 << 20 // what a capture believes
		var h, again Header
		r := h.Decode(Link(link), frame, wire)
		for i := range again.Src { // what a Header held before does not matter
			again.Src[i], again.Dst[i] = 0xff, 0xff
		}
		again.SrcPort, again.DstPort, again.PayloadLength, again.TCP, again.Fragment = 1, 1, 1, true, Later
		if again.Decode(Link(link), frame, wire) != r {
			t.Fatal("two answers for one frame")
		}
		if r != Decoded {
			return
		}
		within(t, &h, frame)
		if h.Bytes > max(wire, uint32(len(frame))) || h.Bytes < ipv4Header {
			t.Errorf("%d bytes of %d", h.Bytes, wire)
		}
		if h.Src != again.Src || h.Dst != again.Dst || h.SrcPort != again.SrcPort || h.DstPort != again.DstPort ||
			h.Fragment != again.Fragment || h.TCP != again.TCP || h.PayloadLength != again.PayloadLength || h.Bytes != again.Bytes {
			t.Errorf("depends on the frame before:\n%+v\n%+v", h, again)
		}
	})
}
