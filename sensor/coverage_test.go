package sensor

import (
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
)

func TestCoverageRatio(t *testing.T) {
	for _, c := range []struct {
		name         string
		frames, wire uint64
		counted      float64
		want         float64
	}{
		{"all", 100, 100, 100, 1},
		{"a quarter is missing", 75, 75, 100, 0.75},
		{"the interface counts super-packets as one", 100, 400, 100, 1},
		{"the interface counts segments", 100, 400, 390, 1},
		{"half of the segments are missing", 100, 400, 800, 0.5},
		{"the driver dropped what was seen", 100, 100, 80, 1.25},
	} {
		if got := (seen{c.frames, c.wire}).ratio(c.counted); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

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
