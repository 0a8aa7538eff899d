package packet

import (
	"bytes"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/lineartest"
)

// TestDecodeIsLinear decodes frames that are nothing but headers. The bound is for a
// busy machine and the race detector.
func TestDecodeIsLinear(t *testing.T) {
	for _, c := range []struct {
		kind  string
		frame func(n int) []byte
	}{
		{"tags and SNAP", func(n int) []byte {
			again := cat(u16(7), u16(100), []byte{0xaa, 0xaa, 3, 0, 0, 0}, u16(0x8100))
			return ether(0x8100, bytes.Repeat(again, n/len(again)))
		}},
		{"labels", func(n int) []byte { return ether(0x8847, make([]byte, n)) }},
		{"options", func(n int) []byte {
			var b []byte
			for range n / 2048 {
				b = extension(extHopByHop, make([]byte, 2046), b)
			}
			return ether(0x86dd, ip6(extHopByHop, b, payloadLength(0)))
		}},
		{"options of no length", func(n int) []byte {
			var b []byte
			for range n / 2048 {
				b = extension(extHopByHop, bytes.Repeat([]byte{5, 0}, 1023), b)
			}
			return ether(0x86dd, ip6(extHopByHop, b, payloadLength(0)))
		}},
	} {
		lineartest.Run(t, c.kind, 4096, time.Microsecond, func(n int) (int, func()) {
			frame := c.frame(n)
			var h Header
			return len(frame), func() {
				h.Decode(LinkEthernet, frame, uint32(len(frame)))
				Explain(LinkEthernet, frame, uint32(len(frame)))
			}
		})
	}
}
