package flow

import (
	"math"
	"slices"
)

// Harvest appends to dst one record for every flow that began since the last
// harvest or has counters to give out, and returns it. clock is the packet time
// up to which every packet was added; flows that are idle by then end. With
// flush, at shutdown, nothing is held any more and every flow ends.
//
// It reads the states of all flows that have something to say, in the order of
// their slots, and those of chunks in which a flow can have become idle.
func (t *Table) Harvest(dst []Record, clock int64, flush bool) []Record {
	t.stats.HeldPackets, t.stats.HeldBytes = 0, 0
	// In one step: a million records that grow by appending are copied again and
	// again, and the collector, which cannot interrupt a copy, spins meanwhile.
	dst = slices.Grow(dst, t.changed(flush))
	for n := range t.numbers.count {
		dst = t.harvestChunk(n, dst, clock, flush)
	}
	if flush {
		t.flushed()
	}
	return dst
}

// Drain is a Harvest with flush that stops once dst has enough records, and tells
// whether there are more: so the records of millions of flows need not be in
// memory at once. Nothing may be added to the table between its calls.
func (t *Table) Drain(dst []Record, enough int) ([]Record, bool) {
	for t.drained < t.numbers.count {
		if len(dst) >= enough {
			return dst, true
		}
		dst = t.harvestChunk(t.drained, dst, math.MaxInt64, true)
		t.drained++
	}
	t.flushed()
	return dst, false
}

func (t *Table) harvestChunk(n uint32, dst []Record, clock int64, flush bool) []Record {
	switch slot := n << chunkShift; {
	case t.v4.has(slot):
		return harvest(t, &t.v4, n, dst, clock, flush)
	case t.v6.has(slot):
		return harvest(t, &t.v6, n, dst, clock, flush)
	}
	return dst
}

// flushed forgets what flows there were, whose chunks know already.
func (t *Table) flushed() {
	t.v4.index.reset()
	t.v6.index.reset()
	clear(t.active)
	clear(t.holes)
	t.drained = 0
	t.stats.HeldPackets, t.stats.HeldBytes = 0, 0
}

// changed is how many records a harvest gives out, but for flows that were held or
// have become idle.
func (t *Table) changed(flush bool) (n int) {
	if flush {
		return t.Len() + t.waiting
	}
	return t.v4.changed() + t.v6.changed()
}

// harvest appends the records of chunk n.
func harvest[K key](t *Table, f *family[K], n uint32, dst []Record, clock int64, flush bool) []Record {
	c := f.chunks[n]
	switch {
	case flush:
		for i := c.live.next(0); i < chunkSlots; i = c.live.next(i + 1) {
			c.end(i) // the whole index goes afterwards, and all that is active
			f.flows--
			t.waiting++
		}
	case !t.options.KeepIdle && clock > c.due:
		sweep(t, f, n, clock)
	}
	for i := c.dirty.next(0); i < chunkSlots; i = c.dirty.next(i + 1) {
		s, o := &c.states[i], &c.origins[i]
		ended := !c.live.has(i)
		held := !ended && (t.options.Whole || s.marks&markDecided == 0 && t.holds(o.start, clock))
		if !held || s.marks&markBorn == 0 {
			dst = append(dst, Record{
				Slot: n<<chunkShift | i, Generation: s.generation,
				Start: o.start, Order: o.order, Last: s.last,
				Born: s.marks&markBorn == 0, Held: held, Ended: ended,
				Midstream: s.marks&markMidstream != 0,
				OurSide:   s.side, Application: s.application,
			})
			s.key.describe(&dst[len(dst)-1])
			s.marks |= markBorn
		}
		if held && t.options.Whole { // until it ends; marked as dirty it is not touched again
			c.dirty.unset(i)
			continue
		}
		if held { // and stays dirty
			sent, received := t.unharvested(n<<chunkShift|i, s.packets)
			t.stats.HeldPackets += sent + received
			t.stats.HeldBytes += s.bytes[0] + s.bytes[1]
			continue
		}
		giveOut(t, s, o, &dst[len(dst)-1])
		c.dirty.unset(i)
		if ended {
			f.release(n, i)
			t.waiting--
		}
	}
	f.shrink(n, &t.numbers)
	return dst
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

// sweep ends the flows of chunk n that are idle, and closes connections.
func sweep[K key](t *Table, f *family[K], n uint32, clock int64) {
	c := f.chunks[n]
	c.due = math.MaxInt64
	for i := c.live.next(0); i < chunkSlots; i = c.live.next(i + 1) {
		s, o := &c.states[i], &c.origins[i]
		due := s.due(o)
		if clock > due {
			if clock > s.idleAt() {
				end(t, f, n<<chunkShift|i)
				continue
			}
			if lapse(t, s, o, clock) {
				c.touch(i)
			}
			due = s.due(o)
		}
		c.due = min(c.due, due)
	}
}
