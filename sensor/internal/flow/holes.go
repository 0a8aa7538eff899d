package flow

import "math/bits"

const (
	maxHoles      = 4    // of one flow
	maxHoleyFlows = 4096 // with holes at once
	holePlaces    = 2 * maxHoleyFlows
)

// hole is a run of sequence numbers that one direction of a flow has skipped.
type hole struct {
	begin, end uint32
	direction  uint8
}

// holes are those of a flow; the first n.
type holes struct {
	all [maxHoles]hole
	n   uint8
}

// holeTable finds the holes of a flow by its slot: open addressing without
// pointers, since hostile traffic has a hole in every packet. It makes its places
// when the first hole comes.
type holeTable struct {
	places []place // holePlaces of them, or none
	holes  []holes // by place.at; element 0 is nobody's
	free   []uint16
	flows  int
}

// place is free where at is 0.
type place struct {
	slot uint32
	at   uint16
}

func placeOf(slot uint32) int {
	const golden = 0x9e3779b9
	return int(slot * golden >> (32 - bits.TrailingZeros(holePlaces)))
}

// find returns where a flow stands, or where it would.
func (t *holeTable) find(slot uint32) int {
	i := placeOf(slot)
	for t.places[i].at != 0 && t.places[i].slot != slot {
		i = (i + 1) % holePlaces
	}
	return i
}

// get returns the holes of a flow, or nil. They are valid until the next add.
func (t *holeTable) get(slot uint32) *holes {
	if t.flows == 0 {
		return nil
	}
	if p := t.places[t.find(slot)]; p.at != 0 {
		return &t.holes[p.at]
	}
	return nil
}

// add makes room for the holes of a flow that has none, one of maxHoleyFlows.
func (t *holeTable) add(slot uint32) *holes {
	if t.places == nil {
		t.places, t.holes = make([]place, holePlaces), make([]holes, 1)
	}
	var at uint16
	if n := len(t.free); n > 0 {
		at, t.free = t.free[n-1], t.free[:n-1]
		t.holes[at] = holes{}
	} else {
		at = uint16(len(t.holes))
		t.holes = append(t.holes, holes{})
	}
	t.places[t.find(slot)] = place{slot, at}
	t.flows++
	return &t.holes[at]
}

// remove forgets a flow, whether it has holes or not, and closes the gap that it
// leaves among the places.
func (t *holeTable) remove(slot uint32) {
	if t.flows == 0 {
		return
	}
	gap := t.find(slot)
	if t.places[gap].at == 0 {
		return
	}
	t.free = append(t.free, t.places[gap].at)
	t.flows--
	for i := (gap + 1) % holePlaces; t.places[i].at != 0; i = (i + 1) % holePlaces {
		if home := placeOf(t.places[i].slot); (i-home+holePlaces)%holePlaces >= (i-gap+holePlaces)%holePlaces {
			t.places[gap] = t.places[i]
			gap = i
		}
	}
	t.places[gap] = place{}
}

func (t *holeTable) clear() { *t = holeTable{} }
