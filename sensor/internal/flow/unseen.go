package flow

import (
	"math"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// What TCP acknowledged although it was never seen here is a witness of what the
// capture lost. Where a segment is missing, the next one begins ahead of what was
// seen: a hole. A late segment or a retransmission fills it, an ACK beyond it says
// that the receiver has what we have not.

// skip notes a hole. Beyond the bounds it is forgotten and counted.
func (t *Table) skip(slot uint32, m *marks, direction int, begin, end uint32) {
	if t.options.Scattered {
		return
	}
	var hs *holes
	if *m&markHoles != 0 {
		hs = t.holes.get(slot)
	}
	switch {
	case hs != nil && hs.n == maxHoles, hs == nil && t.holes.flows >= maxHoleyFlows:
		t.stats.HolesOverflowed++
		return
	case hs == nil:
		hs = t.holes.add(slot)
		*m |= markHoles
	}
	hs.all[hs.n] = hole{begin, end, uint8(direction)}
	hs.n++
}

// fill closes what a late segment brings. Where it lies inside of a hole, the part
// after it is taken for seen as well.
func (t *Table) fill(slot uint32, m *marks, direction int, begin, end uint32) {
	hs := t.holes.get(slot)
	for i := range hs.n {
		switch h := &hs.all[i]; {
		case int(h.direction) != direction || int32(end-h.begin) <= 0 || int32(h.end-begin) <= 0: // elsewhere
		case int32(begin-h.begin) <= 0 && int32(end-h.end) >= 0:
			h.end = h.begin
		case int32(begin-h.begin) <= 0:
			h.begin = end
		default:
			h.end = begin
		}
	}
	t.close(slot, m, hs)
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
		hs := t.holes.get(slot)
		for i := range hs.n {
			g := &hs.all[i]
			if covered := h.Ack - g.begin; int(g.direction) == sender && int32(covered) > 0 {
				covered = min(covered, g.end-g.begin)
				missing += covered
				g.begin += covered
			}
		}
		t.close(slot, &s.marks, hs)
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

// close drops the holes of a flow in which nothing is missing any more.
func (t *Table) close(slot uint32, m *marks, hs *holes) {
	kept := uint8(0)
	for i := range hs.n {
		if h := hs.all[i]; h.begin != h.end {
			hs.all[kept] = h
			kept++
		}
	}
	if hs.n = kept; kept == 0 {
		t.holes.remove(slot)
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
