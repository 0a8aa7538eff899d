package packet

import "testing"

func TestExplain(t *testing.T) {
	ether := func(kind string, rest ...byte) []byte {
		return append([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"+kind), rest...)
	}
	ip := func(edit func(b []byte)) []byte {
		b := make([]byte, 20)
		b[0], b[3], b[8], b[9] = 0x45, 20, 64, 17
		edit(b)
		return ether("\x08\x00", b...)
	}
	for _, c := range []struct {
		link  Link
		frame []byte
		want  string
	}{
		{LinkEthernet, ip(func([]byte) {}), ""},
		{LinkEthernet, ether("\x08\x06"), "EtherType 0x0806 (ARP)"},
		{LinkEthernet, ether("\x81\x00\x00\x05\x88\xcc"), "EtherType 0x88cc (LLDP) behind a VLAN tag"},
		{LinkEthernet, ether("\x81\x00\x00"), "VLAN tag cut off"},
		{LinkEthernet, ether("\x12\x34"), "EtherType 0x1234"},
		{LinkEthernet, ether("\x00\x26\x42\x42\x03"), "an 802.3 length, no EtherType"},
		{LinkEthernet, ether("\x00\x26\xaa\xaa\x03\x00\x00\x00\x08\x06"), "SNAP, EtherType 0x0806 (ARP)"},
		{LinkEthernet, []byte{1, 2, 3}, "link header of 14 bytes cut off after 3"},
		{LinkSLL, append(make([]byte, 14), 0x88, 0xcc), "EtherType 0x88cc (LLDP)"},
		{LinkRaw, []byte{0x17}, "no IP by the rules of link type 101, first byte 0x17"},
		{LinkRaw, nil, "nothing captured"},
		{147, []byte{1}, "link type 147"},
		{LinkEthernet, ether("\x08\x00\x45\x00"), "IPv4 header of 20 bytes cut off after 2"},
		{LinkEthernet, ether("\x86\xdd"), "IPv6 header of 40 bytes cut off after 0"},
		{LinkEthernet, ip(func(b []byte) { b[0] = 0x65 }), "version 6 in the header, IPv4 by the link layer"},
		{LinkEthernet, ip(func(b []byte) { b[0] = 0x44 }), "IPv4 header length 16, less than 20"},
		{LinkEthernet, ip(func(b []byte) { b[3] = 10 }), "IPv4 total length 10, less than the header's 20"},
	} {
		if got := Explain(c.link, c.frame, uint32(len(c.frame))); got != c.want {
			t.Errorf("link %d, % x: %q, want %q", c.link, c.frame, got, c.want)
		}
	}
}

// FuzzExplain wants a word for exactly what Decode refuses.
func FuzzExplain(f *testing.F) {
	f.Add(uint16(1), []byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x06"))
	f.Add(uint16(113), make([]byte, 16))
	f.Add(uint16(228), []byte{0x45})
	f.Fuzz(func(t *testing.T, link uint16, b []byte) {
		var h Header
		decoded := h.Decode(Link(link), b, uint32(len(b))) == Decoded
		if got := Explain(Link(link), b, uint32(len(b))); (got == "") != decoded {
			t.Errorf("decoded is %t, explained as %q", decoded, got)
		}
	})
}
