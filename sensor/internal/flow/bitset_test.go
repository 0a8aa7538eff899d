package flow

import (
	"math/rand/v2"
	"testing"
)

func TestBitset(t *testing.T) {
	var b bitset
	set := map[uint32]bool{}
	r := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		i := r.Uint32N(chunkSlots)
		if set[i] || r.IntN(3) == 0 {
			b.unset(i)
			delete(set, i)
		} else {
			b.set(i)
			set[i] = true
		}
	}
	n := 0
	for i := b.next(0); i < chunkSlots; i = b.next(i + 1) {
		if !set[i] || !b.has(i) {
			t.Errorf("bit %d", i)
		}
		b.unset(i)
		n++
	}
	if n != len(set) || n == 0 || !b.empty() {
		t.Errorf("%d bits, want %d", n, len(set))
	}
}
