package packet

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// TestGopacket builds packets with gopacket and compares what it decodes with
// what Decode does.
func TestGopacket(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 3000 {
		link, stack := randomStack(random)
		buffer := gopacket.NewSerializeBuffer()
		err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...)
		if err != nil {
			t.Fatal(err)
		}
		frame := buffer.Bytes()

		var h Header
		if r := h.Decode(link, frame, uint32(len(frame))); r != Decoded {
			t.Fatalf("packet %d: %s\n%s", n, r, gopacket.NewPacket(frame, layers.LinkType(link), gopacket.Default))
		}
		compare(t, &h, frame, gopacket.NewPacket(frame, layers.LinkType(link), gopacket.Default))
		if t.Failed() {
			return
		}
	}
}

func compare(t *testing.T, h *Header, frame []byte, p gopacket.Packet) {
	t.Helper()
	var src, dst []byte
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		src, dst = ip.SrcIP.To16(), ip.DstIP.To16()
		if h.Version != 4 || h.Bytes != uint32(ip.Length) {
			t.Errorf("version %d, %d bytes, want 4, %d", h.Version, h.Bytes, ip.Length)
		}
	case *layers.IPv6:
		src, dst = ip.SrcIP, ip.DstIP
		if h.Version != 6 || h.Bytes != uint32(ip.Length)+ipv6Header {
			t.Errorf("version %d, %d bytes, want 6, %d", h.Version, h.Bytes, ip.Length+ipv6Header)
		}
	}
	if h.Src != [16]byte(src) || h.Dst != [16]byte(dst) {
		t.Errorf("%x to %x, want %x to %x", h.Src, h.Dst, src, dst)
	}
	var payload []byte
	switch l := p.TransportLayer().(type) {
	case *layers.TCP:
		payload = l.Payload
		if h.SrcPort != uint16(l.SrcPort) || h.DstPort != uint16(l.DstPort) || h.Seq != l.Seq || h.Ack != l.Ack ||
			!h.TCP || h.TCPFlags != l.Contents[13] {
			t.Errorf("%+v, want %+v", h, l)
		}
	case *layers.UDP:
		payload = l.Payload
		if h.SrcPort != uint16(l.SrcPort) || h.DstPort != uint16(l.DstPort) || h.TCP {
			t.Errorf("%+v, want %+v", h, l)
		}
	}
	if string(h.Payload(frame)) != string(payload) || int(h.PayloadLength) != len(payload) {
		t.Errorf("payload %q of %d, want %q", h.Payload(frame), h.PayloadLength, payload)
	}
}

// randomStack is a TCP or UDP packet in layers chosen at random.
func randomStack(r *rand.Rand) (Link, []gopacket.SerializableLayer) {
	v6 := r.IntN(2) == 0
	etherType, ppp := layers.EthernetTypeIPv4, layers.PPPTypeIPv4
	if v6 {
		etherType, ppp = layers.EthernetTypeIPv6, layers.PPPTypeIPv6
	}
	link, stack := randomLink(r, etherType, ppp)

	protocol := layers.IPProtocolUDP
	if r.IntN(2) == 0 {
		protocol = layers.IPProtocolTCP
	}
	var network gopacket.NetworkLayer
	if v6 {
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: randomAddress(r, 16), DstIP: randomAddress(r, 16)}
		network = ip
		stack = append(stack, ip)
		if r.IntN(3) == 0 {
			ip.NextHeader = layers.IPProtocolIPv6Destination
			d := &layers.IPv6Destination{Options: []*layers.IPv6DestinationOption{{OptionType: 1, OptionData: make([]byte, 4)}}}
			d.NextHeader = protocol
			stack = append(stack, d)
		}
	} else {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: randomAddress(r, 4), DstIP: randomAddress(r, 4)}
		network = ip
		for range r.IntN(4) {
			ip.Options = append(ip.Options, layers.IPv4Option{OptionType: 1})
		}
		stack = append(stack, ip)
	}
	if protocol == layers.IPProtocolTCP {
		l := &layers.TCP{
			SrcPort: layers.TCPPort(r.Uint32()), DstPort: layers.TCPPort(r.Uint32()), Seq: r.Uint32(), Ack: r.Uint32(),
			SYN: r.IntN(2) == 0, ACK: r.IntN(2) == 0, FIN: r.IntN(2) == 0, RST: r.IntN(2) == 0, PSH: r.IntN(2) == 0,
		}
		if r.IntN(2) == 0 {
			l.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}}}
		}
		l.SetNetworkLayerForChecksum(network)
		stack = append(stack, l)
	} else {
		// Port numbers of which gopacket does not guess what the payload is.
		l := &layers.UDP{SrcPort: layers.UDPPort(50000 + r.IntN(9999)), DstPort: layers.UDPPort(50000 + r.IntN(9999))}
		l.SetNetworkLayerForChecksum(network)
		stack = append(stack, l)
	}
	payload := make([]byte, r.IntN(100))
	for i := range payload {
		payload[i] = byte(r.Uint32())
	}
	return link, append(stack, gopacket.Payload(payload))
}

func randomLink(r *rand.Rand, etherType layers.EthernetType, ppp layers.PPPType) (Link, []gopacket.SerializableLayer) {
	if r.IntN(8) == 0 {
		return LinkRaw, nil
	}
	e := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: etherType}
	stack := []gopacket.SerializableLayer{e}
	next := &e.EthernetType
	for range r.IntN(4) {
		tag := &layers.Dot1Q{VLANIdentifier: uint16(r.IntN(4096)), Type: etherType}
		*next = layers.EthernetTypeDot1Q
		next = &tag.Type
		stack = append(stack, tag)
	}
	switch r.IntN(4) {
	case 0:
		*next = layers.EthernetTypeMPLSUnicast
		for range r.IntN(3) {
			stack = append(stack, &layers.MPLS{Label: r.Uint32N(1 << 20)})
		}
		stack = append(stack, &layers.MPLS{Label: r.Uint32N(1 << 20), StackBottom: true})
	case 1:
		*next = layers.EthernetTypePPPoESession
		stack = append(stack, &layers.PPPoE{Version: 1, Type: 1, SessionId: 1}, &layers.PPP{PPPType: ppp})
	}
	return LinkEthernet, stack
}

func randomAddress(r *rand.Rand, size int) []byte {
	a := make([]byte, size)
	for i := range a {
		a[i] = byte(r.Uint32())
	}
	if ip, _ := netip.AddrFromSlice(a); ip.Is4In6() {
		a[0] = 0x20
	}
	return a
}
