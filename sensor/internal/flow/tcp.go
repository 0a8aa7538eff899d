package flow

import (
	"math"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// What is seen of the health of TCP connections; docs/metrics.md defines it.
const (
	// answerTime is how long a SYN waits before it counts as unanswered.
	answerTime = int64(30 * time.Second)

	// quietTime is for how long a connection in a passing phase may not be seen.
	// It is TIME_WAIT in Linux, and longer than it waits for a lost ACK.
	quietTime = int64(60 * time.Second)

	// restTime is for how long a connection may rest before it is forgotten: as
	// in Linux' connection tracking. Its flow is over before, but that shows with
	// the next packet only.
	restTime = int64(5 * 24 * time.Hour)

	// maxWindow is the largest window (RFC 7323, section 2.3). Sequence numbers
	// further apart than that have nothing to do with each other.
	maxWindow = 1 << 30
)

// Health is what happened to a TCP connection.
type Health struct {
	// SYNACK and ACK are the times in nanoseconds from the first SYN to the SYN+ACK
	// that acknowledges it, and to the initiator's ACK after that; 0 where that
	// was not now. They are whole microseconds, rounded up, of at most 71 minutes.
	SYNACK, ACK int64

	Retransmitted uint64 // bytes of payload
	Reset         bool   // the first RST
	Refused       bool   // the answer to the SYN was a RST
	Unanswered    bool   // there was no answer to the SYN in time
}

// health is a Health that waits for its harvest.
type health struct {
	retransmitted uint32 // with a carry in Table.spilled
	synAck, ack   uint32 // microseconds
	notes         notes
	mss           uint16 // maximum segment size, the smaller of both ends'; 0 is not known
}

type notes uint8

const (
	noteReset notes = 1 << iota
	noteRefused
	noteUnanswered
	noteOver // the connection has closed; state.next says when

	// These are no news.
	hasReset    // a RST was noted
	hasAnswered // the first SYN was acknowledged, the SYN+ACK not yet
	hasISN      // a SYN of the initiator said where it begins; nobody took it yet
	hasReplyISN // likewise of the responder

	news = noteReset | noteRefused | noteUnanswered | noteOver
)

func (m marks) phase() phase { return phase(m >> phaseShift) }

// enter moves a flow into a phase.
func enter[K key](t *Table, s *state[K], p phase) {
	if was := s.marks.phase(); was != unphased {
		t.uncount(s.key.iface(), s.side, was)
	}
	t.count(s.key.iface(), s.side, p)
	s.marks = s.marks&^phaseMask | marks(p)<<phaseShift
}

// setSide stores a side.
func setSide[K key](t *Table, s *state[K], side Side) {
	if p := s.marks.phase(); p != unphased {
		t.uncount(s.key.iface(), s.side, p)
		t.count(s.key.iface(), side, p)
	}
	s.side = side
}

// usual tells whether a segment is one of an established connection without
// anything to it but payload that follows, which it takes note of: then that is all.
func (s *state[K]) usual(h *packet.Header, direction int) bool {
	if s.marks&phaseMask != marks(established)<<phaseShift || h.TCPFlags&(packet.SYN|packet.FIN|packet.RST) != 0 {
		return false
	}
	if s.marks&markHoles != 0 {
		return false
	}
	if seen := s.next[1-direction]; h.Ack-seen-1 < maxWindow && seen != 0 { // acknowledges more
		return false
	}
	next := &s.next[direction]
	if h.Seq != *next || *next == 0 {
		return h.PayloadLength == 0
	}
	*next = known(h.Seq + h.PayloadLength) // an acknowledgement has a number, too
	return true
}

// known makes a sequence number one that is not 0, which stands for none.
func known(n uint32) uint32 {
	if n == 0 {
		return math.MaxUint32
	}
	return n
}

// follow takes note of any segment.
func follow[K key](t *Table, f *family[K], slot uint32, s *state[K], h *packet.Header, direction int, time int64) {
	c, i := f.at(slot)
	o := &c.origins[i]
	was := s.marks.phase()
	if was == established && h.TCPFlags&(packet.SYN|packet.FIN|packet.RST) == 0 { // it stays so
		s.sequence(t, slot, o, h, direction)
		acknowledge(t, slot, s, h, direction)
		return
	}
	if !was.over() && h.TCPFlags&packet.RST == 0 {
		s.sequence(t, slot, o, h, direction)
	}
	if h.TCPFlags&packet.RST != 0 && o.notes&hasReset == 0 {
		o.notes |= noteReset | hasReset
	}
	answers := direction == 1 && was.waiting() && s.acknowledgesSYN(o, h)
	acks := answers || !was.waiting() && s.acknowledges(h, direction)
	if !was.over() && (!was.waiting() || answers) && h.TCPFlags&packet.RST == 0 {
		acknowledge(t, slot, s, h, direction)
	}
	p := was.after(h.TCPFlags, phase(direction), acks, h.PayloadLength > 0)
	if p == was {
		return
	}
	if was == synSent && elapsed(o.start, time) > uint64(answerTime) {
		o.notes |= noteUnanswered
	}
	switch {
	case answers && p == closed:
		o.notes |= noteRefused
	case answers && p == synReceived:
		o.synAck = microseconds(o.start, time)
		o.notes |= hasAnswered
	case was == synReceived && direction == 0 && p != closed && o.notes&hasAnswered != 0:
		o.ack = microseconds(o.start, time)
	}
	move(t, s, o, p)
	c.due = min(c.due, s.due(o))
}

// move enters another phase and notes when the connection closed.
func move[K key](t *Table, s *state[K], o *origin, p phase) {
	if p.over() && !s.marks.phase().over() {
		o.notes |= noteOver
		s.next = [2]uint32{uint32(s.last), uint32(s.last >> 32)}
	}
	enter(t, s, p)
}

// closedAt is when a connection closed that has.
func (s *state[K]) closedAt() int64 { return int64(s.next[1])<<32 | int64(s.next[0]) }

// acknowledges tells whether a segment acknowledges all that the other end sent.
func (s *state[K]) acknowledges(h *packet.Header, direction int) bool {
	sent := s.next[1-direction]
	return h.TCPFlags&packet.ACK != 0 && sent != 0 && int32(h.Ack-sent) >= 0
}

// acknowledgesSYN tells whether a responder's segment acknowledges the SYN that
// began the flow, and maybe data with it (RFC 7413).
func (s *state[K]) acknowledgesSYN(o *origin, h *packet.Header) bool {
	return h.TCPFlags&packet.ACK != 0 && s.marks&markISN != 0 &&
		int32(h.Ack-o.isn) > 0 && int32(s.next[0]-h.Ack) >= 0
}

// sequence keeps state.next: for each direction the sequence number after the
// highest one seen, or 0 for none. It counts payload that begins below. One byte or
// none just below is a keep-alive or probes a closed window (RFC 9293, 3.8.4, 3.8.6.1).
func (s *state[K]) sequence(t *Table, slot uint32, o *origin, h *packet.Header, direction int) {
	begin, length := h.Seq, h.PayloadLength
	if h.TCPFlags&packet.SYN != 0 {
		begin++
	}
	end := begin + length
	if h.TCPFlags&packet.FIN != 0 {
		end++
	}
	if length == 0 && h.TCPFlags&(packet.SYN|packet.FIN) == 0 {
		return
	}
	next := &s.next[direction]
	behind := *next - begin
	if *next == 0 || behind == 0 || behind > maxWindow { // ahead, or elsewhere
		if ahead := -behind; *next != 0 && ahead > 0 && ahead < maxWindow && !(*next == math.MaxUint32 && begin == 0) {
			t.skip(slot, &s.marks, direction, *next, begin)
		}
		*next = known(end)
		return
	}
	if s.marks&markHoles != 0 {
		t.fill(slot, &s.marks, direction, begin, end)
	}
	if length > 1 || behind > 1 {
		t.retransmitted(slot, o, length)
	}
	if int32(end-*next) > 0 {
		*next = known(end)
	}
}

// idleAt is the time after which a flow is ended without a further packet.
func (s *state[K]) idleAt() int64 {
	if s.rests() {
		return later(s.last, restTime)
	}
	return deadline(s.last, s.key.protocol())
}

// rests tells whether our end of a connection may stay as it is for long without a
// word: both ends were heard, and it is established or waits for its own program to
// close. The kernel forgets one that waits for the other end's.
func (s *state[K]) rests() bool {
	waits := ourInitiator
	switch s.marks.phase() {
	case established:
	case finInitiator, finInitiatorAcked:
		waits = ourResponder
		fallthrough
	case finResponder, finResponderAcked:
		if s.side.ends() != waits {
			return false
		}
	default:
		return false
	}
	return s.next[0] != 0 && s.next[1] != 0
}

// due is the time after which a flow is idle or lapses.
func (s *state[K]) due(o *origin) int64 {
	d := s.idleAt()
	switch p := s.marks.phase(); {
	case p == synSent:
		return min(d, later(o.start, answerTime))
	case p.passing():
		return min(d, later(s.last, quietTime))
	}
	return d
}

// lapse does to a connection what time does. It tells whether there is anything to
// harvest.
func lapse[K key](t *Table, s *state[K], o *origin, clock int64) bool {
	if s.marks.phase() == synSent && clock > later(o.start, answerTime) {
		o.notes |= noteUnanswered
		enter(t, s, synLate)
	}
	if s.marks.phase().passing() && clock > later(s.last, quietTime) {
		move(t, s, o, closed)
	}
	return o.notes&news != 0
}

// giveOut moves what is noted into a record.
func (o *origin) giveOut(r *Record, m marks, closedAt int64) {
	r.SYNACK, r.ACK = int64(o.synAck)*1000, int64(o.ack)*1000
	r.Reset = o.notes&noteReset != 0
	r.Refused = o.notes&noteRefused != 0
	r.Unanswered = o.notes&noteUnanswered != 0 || r.Ended && m.phase() == synSent
	switch {
	case o.notes&noteOver != 0:
		r.Over, r.Duration = true, duration(r.Start, closedAt)
	case r.Ended && !m.phase().over():
		r.Over, r.Duration = true, duration(r.Start, r.Last)
	}
	o.health = health{notes: o.notes &^ news, mss: o.mss}
}
