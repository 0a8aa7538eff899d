package names

// quicFlow is the search for a ClientHello in a UDP flow. Which direction the
// client's is, decryption tells.
type quicFlow struct {
	generation uint32
	others     uint8 // datagrams since the first Initial that are no QUIC handshake
	side       [2]quicSide
}

type quicSide struct {
	tries uint8
	done  bool // can show no name any more
	keys  [maxConnections]connection
	used  uint8 // of keys
}

// connection is a Destination Connection ID whose keys have opened a packet, and
// the CRYPTO stream (RFC 9000, section 19.6) of those packets.
type connection struct {
	id   connectionID
	data *assembly
}

const (
	// maxTries is how many Initial packets of each direction are tried.
	maxTries = 64
	// maxConnections is how many sets of keys a direction may use: one more
	// after a Retry and after each version negotiation.
	maxConnections = 4
	// maxOthers is how many datagrams of other kinds a flow that began like
	// QUIC may show before it is given up; reordering explains a few.
	maxOthers = 16
)

// quic looks for a name in a datagram and says whether the flow is decided.
func (o *Observer) quic(p *Packet) (decided bool) {
	if !looksQUIC(p.Payload) {
		return !o.limits.Patient && o.notQUIC(p)
	}
	for at := 0; at+7 <= len(p.Payload); {
		h, ok := parseLong(p.Payload, at)
		if !ok {
			if h.initial && uint32(len(p.Payload)) < p.PayloadLength {
				o.hint(p.Slot, p.Generation, ParserLimit)
			}
			break
		}
		if h.initial && h.end-h.payload >= 20 && o.initial(p, at, &h) {
			return true
		}
		at = h.end
	}
	return false
}

// notQUIC says whether a flow is given up at a datagram that is no QUIC
// handshake packet.
func (o *Observer) notQUIC(p *Packet) (decided bool) {
	q := o.quics.get(p.Slot)
	if q == nil || q.generation != p.Generation {
		return true
	}
	if q.others++; q.others < maxOthers {
		return false
	}
	if q.side[0].used > 0 || q.side[1].used > 0 {
		o.hint(p.Slot, p.Generation, ParserLimit) // something was opened
	}
	o.dropQUIC(p.Slot, q)
	return true
}

// initial opens an Initial packet and says whether the flow is decided with it.
func (o *Observer) initial(p *Packet, at int, h *longHeader) (decided bool) {
	if o.decrypts >= o.limits.QUICPackets {
		o.out.Stats.HeadsOverflowed++
		o.hint(p.Slot, p.Generation, ParserLimit)
		return true
	}
	o.decrypts++
	q := o.quicOf(p)
	s := &q.side[side(p)]
	if s.done {
		return false
	}
	v := o.tryKeys(p, s, p.Payload[at:h.end], h.payload-at, &h.id)
	if s.tries++; v == more && s.tries >= maxTries {
		o.hint(p.Slot, p.Generation, ParserLimit)
		v = dead
	}
	if v == dead {
		s.done = true
		o.release(s)
	}
	if v == named || q.side[0].done && q.side[1].done || v == dead && !o.limits.Patient {
		o.dropQUIC(p.Slot, q)
		return true
	}
	return false
}

// tryKeys opens a packet with the keys of its own connection ID, or with those
// that worked before: a client changes to the ID that the server chose, but not
// its keys.
func (o *Observer) tryKeys(p *Packet, s *quicSide, b []byte, pn int, id *connectionID) verdict {
	for i := -1; i < int(s.used); i++ {
		try := *id
		if i >= 0 {
			if try = s.keys[i].id; try == *id {
				continue
			}
		}
		keys, err := clientKeys(&try)
		if err != nil {
			return more // not with an ID and version that parseLong lets through
		}
		if plain := o.opener.open(&keys, b, pn); plain != nil {
			return o.crypto(p, s.connection(o, &try), plain)
		}
	}
	return more
}

// connection returns the entry of id, which takes the place of the first one
// where there are too many.
func (s *quicSide) connection(o *Observer, id *connectionID) *connection {
	for i := range s.keys[:s.used] {
		if s.keys[i].id == *id {
			return &s.keys[i]
		}
	}
	if s.used == maxConnections {
		o.quicArena.give(s.keys[0].data)
		copy(s.keys[:], s.keys[1:])
		s.used--
	}
	c := &s.keys[s.used]
	*c = connection{id: *id}
	s.used++
	return c
}

// crypto adds the CRYPTO frames of an opened packet to their stream and judges
// it. What it returns as named was noted.
func (o *Observer) crypto(p *Packet, c *connection, plain []byte) verdict {
	r := reader{b: plain}
	for len(r.b) > 0 && !r.bad {
		switch kind := r.u8(); kind {
		case 0, 1: // PADDING, PING
		case 2, 3: // ACK
			r.varint()
			r.varint()
			ranges := r.varint()
			for i := 0; i < 2*ranges+1 && !r.bad; i++ {
				r.varint()
			}
			for i := 0; kind == 3 && i < 3; i++ {
				r.varint()
			}
		case 6:
			off := r.varint()
			n := r.varint()
			b := r.take(min(n, len(r.b)))
			if r.bad || off >= headLimit {
				continue
			}
			b = b[:min(len(b), headLimit-off)]
			if !o.keepQUIC(p, c, off+len(b)) {
				return dead
			}
			c.data.insert(off, b)
		default: // no other frame may stand in an Initial but CONNECTION_CLOSE
			r.bad = true
		}
	}
	if c.data == nil {
		return more
	}
	v, h := clientHello(c.data.prefix())
	switch {
	case v == more && len(c.data.prefix()) == headLimit, v == dead && h.long:
		o.hint(p.Slot, p.Generation, ParserLimit)
		return dead
	case v == dead && h.whole:
		o.hint(p.Slot, p.Generation, HelloWithoutName)
	case v == named && !o.own(p, QUICSNI, h):
		return dead
	}
	return v
}

func (o *Observer) quicOf(p *Packet) *quicFlow {
	q := o.quics.get(p.Slot)
	if q != nil {
		if q.generation == p.Generation {
			return q
		}
		o.dropQUIC(p.Slot, q)
	}
	if o.quics.full() {
		slot, oldest := o.quics.oldest()
		o.evictQUIC(slot, oldest)
	}
	q = o.quics.add(p.Slot)
	*q = quicFlow{generation: p.Generation}
	return q
}

// keepQUIC makes room for n bytes in c, at the cost of the oldest flows held.
func (o *Observer) keepQUIC(p *Packet, c *connection, n int) bool {
	for {
		if a := o.quicArena.room(c.data, n); a != nil {
			c.data = a
			return true
		}
		if o.quics.touch(p.Slot); o.quics.len() == 1 {
			o.out.Stats.HeadsOverflowed++
			o.hint(p.Slot, p.Generation, ParserLimit)
			return false
		}
		slot, oldest := o.quics.oldest()
		o.evictQUIC(slot, oldest)
	}
}

func (o *Observer) evictQUIC(slot uint32, q *quicFlow) {
	o.out.Stats.HeadsOverflowed++
	o.hint(slot, q.generation, ParserLimit)
	o.dropQUIC(slot, q)
}

func (o *Observer) dropQUIC(slot uint32, q *quicFlow) {
	for i := range q.side {
		o.release(&q.side[i])
	}
	o.quics.remove(slot)
}

func (o *Observer) release(s *quicSide) {
	for i := range s.keys[:s.used] {
		o.quicArena.give(s.keys[i].data)
		s.keys[i].data = nil
	}
	s.used = 0
}
