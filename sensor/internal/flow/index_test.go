package flow

import (
	"math/rand/v2"
	"testing"
)

// TestIndex inserts and removes at random, through many splits, and compares
// with a map. Hashes are made to meet at the end of a segment, where runs wrap.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var x index
	x.reset()
	want := map[uint32]uint32{} // slot: hash
	var slots []uint32
	slot := uint32(0)
	look := func() {
		t.Helper()
		found := 0
		for s, hash := range want {
			seg := x.segment(hash)
			for i := home(hash); seg.entries[i] != newEntry(hash, s); i = after(i) {
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
			if n != int(seg.count) {
				t.Fatalf("segment %d has %d entries and says %d", i, n, seg.count)
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
				x.remove(want[s], s)
				delete(want, s)
				continue
			}
			hash := r.Uint32()
			if r.IntN(4) == 0 {
				hash |= 0xff0
			}
			x.insert(hash, slot)
			want[slot] = hash
			slots = append(slots, slot)
			slot++
		}
		look()
	}
	for _, s := range slots {
		x.remove(want[s], s)
		delete(want, s)
	}
	look()
	if x.segments < 16 {
		t.Errorf("only %d segments", x.segments)
	}
}

// TestHash: both directions of a flow have one hash, and hashes spread.
func TestHash(t *testing.T) {
	s := newSeed()
	seen := map[uint32]int{}
	const n = 1 << 16
	for i := range n {
		h := numbered(i)
		var a, b keys[key4]
		keys4(&a, &h, 3)
		swap(&h)
		keys4(&b, &h, 3)
		if a.src != b.dst || a.dst != b.src || a.src.hash(&s) != a.dst.hash(&s) {
			t.Fatalf("%v, %v", a, b)
		}
		var c, d keys[key6]
		keys6(&c, &h, 3)
		swap(&h)
		keys6(&d, &h, 3)
		if c.src != d.dst || c.dst != d.src || c.src.hash(&s) != c.dst.hash(&s) {
			t.Fatalf("%v, %v", c, d)
		}
		seen[a.src.hash(&s)>>20]++
		seen[c.src.hash(&s)&0xfff|1<<20]++
	}
	for bits, count := range seen {
		if count > 64 { // 16 expected
			t.Errorf("%d of %d hashes have the bits %#x", count, n, bits)
		}
	}
}

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
