package view

import (
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// FuzzSet reads its input as flows and cuts and checks, for every window, all
// that check does.
func FuzzSet(f *testing.F) {
	f.Add([]byte{2, 1, 10, 2, 20, 3, 30, 255, 1, 4, 40, 1, 5, 255, 200}, uint8(2))
	f.Add([]byte{1, 255, 255, 9, 9, 9, 9, 255, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, script []byte, maxRows uint8) {
		c := newCheck(t, Options{MaxRows: max(int(maxRows), 1), IdleTimeout: 20 * time.Second})
		var flows []*Flow
		now := int64(0)
		for len(script) >= 2 {
			op, arg := script[0], script[1]
			script = script[2:]
			if op == 255 { // the clock may go back
				now += int64(int8(arg)) * second
				c.window(now, flows)
				flows = flows[:0]
				continue
			}
			flow := flowTo(int(op&31), uint64(arg)<<(op>>5))
			flow.Direction = netmonpb.Direction(1 + op>>6)
			if op == 254 {
				flow.Domain = Unattributed
			}
			flows = append(flows, flow)
		}
		c.window(now, flows)
	})
}
