package flow

// Decided says that the observer has found the flow's name or given up: its
// counters need not be held any longer.
func (t *Table) Decided(slot uint32) {
	*t.marks(slot) |= markDecided
}

// DecidedSide says that only the other direction of a flow can still show a name.
func (t *Table) DecidedSide(slot uint32, fromInitiator bool) {
	side := markReceivedDecided
	if fromInitiator {
		side = markSentDecided
	}
	const both = markSentDecided | markReceivedDecided
	m := t.marks(slot)
	if *m |= side; *m&both == both {
		*m |= markDecided
	}
}

func (t *Table) marks(slot uint32) *marks {
	if t.v4.has(slot) {
		return &t.v4.state(slot).marks
	}
	return &t.v6.state(slot).marks
}

// SetSide stores which ends of a flow are ours. The slot is one that Add
// returned since the last harvest.
func (t *Table) SetSide(slot uint32, side Side) {
	if t.v4.has(slot) {
		setSide(t, t.v4.state(slot), side)
	} else {
		setSide(t, t.v6.state(slot), side)
	}
}

// TakeFirst returns the sequence number of the first byte that an end of a TCP flow
// sends, where a SYN of its own has told it: once after that SYN, for the first payload.
func (t *Table) TakeFirst(slot uint32, fromInitiator bool) (seq uint32, ok bool) {
	o := t.origin(slot)
	seq, note := o.replyISN+1, hasReplyISN
	if fromInitiator {
		seq, note = o.isn+1, hasISN
	}
	ok = o.notes&note != 0
	o.notes &^= note
	return seq, ok
}

// SetMSS stores the maximum segment size that an end of a TCP flow announced, 0
// for none. The smaller one of both stands.
func (t *Table) SetMSS(slot uint32, mss uint16) {
	if o := t.origin(slot); mss != 0 && (o.mss == 0 || o.mss > mss) {
		o.mss = mss
	}
}

// MSS returns what SetMSS stored, at first 0.
func (t *Table) MSS(slot uint32) uint16 { return t.origin(slot).mss }

func (t *Table) origin(slot uint32) *origin {
	if t.v4.has(slot) {
		c, i := t.v4.at(slot)
		return &c.origins[i]
	}
	c, i := t.v6.at(slot)
	return &c.origins[i]
}

// SetApplication stores the application protocol of a flow.
func (t *Table) SetApplication(slot uint32, application uint8) {
	if t.v4.has(slot) {
		t.v4.state(slot).application = application
	} else {
		t.v6.state(slot).application = application
	}
}

// Application returns what SetApplication stored, at first 0.
func (t *Table) Application(slot uint32) uint8 {
	if t.v4.has(slot) {
		return t.v4.state(slot).application
	}
	return t.v6.state(slot).application
}
