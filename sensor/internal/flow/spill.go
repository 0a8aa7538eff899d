package flow

// A spill holds what the narrow counters of a flow could not.
type spill struct {
	packets       [2]uint64
	retransmitted uint64
}

// spill returns that of a flow.
func (t *Table) spill(slot uint32) *spill {
	p := t.spilled[slot]
	if p == nil {
		if t.spilled == nil {
			t.spilled = make(map[uint32]*spill)
		}
		p = new(spill)
		t.spilled[slot] = p
	}
	return p
}

func (t *Table) retransmitted(slot uint32, o *origin, length uint32) {
	if o.retransmitted += length; o.retransmitted < length {
		t.spill(slot).retransmitted += 1 << 32
	}
}
