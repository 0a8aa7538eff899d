package flow

import (
	"math"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// The rules of DEFINITIONS section 3: when a flow is over, who began it.

func isSYN(h *packet.Header) bool {
	return h.TCP && h.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN
}

// over tells whether a packet of a live flow's key begins another flow.
func (f *family[K]) over(slot uint32, s *state[K], a *arrival, k *keys[K]) bool {
	// Time that goes back is no gap, and a gap may be longer than int64 holds.
	if a.time > s.last && uint64(a.time)-uint64(s.last) > uint64(idle(a.h.Protocol)) {
		return true
	}
	if !a.syn {
		return false
	}
	c, i := f.at(slot)
	o := &c.origins[i]
	if s.key == k.src {
		return s.marks&markISN == 0 || a.h.Seq != o.isn
	}
	if s.marks&markReplyISN != 0 {
		return a.h.Seq != o.replyISN
	}
	// Else both ends open at once: the same flow.
	return s.marks&markFlowing != 0 || s.marks&markISN == 0
}

func idle(protocol uint8) int64 {
	if protocol == protoTCP {
		return tcpIdle
	}
	return otherIdle
}

// deadline is the last moment at which a flow is not idle that was seen last at
// a given one.
func deadline(last int64, protocol uint8) int64 {
	if d := last + idle(protocol); d > last {
		return d
	}
	return math.MaxInt64
}

// noteTCP remembers what decides later whether a SYN begins another connection.
func (f *family[K]) noteTCP(slot uint32, s *state[K], h *packet.Header, direction int) {
	if h.TCPFlags&packet.SYN == 0 {
		s.marks |= markFlowing
		return
	}
	c, i := f.at(slot)
	o := &c.origins[i]
	isn, mark, note := &o.isn, markISN, hasISN
	if direction == 1 {
		isn, mark, note = &o.replyISN, markReplyISN, hasReplyISN
	}
	begins := s.next[direction] == 0 // nothing was seen of this end
	if s.marks&mark == 0 && *isn != h.Seq {
		*isn, begins = h.Seq, true
	}
	if begins {
		o.notes |= note
	}
	switch {
	case isSYN(h):
		s.marks |= mark
	case direction == 1 && s.marks&markISN == 0: // its SYN may still come
		o.isn = h.Ack - 1
		s.marks |= markISN
	}
	if !isSYN(h) && h.TCPFlags&(packet.FIN|packet.RST) != 0 {
		s.marks |= markFlowing
	}
}

// portNFS is served to clients that use privileged ports.
const portNFS = 2049

// sourceInitiates tells whether the source of a flow's first packet is its
// initiator (DEFINITIONS 3.3).
func sourceInitiates(a *arrival) bool {
	h := a.h
	switch {
	case a.syn:
		return true
	case h.TCP && h.TCPFlags&packet.SYN != 0: // SYN+ACK
		return false
	case isGroup(h):
		return true
	}
	answer := packet.HasPorts(h.Protocol) && h.SrcPort >= 1 && h.SrcPort < 1024 &&
		h.DstPort >= 1024 && h.DstPort != portNFS
	return !answer
}

// isGroup tells whether a packet goes to a multicast address or to everybody.
func isGroup(h *packet.Header) bool {
	if h.Version == 6 {
		return h.Dst[0] == 0xff
	}
	return h.Dst[12]>>4 == 14 || [4]byte(h.Dst[12:]) == [4]byte{255, 255, 255, 255}
}

// victims is how many flows compete for being evicted.
const victims = 16

// victim returns the live flow that was not seen for the longest time among the
// next few. There must be a live flow.
func (f *family[K]) victim() uint32 {
	oldest, last := uint32(noSlot), int64(math.MaxInt64)
	for n := 0; n < victims; {
		chunk, i := f.hand>>chunkShift, f.hand%chunkSlots
		if chunk >= uint32(len(f.chunks)) {
			f.hand = 0
			continue
		}
		c := f.chunks[chunk]
		if c != nil {
			i = c.live.next(i)
		}
		if c == nil || i == chunkSlots {
			f.hand = (chunk + 1) << chunkShift
			continue
		}
		f.hand = chunk<<chunkShift | i
		if c.states[i].last <= last {
			oldest, last = f.hand, c.states[i].last
		}
		f.hand++
		n++
	}
	return oldest
}
