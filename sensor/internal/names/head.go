package names

// head is the first bytes of both directions of a TCP flow, from its initiator
// and from its responder.
type head struct {
	generation uint32
	side       [2]headSide
}

type headSide struct {
	data     *assembly // nil until something has to be kept
	read     reading   // of data
	base     uint32    // sequence number of the first byte, valid where there were segments
	segments uint16
	padding  uint8 // length of a first segment that looked like padding
}

// maxSegments is how many segments of a direction are looked at. One that is out of
// reach weighs more: a client sends no dozens of them before its first comes again.
const (
	maxSegments = 256
	farAway     = 8 // segments that one out of reach weighs
)

// head looks for a TLS or HTTP name at the start of either direction of a TCP
// flow. Where it is not shown, done says that this direction can show none any more.
func (o *Observer) head(p *Packet) (shown, done bool) {
	h := o.heads.get(p.Slot)
	if h != nil && h.generation != p.Generation {
		o.dropHead(p.Slot, h)
		h = nil
	}
	if h == nil {
		if v := o.glance(p); v != more {
			return v == named, true
		}
		h = o.addHead(p)
	}
	s := &h.side[side(p)]
	v := o.headSegment(p, s)
	if v == dead {
		o.forget(s)
	}
	if v == named || v == dead && h.side[1-side(p)].segments == 0 {
		o.dropHead(p.Slot, h)
	}
	return v == named, v != more
}

// glance judges a segment that begins its direction. It returns more where there is
// more to it than that.
func (o *Observer) glance(p *Packet) verdict {
	before := int(int32(p.first() - p.Seq)) // a keep-alive, or seen before
	if before < 0 || before >= len(p.Payload) || isPadding(p) {
		return more
	}
	v, source, h := judge(p.Payload[before:], o.scratch[:], new(reading))
	return o.note(p, v, source, h)
}

// note takes note of what a judgement says about a flow, and turns it to dead where
// a name is none.
func (o *Observer) note(p *Packet, v verdict, source Source, h hello) verdict {
	switch {
	case v == dead && h.whole:
		o.hint(p.Slot, p.Generation, HelloWithoutName)
	case v == dead && h.long:
		o.hint(p.Slot, p.Generation, ParserLimit)
	case v == named && !o.own(p, source, h):
		return dead
	}
	return v
}

// headSegment adds a segment to its direction and judges that.
func (o *Observer) headSegment(p *Packet, s *headSide) verdict {
	if p.Begun && p.First != s.base { // the SYN of another connection came in between
		o.forget(s)
	}
	if s.segments == 0 {
		s.base = p.first()
	}
	v, off, weight := more, int(int32(p.Seq-s.base)), uint16(1)
	switch {
	case off > headLimit:
		weight = farAway
	case off+int(p.PayloadLength) > 0: // else a keep-alive, or seen before
		v = o.collect(p, s, off, p.Payload)
		if v == more && uint32(len(p.Payload)) < p.PayloadLength {
			o.hint(p.Slot, p.Generation, ParserLimit)
		}
	}
	// Those that bring nothing count as well: the first may have been lost for good.
	if s.segments += weight; s.segments > maxSegments && v == more {
		o.hint(p.Slot, p.Generation, ParserLimit)
		return dead
	}
	return v
}

// first is the sequence number at which a direction is taken to begin.
func (p *Packet) first() uint32 {
	if p.Begun {
		return p.First
	}
	return p.Seq
}

// collect judges the bytes of a direction with b added at off, and copies b only
// where that leaves open what they are. What it returns as named was noted.
func (o *Observer) collect(p *Packet, s *headSide, off int, b []byte) verdict {
	if off <= 0 {
		b, off = b[min(-off, len(b)):], 0
	}
	b = b[:min(len(b), headLimit-off)]
	if len(b) == 0 {
		return more
	}
	if s.data == nil && off == 0 && isPadding(p) {
		s.padding = uint8(len(b))
		return more
	}
	if s.data == nil && off > 0 && s.padding != 0 {
		return dead // they were data after all, and nothing starts with a zero
	}
	var v verdict
	var h hello
	source := None
	if s.data != nil || off > 0 {
		if !o.keepHead(p, s, off+len(b)) {
			return dead
		}
		if !s.data.insert(off, b) {
			return more
		}
		v, source, h = judge(s.data.prefix(), s.data.buf, &s.read)
	} else {
		v, source, h = judge(b, o.scratch[:], new(reading))
	}
	if v == more && s.data == nil {
		if !o.keepHead(p, s, len(b)) {
			return dead
		}
		s.data.insert(0, b)
	}
	return o.note(p, v, source, h)
}

// judge says what the first bytes of a TCP direction are, from where r stands.
// joined is for helloRecords.
func judge(b, joined []byte, r *reading) (v verdict, source Source, h hello) {
	if len(b) == 0 {
		return more, None, h
	}
	b = b[:min(len(b), headLimit)]
	if r.source == 0 {
		switch c := b[0]; {
		case c == 22:
			r.source = SNI
		case c >= 'A' && c <= 'Z':
			r.source = HTTPHost
		default:
			return dead, None, h
		}
	}
	if r.source == SNI {
		v, h = helloRecords(b, joined, r)
	} else {
		v, h.name = httpHost(b, r)
	}
	if v == more && len(b) == headLimit {
		v, h.long = dead, true
	}
	return v, r.source, h
}

// isPadding says whether a segment may be link padding that some devices count
// as payload: a few zero bytes that were not pushed. They hide nothing, since no
// evidence starts with a zero.
func isPadding(p *Packet) bool {
	if p.PayloadLength > 6 || p.PSH {
		return false
	}
	for _, c := range p.Payload {
		if c != 0 {
			return false
		}
	}
	return true
}

func (o *Observer) addHead(p *Packet) *head {
	if o.heads.full() {
		slot, oldest := o.heads.oldest()
		o.evictHead(slot, oldest)
	}
	h := o.heads.add(p.Slot)
	*h = head{generation: p.Generation}
	return h
}

// keepHead makes room for n bytes in s, at the cost of the oldest flows held.
func (o *Observer) keepHead(p *Packet, s *headSide, n int) bool {
	for {
		if a := o.headArena.room(s.data, n); a != nil {
			s.data = a
			return true
		}
		if o.heads.touch(p.Slot); o.heads.len() == 1 {
			o.out.Stats.HeadsOverflowed++
			o.hint(p.Slot, p.Generation, ParserLimit)
			return false
		}
		slot, oldest := o.heads.oldest()
		o.evictHead(slot, oldest)
	}
}

// evictHead forgets a flow to make room. Where only sequence numbers are lost,
// its next segment counts as its first, which it nearly always is.
func (o *Observer) evictHead(slot uint32, h *head) {
	if h.side[0].data != nil || h.side[1].data != nil {
		o.out.Stats.HeadsOverflowed++
		o.hint(slot, h.generation, ParserLimit)
	}
	o.dropHead(slot, h)
}

func (o *Observer) dropHead(slot uint32, h *head) {
	for i := range h.side {
		o.forget(&h.side[i])
	}
	o.heads.remove(slot)
}

func (o *Observer) forget(s *headSide) {
	o.headArena.give(s.data)
	*s = headSide{}
}
