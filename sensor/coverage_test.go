package sensor

import (
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
)

// The interface is read after the window's end; what it counted at the end lies in
// between, and is exact once nothing comes any more.
func TestCoverageAtTheWindowsEnd(t *testing.T) {
	second := int64(time.Second)
	c := coverage{
		was: reading{10 * second, capture.Counted{RxPackets: 100, TxPackets: 50}},
		now: reading{20 * second, capture.Counted{RxPackets: 200, TxPackets: 150}},
	}
	for end, want := range map[int64]float64{5: 150, 10: 150, 15: 250, 20: 350, 30: 350} {
		if got := c.packets(end*second, false); got != want {
			t.Errorf("at %d s: %v, want %v", end, got, want)
		}
	}
	if got := c.packets(15*second, true); got != 150 {
		t.Errorf("on loopback: %v", got)
	}
	first := coverage{now: reading{20 * second, capture.Counted{RxPackets: 3}}}
	if got := first.packets(15*second, false); got != 3 {
		t.Errorf("without an earlier reading: %v", got)
	}
}
