package names

import "encoding/binary"

// dnsStream is the DNS messages in both directions of a TCP flow of port 53.
type dnsStream struct {
	generation uint32
	last       int64 // time of the latest segment
	named      bool  // the flow showed a name of its own, so it is no DNS
	side       [2]dnsSide
}

// dnsSide is one direction of a stream. Messages begin at next; data, where not
// nil, holds what is there from next on, behind what was read.
type dnsSide struct {
	data    *assembly
	first   uint32 // sequence number at which it began
	next    uint32 // sequence number
	read    int    // bytes at the start of data
	waiting uint16 // segments kept since the prefix grew
	started bool
	done    bool // shows no name of the flow's own
}

const (
	// maxStreamBytes holds the longest message and as much again that came early.
	maxStreamBytes = 2 * 65537
	// maxWaiting is how many segments may come early before the hole is taken
	// for lost and the stream begins anew.
	maxWaiting = 64
	// streamIdle is how long a stream without segments is kept, in nanoseconds.
	streamIdle = 120e9
)

// segment adds a TCP segment to its stream and handles the messages it completes.
func (o *Observer) segment(st *dnsStream, p *Packet) {
	s := &st.side[side(p)]
	if !s.started || p.Begun && p.First != s.first {
		s.first = p.first()
		o.restart(s, s.first)
	}
	off, b := int(int32(p.Seq-s.next)), p.Payload
	if off < 0 {
		if off+len(b) <= 0 {
			return // seen before, or a keep-alive
		}
		b, off = b[-off:], 0
	}
	if off+len(b) > maxStreamBytes || s.waiting >= maxWaiting {
		o.out.Stats.StreamsOverflowed++
		o.restart(s, p.Seq)
		off, b = 0, p.Payload
	}
	if off == 0 && s.data == nil {
		n := o.messages(p, b)
		s.next += uint32(n)
		if b = b[n:]; len(b) == 0 {
			return
		}
		if uint32(len(p.Payload)) < p.PayloadLength {
			o.cutMessage(p, s, b)
			return
		}
	}
	o.keepSegment(p, s, off, b)
}

func (o *Observer) keepSegment(p *Packet, s *dnsSide, off int, b []byte) {
	a := o.keepDNS(p, s.data, s.read+off+len(b))
	if a == nil {
		o.restart(s, p.Seq+p.PayloadLength)
		return
	}
	s.data = a
	s.waiting++
	if !a.insert(s.read+off, b) {
		return
	}
	s.waiting = 0
	n := o.messages(p, a.prefix()[s.read:])
	s.next += uint32(n)
	s.read += n
	switch end := a.end(); {
	case end == s.read:
		o.dnsArena.give(a)
		s.data, s.read = nil, 0
	case s.read >= min(end-s.read, maxStreamBytes/2): // it moves little more than was read
		a.consume(s.read)
		s.read = 0
	}
}

// messages handles the whole messages at the start of b, each behind its length
// in two bytes (RFC 1035, section 4.2.2), and returns how many bytes they are.
func (o *Observer) messages(p *Packet, b []byte) (n int) {
	for len(b)-n >= 2 {
		end := n + 2 + int(binary.BigEndian.Uint16(b[n:]))
		if end > len(b) {
			break
		}
		if end > n+2 { // some send an empty one to keep the connection
			o.message(p, b[n+2:end], uint32(end-n-2), 6)
		}
		n = end
	}
	return n
}

// cutMessage handles a message whose rest the capture left out. The next one is
// expected where this one ends or, if the same segment goes on, with the next
// segment.
func (o *Observer) cutMessage(p *Packet, s *dnsSide, b []byte) {
	lost := p.PayloadLength - uint32(len(p.Payload))
	if len(b) < 2 {
		s.next += uint32(len(b)) + lost
		return
	}
	n := uint32(binary.BigEndian.Uint16(b))
	o.message(p, b[2:], n, 6)
	s.next += max(2+n, uint32(len(b))+lost)
}

// restart makes a direction begin at seq.
func (o *Observer) restart(s *dnsSide, seq uint32) {
	o.dnsArena.give(s.data)
	*s = dnsSide{first: s.first, next: seq, started: true, done: s.done}
}

// stream returns the stream of p's flow as the one used last.
func (o *Observer) stream(p *Packet) *dnsStream {
	s := o.streams.get(p.Slot)
	if s != nil && s.generation == p.Generation {
		s.last = p.Time
		o.streams.touch(p.Slot)
		return s
	}
	if s != nil {
		o.dropStream(p.Slot, s)
	} else if o.streams.full() {
		slot, oldest := o.streams.oldest()
		o.out.Stats.StreamsOverflowed++
		o.dropStream(slot, oldest)
	}
	s = o.streams.add(p.Slot)
	*s = dnsStream{generation: p.Generation, last: p.Time}
	return s
}

func (o *Observer) expireStreams(clock int64) {
	for o.streams.len() > 0 {
		slot, s := o.streams.oldest()
		if clock-s.last <= streamIdle {
			return
		}
		o.dropStream(slot, s)
	}
}

func (o *Observer) dropStream(slot uint32, s *dnsStream) {
	for i := range s.side {
		o.dnsArena.give(s.side[i].data)
		s.side[i].data = nil
	}
	o.streams.remove(slot)
}

// keepDNS makes room for n bytes in a, or in a new assembly where a is nil, at
// the cost of the streams and then the fragments that are oldest.
func (o *Observer) keepDNS(p *Packet, a *assembly, n int) *assembly {
	for {
		if a := o.dnsArena.room(a, n); a != nil {
			return a
		}
		o.out.Stats.StreamsOverflowed++
		if o.streams.len() > 0 {
			if slot, s := o.streams.oldest(); slot != p.Slot {
				o.dropStream(slot, s)
				continue
			}
		}
		if o.fragments.len() > 1 { // the only one may be a's
			if k, g := o.fragments.oldest(); a == nil || g.data != a {
				o.dropDatagram(k, g)
				continue
			}
		}
		return nil
	}
}
