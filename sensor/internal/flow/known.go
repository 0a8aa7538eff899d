package flow

import "github.com/netmon-sensor/netmon/sensor/internal/packet"

// AddKnown counts a packet in a flow of which Find has guessed the slot, as Add
// would. It counts nothing and returns false for a packet with a SYN, a fragment, one
// that comes late, and one whose flow was not guessed.
func (t *Table) AddKnown(h *packet.Header, iface uint16, time int64) (Result, bool) {
	slot := uint32(h.Hash>>32) - 1
	if h.Version == 4 {
		if !t.v4.has(slot) || pends(t, &t.v4, slot) {
			return Result{}, false
		}
		s := t.v4.state(slot)
		src, dst := ends4(h, iface)
		direction, other := s.key.differs(src), s.key.differs(dst)
		if direction&other != 0 || !s.goesOn(h, time) {
			return Result{}, false
		}
		return count(t, &t.v4, slot, s, h, direction, time), true
	}
	if !t.v6.has(slot) || pends(t, &t.v6, slot) {
		return Result{}, false
	}
	s := t.v6.state(slot)
	var k keys[key6]
	keys6(&k, h, iface)
	direction, other := s.key.differs(&k.src), s.key.differs(&k.dst)
	if direction&other != 0 || !s.goesOn(h, time) {
		return Result{}, false
	}
	return count(t, &t.v6, slot, s, h, direction, time), true
}

// goesOn tells of a flow whether a packet surely belongs to it that has its key.
func (s *state[K]) goesOn(h *packet.Header, time int64) bool {
	return s.marks&markEnded == 0 && h.TCPFlags&packet.SYN == 0 && h.Fragment == packet.Whole &&
		(time <= s.last || uint64(time)-uint64(s.last) <= uint64(otherIdle)) // TCP has longer
}

// count counts a packet in its flow.
func count[K key](t *Table, f *family[K], slot uint32, s *state[K], h *packet.Header, direction int, time int64) Result {
	direction &= 1
	if s.packets[direction]++; s.packets[direction] == 0 {
		t.spill(slot).packets[direction] += 1 << 32
	}
	s.bytes[direction] += uint64(h.Bytes)
	s.last = max(s.last, time)
	if h.TCP && !s.usual(h, direction) {
		f.noteTCP(slot, s, h, direction)
		follow(t, f, slot, s, h, direction, time)
	}
	if s.marks&markDirty == 0 {
		c, i := f.at(slot)
		c.touch(i)
	}
	return Result{
		Ref:           Ref{slot, s.generation},
		FromInitiator: direction == 0,
		Undecided:     s.marks&(markDecided|markSentDecided<<direction) == 0,
	}
}
