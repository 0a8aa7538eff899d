package packet

import "testing"

func TestMSS(t *testing.T) {
	for _, c := range []struct {
		name    string
		flags   uint8
		options string
		want    uint16
	}{
		{"first", SYN, "\x02\x04\x05\xb4", 1460},
		{"behind others", SYN | ACK, "\x01\x01\x08\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\x23\x00", 8960},
		{"none", SYN, "\x01\x01\x04\x02", 0},
		{"behind the end", SYN, "\x00\x00\x00\x00\x02\x04\x05\xb4", 0},
		{"cut off", SYN, "\x01\x01\x02\x04", 0},
		{"of no length", SYN, "\x05\x00\x02\x04\x05\xb4\x00\x00", 0},
		{"not in a SYN", ACK, "\x02\x04\x05\xb4", 0},
		{"no options", SYN, "", 0},
	} {
		segment := tcp(c.flags, "")
		segment[12] = byte(5+len(c.options)/4) << 4
		for name, frame := range map[string][]byte{
			"IPv4": ether(0x0800, ip4(6, cat(segment, []byte(c.options)))),
			"IPv6": ether(0x86dd, ip6(6, cat(segment, []byte(c.options)))),
		} {
			var h Header
			if r := h.Decode(LinkEthernet, frame, uint32(len(frame))); r != Decoded {
				t.Fatalf("%s: %v", c.name, r)
			}
			if got := h.MSS(frame); got != c.want {
				t.Errorf("%s, %s: %d, want %d", name, c.name, got, c.want)
			}
		}
	}
}

func TestWirePackets(t *testing.T) {
	for _, c := range []struct {
		name    string
		version uint8
		proto   uint8
		payload int
		options int
		mss     uint16
		mtu     uint32
		want    uint32
	}{
		{"a full segment", 4, protoTCP, 1460, 0, 1460, 1500, 1},
		{"three", 4, protoTCP, 3 * 1460, 0, 1460, 1500, 3},
		{"and a bit", 4, protoTCP, 3*1460 + 1, 0, 1460, 1500, 4},
		{"with time stamps", 4, protoTCP, 10 * 1448, 12, 1460, 1500, 10},
		{"over IPv6", 6, protoTCP, 10 * 1428, 12, 1440, 1500, 10},
		{"a smaller other end", 4, protoTCP, 10 * 536, 0, 536, 1500, 10},
		{"jumbo", 4, protoTCP, 8960, 0, 8960, 9000, 1},
		{"beyond the wire", 4, protoTCP, 10 * 1460, 0, 8960, 1500, 10},
		{"the SYN was not seen", 4, protoTCP, 10 * 1448, 12, 0, 1500, 10},
		{"nothing in it", 4, protoTCP, 0, 0, 1460, 1500, 1},
		{"UDP", 4, protoUDP, 4 * 1472, 0, 0, 1500, 4},
		{"no MTU to speak of", 4, protoTCP, 5000, 0, 0, 30, 1},
		{"an MSS of nothing", 4, protoTCP, 3, 12, 1, 1500, 3},
		{"no transport", 4, 47, 5000, 0, 0, 1500, 1},
	} {
		var body []byte
		switch c.proto {
		case protoTCP:
			segment := tcp(ACK, "")
			segment[12] = byte(5+c.options/4) << 4
			body = cat(segment, make([]byte, c.options+c.payload))
		case protoUDP:
			body = udp(string(make([]byte, c.payload)))
		default:
			body = make([]byte, c.payload)
		}
		frame := ether(0x0800, ip4(c.proto, body))
		if c.version == 6 {
			frame = ether(0x86dd, ip6(c.proto, body))
		}
		var h Header
		if r := h.Decode(LinkEthernet, frame, uint32(len(frame))); r != Decoded {
			t.Fatalf("%s: %v", c.name, r)
		}
		if got := h.WirePackets(c.mss, c.mtu); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
