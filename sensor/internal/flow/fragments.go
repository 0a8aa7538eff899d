package flow

import (
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

const (
	// fragmentIdle is how long a first fragment speaks for later ones
	// (DEFINITIONS 2.5).
	fragmentIdle = int64(30 * time.Second)

	maxFragments       = 4096    // first fragments remembered
	maxFragmentsReplay = 1 << 20 // likewise in a replay, which should be exact
)

// fragments remembers what the first fragments of packets said. It keeps two
// generations of half its limit each; when the newer is full, the older is
// forgotten. Its maps hold no pointers.
type fragments struct {
	limit      int
	newer      map[fragmentKey]firstFragment
	older      map[fragmentKey]firstFragment
	overflowed uint64 // forgotten while still good
}

// fragmentKey names a fragmented packet.
type fragmentKey struct {
	src, dst  [16]byte
	id        uint32
	iface     uint16
	version   uint8
	ownNumber uint8 // IPv4: the header's protocol
}

type firstFragment struct {
	time             int64
	srcPort, dstPort uint16
	protocol         uint8
}

// resolve remembers a first fragment, and gives a later one what its first said.
// It tells whether h was changed.
func (f *fragments) resolve(h *packet.Header, iface uint16, time int64) bool {
	k := fragmentKey{h.Src, h.Dst, h.FragmentID, iface, h.Version, h.FragmentProtocol}
	if h.Fragment == packet.First {
		f.remember(k, firstFragment{time, h.SrcPort, h.DstPort, h.Protocol}, time)
		return false
	}
	first, ok := f.newer[k]
	if !ok {
		first, ok = f.older[k]
	}
	if !ok || !near(first.time, time) {
		return false
	}
	h.Protocol, h.SrcPort, h.DstPort = first.protocol, first.srcPort, first.dstPort
	return true
}

func (f *fragments) remember(k fragmentKey, first firstFragment, now int64) {
	if f.newer == nil {
		f.newer = make(map[fragmentKey]firstFragment)
		f.older = make(map[fragmentKey]firstFragment)
	}
	if _, known := f.newer[k]; !known && len(f.newer) >= f.limit/2 {
		for k, o := range f.older {
			if _, again := f.newer[k]; !again && near(o.time, now) {
				f.overflowed++
			}
		}
		f.newer, f.older = f.older, f.newer
		clear(f.newer)
	}
	f.newer[k] = first
}

// near tells whether two times are no further apart than fragmentIdle.
func near(a, b int64) bool {
	return max(a, b)-min(a, b) <= fragmentIdle && max(a, b)-min(a, b) >= 0
}

// bytes is about what the maps occupy.
func (f *fragments) bytes() int {
	const each = 64 // key, value and the map's share
	return (len(f.newer) + len(f.older)) * each
}
