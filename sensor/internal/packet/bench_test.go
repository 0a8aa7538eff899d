package packet

import (
	"encoding/binary"
	"testing"
)

// ethernetTCP4 is a frame of 60 bytes: TCP over IPv4 without payload.
func ethernetTCP4() []byte {
	f := make([]byte, 60)
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip := f[14:]
	ip[0], ip[3], ip[8], ip[9] = 0x45, 40, 64, protoTCP
	copy(ip[12:], []byte{192, 0, 2, 1, 198, 51, 100, 2})
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, 40000)
	binary.BigEndian.PutUint16(tcp[2:], 443)
	tcp[12], tcp[13] = 0x50, ACK
	return f
}

// ethernetUDP6 is a frame of 78 bytes: UDP over IPv6 with 16 bytes of payload.
func ethernetUDP6() []byte {
	f := make([]byte, 78)
	binary.BigEndian.PutUint16(f[12:], 0x86dd)
	ip := f[14:]
	ip[0], ip[5], ip[6], ip[7] = 0x60, 24, protoUDP, 64
	copy(ip[8:], []byte{0x20, 0x01, 0x0d, 0xb8, 15: 1})
	copy(ip[24:], []byte{0x20, 0x01, 0x0d, 0xb8, 15: 2})
	binary.BigEndian.PutUint16(ip[40:], 40000)
	binary.BigEndian.PutUint16(ip[42:], 53)
	ip[45] = 24
	return f
}

// tagged puts an 802.1Q tag into an Ethernet frame.
func tagged(f []byte) []byte {
	return append(append(f[:12:12], 0x81, 0, 0, 7), f[12:]...)
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"tcp4", ethernetTCP4()},
		{"udp6", ethernetUDP6()},
		{"vlan", tagged(ethernetTCP4())},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var h Header
			for b.Loop() {
				if h.Decode(LinkEthernet, c.frame, uint32(len(c.frame))) != Decoded {
					b.Fatal("not decoded")
				}
			}
		})
	}
}
