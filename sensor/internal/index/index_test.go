package index

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestLayout(t *testing.T) {
	if n := unsafe.Sizeof(Segment{}); n != segmentBytes {
		t.Errorf("a segment takes %d bytes", n)
	}
}

// TestIndex inserts and removes at random, through many splits, and compares
// with a map. Hashes are made to meet at the end of a segment, where runs wrap.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var x Index
	x.Reset()
	want := map[uint32]uint32{} // slot: hash
	var slots []uint32
	slot := uint32(0)
	look := func() {
		t.Helper()
		found := 0
		for s, hash := range want {
			seg := x.Segment(hash)
			for i := Home(hash); seg.entries[i] != newEntry(hash, s); i = After(i) {
				if seg.entries[i] == 0 {
					t.Fatalf("slot %d of hash %#x is not to be found", s, hash)
				}
			}
		}
		for i, seg := range x.directory {
			if i > 0 && x.directory[i-1] == seg {
				continue
			}
			n := 0
			for _, e := range seg.entries {
				if e != 0 {
					n++
				}
			}
			if says := x.heads[x.numbers[i]].count; n != int(says) {
				t.Fatalf("segment %d has %d entries and says %d", i, n, says)
			}
			found += n
		}
		if found != len(want) {
			t.Fatalf("%d entries, want %d", found, len(want))
		}
	}
	for round := range 12 {
		for range 8000 {
			if round%3 == 2 && len(slots) > 0 {
				i := r.IntN(len(slots))
				s := slots[i]
				slots[i] = slots[len(slots)-1]
				slots = slots[:len(slots)-1]
				x.Remove(want[s], s)
				delete(want, s)
				continue
			}
			hash := r.Uint32()
			if r.IntN(4) == 0 {
				hash |= 0xff0
			}
			x.Insert(hash, slot)
			want[slot] = hash
			slots = append(slots, slot)
			slot++
		}
		look()
	}
	for _, s := range slots {
		x.Remove(want[s], s)
		delete(want, s)
	}
	look()
	if len(x.heads) < 16 {
		t.Errorf("only %d segments", len(x.heads))
	}
}
