package names

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestAssembly compares with byte by byte bookkeeping.
func TestAssembly(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		const size = 200
		a := &assembly{buf: make([]byte, size)}
		want, have := make([]byte, size), make([]bool, size)
		prefix := func() []byte {
			n := 0
			for n < size && have[n] {
				n++
			}
			return want[:n]
		}
		for range 60 {
			off := r.IntN(size)
			b := make([]byte, r.IntN(min(30, size-off)+1))
			for i := range b {
				b[i] = byte(r.Uint32())
				if !have[off+i] {
					want[off+i], have[off+i] = b[i], true
				}
			}
			before := len(a.prefix())
			grew := a.insert(off, b)
			if !bytes.Equal(a.prefix(), prefix()) || grew != (len(prefix()) > before) {
				t.Fatalf("prefix %x, want %x", a.prefix(), prefix())
			}
			for i := 1; i < len(a.have); i++ {
				if a.have[i].from <= a.have[i-1].to {
					t.Fatalf("spans %v", a.have)
				}
			}
			if n := len(a.prefix()); n > 0 && r.IntN(4) == 0 {
				n = 1 + r.IntN(n)
				a.consume(n)
				copy(want, want[n:])
				copy(have, have[n:])
				clear(have[size-n:])
				if !bytes.Equal(a.prefix(), prefix()) {
					t.Fatalf("prefix %x, want %x", a.prefix(), prefix())
				}
			}
		}
	}
}

func TestArenaIsBounded(t *testing.T) {
	r := arena{limit: 10 * smallestBuffer}
	var lent []*assembly
	rnd := rand.New(rand.NewPCG(9, 10))
	for range 2000 {
		if rnd.IntN(2) == 0 && len(lent) > 0 {
			i := rnd.IntN(len(lent))
			r.give(lent[i])
			lent = append(lent[:i], lent[i+1:]...)
		} else if a := r.room(nil, 1+rnd.IntN(4*smallestBuffer)); a != nil {
			lent = append(lent, a)
		}
		used := 0
		for _, list := range [][]*assembly{lent, r.free} {
			for _, a := range list {
				used += len(a.buf)
			}
		}
		if used != r.used || used > r.limit {
			t.Fatalf("%d bytes are lent or free, the arena counts %d of %d", used, r.used, r.limit)
		}
	}
}

func TestFIFO(t *testing.T) {
	f, slots := newFIFO[uint32, uint32](5), newBySlot[uint32](5)
	t.Run("map", func(t *testing.T) { checkFIFO(t, f, &f.ring, 1) })
	t.Run("slots", func(t *testing.T) { checkFIFO(t, slots, &slots.ring, slotsPerChunk-1) })
	for i, c := range slots.chunks {
		if c != nil && c.used == 0 {
			t.Errorf("chunk %d is kept without an entry", i)
		}
	}
}

// checkFIFO compares with a list. Keys are multiples of step.
func checkFIFO(t *testing.T, f interface {
	get(uint32) *uint32
	add(uint32) *uint32
	touch(uint32)
	remove(uint32)
	oldest() (uint32, *uint32)
	full() bool
	len() int
}, ring *ring[uint32, uint32], step uint32) {
	var order []uint32 // oldest first
	r := rand.New(rand.NewPCG(11, 12))
	for i := range 3000 {
		k := step * r.Uint32N(12)
		at := -1
		for j, o := range order {
			if o == k {
				at = j
			}
		}
		if v := f.get(k); (v != nil) != (at >= 0) || v != nil && *v != k {
			t.Fatalf("step %d: %d is there: %v", i, k, v != nil)
		}
		switch {
		case at >= 0 && r.IntN(2) == 0:
			f.remove(k)
			order = append(order[:at], order[at+1:]...)
		case at >= 0:
			f.touch(k)
			order = append(append(order[:at:at], order[at+1:]...), k)
		default:
			if f.full() {
				old, _ := f.oldest()
				if old != order[0] {
					t.Fatalf("step %d: oldest is %d, want %d", i, old, order[0])
				}
				f.remove(old)
				order = order[1:]
			}
			*f.add(k) = k
			order = append(order, k)
		}
		if f.len() != len(order) || ring.used > 6 {
			t.Fatalf("step %d: %d entries in %d nodes, want %d", i, f.len(), ring.used, len(order))
		}
	}
}
