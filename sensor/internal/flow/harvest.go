package flow

import "math"

// harvest is the one that is open. The zero value is none.
type harvest struct {
	out   *Records // nil: none is open
	clock int64
	flush bool
	next  uint32 // chunk that Step visits next
	count uint32 // chunks there were at the beginning
}

// Begin opens a harvest: one record for every flow that began since the last one
// or has counters to give out, as of now. clock is the packet time up to which
// every packet was added; flows that are idle by then end. With flush, at shutdown,
// nothing is held any more and every flow ends.
//
// Step gives out the records, bit by bit: packets may be added between its calls,
// but with flush. They belong to the next harvest; the record of a flow that is due
// is given out before its next packet counts. No harvest may be open.
func (t *Table) Begin(out *Records, clock int64, flush bool) {
	t.stats.HeldPackets, t.stats.HeldBytes = 0, 0
	t.harvest = harvest{out: out, clock: clock, flush: flush, count: t.numbers.count}
	t.v4.begin()
	t.v6.begin()
}

// Step goes on with the open harvest, for so many times 2048 flows, and tells
// whether there are more: false ends it. It reads the states of flows that have
// something to say, in the order of their slots, and those of chunks in which a
// flow can have become idle.
func (t *Table) Step(chunks int) (more bool) {
	h := &t.harvest
	for range chunks {
		if h.next >= h.count {
			break
		}
		switch slot := h.next << chunkShift; {
		case t.v4.has(slot):
			visit(t, &t.v4, h.next)
		case t.v6.has(slot):
			visit(t, &t.v6, h.next)
		}
		h.next++
	}
	if h.next < h.count {
		return true
	}
	if h.flush {
		t.flushed()
	}
	t.harvest = harvest{}
	return false
}

// Continue has the records to come go to another place.
func (t *Table) Continue(out *Records) { t.harvest.out = out }

// flushed forgets what flows there were, whose chunks know already.
func (t *Table) flushed() {
	t.v4.index.Reset()
	t.v6.index.Reset()
	clear(t.active)
	t.holes.clear()
	t.stats.HeldPackets, t.stats.HeldBytes = 0, 0
}

// visit gives out the records of chunk n.
func visit[K key](t *Table, f *family[K], n uint32) {
	c := f.chunks[n]
	switch {
	case t.harvest.flush:
		for i := c.live.next(0); i < chunkSlots; i = c.live.next(i + 1) {
			c.end(i) // the whole index goes afterwards, and all that is active
			c.bringForward(i)
			f.flows--
			t.waiting++
		}
	case !t.options.KeepIdle && t.harvest.clock > c.due:
		sweep(t, f, n, t.harvest.clock)
	}
	for i := c.pending.next(0); i < chunkSlots; i = c.pending.next(i + 1) {
		give(t, f, n<<chunkShift|i)
	}
	f.shrink(n, &t.numbers)
}

// pends tells whether the record of a flow is due in an open harvest.
func pends[K key](t *Table, f *family[K], slot uint32) bool {
	if t.harvest.out == nil {
		return false
	}
	c, i := f.at(slot)
	return c.pending.has(i)
}

// settle gives out the record of a flow that is due in an open harvest.
func settle[K key](t *Table, f *family[K], slot uint32) {
	if pends(t, f, slot) {
		give(t, f, slot)
	}
}

// give gives out the record of a pending flow.
func give[K key](t *Table, f *family[K], slot uint32) {
	c, i := f.at(slot)
	c.pending.unset(i)
	s, o := &c.states[i], &c.origins[i]
	ended := !c.live.has(i)
	held := !ended && (t.options.Whole || s.marks&markDecided == 0 && t.holds(o.start, t.harvest.clock))
	var r *Record
	if !held || s.marks&markBorn == 0 {
		r = t.harvest.out.add()
		*r = Record{} // and field by field: a literal is built elsewhere and copied
		r.Slot, r.Generation = slot, s.generation
		r.Start, r.Order, r.Last = o.start, o.order, s.last
		r.Born, r.Held, r.Ended = s.marks&markBorn == 0, held, ended
		r.Midstream = s.marks&markMidstream != 0
		r.OurSide, r.Application = s.side, s.application
		s.key.describe(r)
		s.marks |= markBorn
	}
	switch {
	case held && t.options.Whole: // until it ends; marked as dirty it is not touched again
	case held: // and is due again
		c.dirty.set(i)
		sent, received := t.unharvested(slot, s.packets)
		t.stats.HeldPackets += sent + received
		t.stats.HeldBytes += s.bytes[0] + s.bytes[1]
	default:
		giveOut(t, s, o, r)
		if ended {
			f.release(slot)
			t.waiting--
		}
	}
}

// giveOut moves the counters into a record.
func giveOut[K key](t *Table, s *state[K], o *origin, r *Record) {
	r.PacketsSent, r.PacketsReceived = t.unharvested(r.Slot, s.packets)
	r.BytesSent, r.BytesReceived = s.bytes[0], s.bytes[1]
	r.Counted = s.marks&markCounted == 0
	r.Retransmitted = uint64(o.retransmitted)
	if p := t.spilled[r.Slot]; p != nil {
		r.Retransmitted += p.retransmitted
		delete(t.spilled, r.Slot)
	}
	o.giveOut(r, s.marks, s.closedAt())
	s.packets, s.bytes = [2]uint32{}, [2]uint64{}
	s.marks = s.marks&^markDirty | markCounted
}

// unharvested are the packets of a flow with those that were spilled.
func (t *Table) unharvested(slot uint32, packets [2]uint32) (sent, received uint64) {
	sent, received = uint64(packets[0]), uint64(packets[1])
	if p := t.spilled[slot]; p != nil {
		sent, received = sent+p.packets[0], received+p.packets[1]
	}
	return sent, received
}

// holds tells whether an undecided flow is young enough to be held. A clock that
// was set back holds nothing for longer than HoldNS.
func (t *Table) holds(start, clock int64) bool {
	age := clock - start
	return age < t.options.HoldNS && age > -t.options.HoldNS
}

// sweep ends the flows of chunk n that are idle, and closes connections, in the
// harvest that is open.
func sweep[K key](t *Table, f *family[K], n uint32, clock int64) {
	c := f.chunks[n]
	c.due = math.MaxInt64
	for i := c.live.next(0); i < chunkSlots; i = c.live.next(i + 1) {
		s, o := &c.states[i], &c.origins[i]
		due := s.due(o)
		if clock > due && !c.dirty.has(i) { // else it has packets of later
			if clock > s.idleAt() {
				leave(t, f, n<<chunkShift|i)
				c.bringForward(i)
				continue
			}
			if lapse(t, s, o, clock) {
				c.touch(i)
				c.bringForward(i)
			}
			due = s.due(o)
		}
		c.due = min(c.due, due)
	}
}
