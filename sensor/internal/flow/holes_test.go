package flow

import (
	"math/rand/v2"
	"testing"
)

// TestHoleTable compares with a map, full and empty in turn.
func TestHoleTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var table holeTable
	want := map[uint32]uint32{}
	for i := range 200_000 {
		slot := r.Uint32N(3 * maxHoleyFlows)
		if slot%2 == 0 {
			slot |= r.Uint32N(4) << 20 // slots are few and dense, or many and far apart
		}
		switch _, known := want[slot]; {
		case !known && i/20_000%2 == 0 && table.flows < maxHoleyFlows:
			table.add(slot).all[0].begin = slot
			want[slot] = slot
		case i/20_000%2 == 1:
			table.remove(slot)
			delete(want, slot)
		}
		begin, known := want[slot]
		if hs := table.get(slot); (hs != nil) != known || known && hs.all[0].begin != begin {
			t.Fatalf("slot %d: %v, want %d, %v", slot, hs, begin, known)
		}
		if table.flows != len(want) {
			t.Fatalf("%d flows, want %d", table.flows, len(want))
		}
	}
	for slot := range want {
		if hs := table.get(slot); hs == nil || hs.all[0].begin != slot {
			t.Fatalf("slot %d is lost", slot)
		}
	}
	if len(table.holes) > maxHoleyFlows+1 {
		t.Errorf("%d holes are kept", len(table.holes))
	}
}
