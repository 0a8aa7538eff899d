package sensor

import (
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// coverage compares what was read of an interface with what the interface itself
// counted. It belongs to the join.
type coverage struct {
	name     string
	began    seen // when the number was given to this name
	shown    seen
	now, was reading
}

// reading is what an interface had counted at a moment, Unix nanoseconds.
type reading struct {
	at int64
	capture.Counted
}

// add shows what is new since the last window, which the new one ends at end.
func (c *coverage) add(v *view.Set, end int64, i capture.Interface, counted capture.Counted, s seen) {
	if c.name != i.Name { // the number was another's
		*c = coverage{name: i.Name, began: c.shown, shown: c.shown}
	}
	c.was, c.now = c.now, reading{time.Now().UnixNano(), counted.Most(c.now.Counted)} // a device may just be missing
	if i.Present || c.now.Counted != c.was.Counted || c.shown != s {
		v.Count("interface_packets_total", i.Name, 0, "received", c.now.RxPackets-c.was.RxPackets)
		v.Count("interface_packets_total", i.Name, 0, "sent", c.now.TxPackets-c.was.TxPackets)
		v.Count("interface_bytes_total", i.Name, 0, "received", c.now.RxBytes-c.was.RxBytes)
		v.Count("interface_bytes_total", i.Name, 0, "sent", c.now.TxBytes-c.was.TxBytes)
		s := seen{s.frames - c.began.frames, s.wire - c.began.wire}
		if packets := c.packets(end, i.Loopback); packets > 0 {
			v.Gauge("coverage_ratio", i.Name, 0, "", s.ratio(packets))
		}
	}
	c.shown = s
}

// packets is what the interface had counted at the end of the window, as between
// the two readings around it: the later one knows packets that wait in the rings.
// On loopback each packet is sent and received, and seen once.
func (c *coverage) packets(end int64, loopback bool) float64 {
	of := func(r *reading) float64 {
		if loopback {
			return float64(r.RxPackets)
		}
		return float64(r.RxPackets + r.TxPackets)
	}
	was, now := of(&c.was), of(&c.now)
	if c.was.at == 0 || end >= c.now.at {
		return now
	}
	share := float64(max(end-c.was.at, 0)) / float64(c.now.at-c.was.at)
	return was + (now-was)*share
}

// ratio is what was seen of the packets that an interface counted. Some drivers
// count a super-packet as one, some as those that it stands for: a number between
// the two is complete.
func (s seen) ratio(packets float64) float64 {
	switch {
	case packets < float64(s.frames):
		return float64(s.frames) / packets
	case packets > float64(s.wire):
		return float64(s.wire) / packets
	}
	return 1
}
