package flow

import (
	"math"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// What TCP acknowledged although it was never seen here is a witness of what the
// capture lost. Where a segment is missing, the next one begins ahead of what was
// seen: a hole. A late segment or a retransmission fills it, an ACK beyond it says
// that the receiver has what we have not.

const (
	maxHoles      = 4    // of one flow
	maxHoleyFlows = 4096 // with holes at once
)

// hole is a run of sequence numbers that one direction of a flow has skipped.
type hole struct {
	begin, end uint32
	direction  uint8
}

// holes are those of a flow; the first n.
type holes struct {
	all [maxHoles]hole
	n   int
}

// skip notes a hole. Beyond the bounds it is forgotten and counted.
func (t *Table) skip(slot uint32, m *marks, direction int, begin, end uint32) {
	if t.options.Scattered {
		return
	}
	hs := t.holes[slot]
	switch {
	case hs != nil && hs.n == maxHoles, hs == nil && len(t.holes) >= maxHoleyFlows:
		t.stats.HolesOverflowed++
		return
	case hs == nil:
		if t.holes == nil {
			t.holes = make(map[uint32]*holes)
		}
		hs = new(holes)
		t.holes[slot] = hs
		*m |= markHoles
	}
	hs.all[hs.n] = hole{begin, end, uint8(direction)}
	hs.n++
}

// fill closes what a late segment brings. Where it lies inside of a hole, the part
// after it is taken for seen as well.
func (t *Table) fill(slot uint32, m *marks, direction int, begin, end uint32) {
	t.eachHole(slot, m, direction, func(h *hole) {
		switch {
		case int32(end-h.begin) <= 0 || int32(h.end-begin) <= 0: // elsewhere
		case int32(begin-h.begin) <= 0 && int32(end-h.end) >= 0:
			h.end = h.begin
		case int32(begin-h.begin) <= 0:
			h.begin = end
		default:
			h.end = begin
		}
	})
}

// acknowledge counts what an ACK covers and nobody saw.
func acknowledge[K key](t *Table, slot uint32, s *state[K], h *packet.Header, direction int) {
	sender := 1 - direction
	next := s.next[sender]
	if h.TCPFlags&packet.ACK == 0 || next == 0 || t.options.Scattered {
		return
	}
	missing := uint32(0)
	if s.marks&markHoles != 0 {
		t.eachHole(slot, &s.marks, sender, func(g *hole) {
			if covered := h.Ack - g.begin; int32(covered) > 0 {
				covered = min(covered, g.end-g.begin)
				missing += covered
				g.begin += covered
			}
		})
	}
	if beyond := h.Ack - next; beyond > 0 && beyond < maxWindow && !(next == math.MaxUint32 && h.Ack == 0) {
		missing += beyond
		s.next[sender] = known(h.Ack)
	}
	if missing > 0 {
		i := int(s.key.iface())
		for i >= len(t.unseen) {
			t.unseen = append(t.unseen, 0)
		}
		t.unseen[i] += uint64(missing)
	}
}

// eachHole calls f for the holes of one direction of a flow, and drops those that
// it closes.
func (t *Table) eachHole(slot uint32, m *marks, direction int, f func(*hole)) {
	hs := t.holes[slot]
	if hs == nil {
		return
	}
	kept := 0
	for i := range hs.n {
		h := hs.all[i]
		if int(h.direction) == direction {
			f(&h)
		}
		if h.begin != h.end {
			hs.all[kept] = h
			kept++
		}
	}
	if hs.n = kept; kept == 0 {
		delete(t.holes, slot)
		*m &^= markHoles
	}
}

// Unseen appends to dst the bytes that TCP acknowledged on each interface, by its
// number, since the last call and that were not seen, and returns it. A FIN counts
// as one.
func (t *Table) Unseen(dst []uint64) []uint64 {
	dst = append(dst, t.unseen...)
	clear(t.unseen)
	return dst
}
