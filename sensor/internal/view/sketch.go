package view

import "math/bits"

// depth is how many cells a key has: its estimate is wrong only where each of
// them is shared with something heavy.
const depth = 3

// sketch estimates what keys weigh that have no row: a count-min sketch
// (Cormode and Muthukrishnan, 2005). Sums do not depend on their order, which is
// why it is this one: Space-Saving would need no second window to find a heavy
// key, but which keys it holds depends on who came first.
type sketch struct {
	open   []uint64 // of the open window
	closed []uint64 // of the windows before, each of half the weight of the next
	shift  int
}

// newSketch returns a sketch for n keys, of 96 to 192 bytes each.
func newSketch(n int) *sketch {
	width := bits.Len(uint(2*n - 1)) // at least 2n cells, a power of two
	return &sketch{
		open:   make([]uint64, depth<<width),
		closed: make([]uint64, depth<<width),
		shift:  64 - width,
	}
}

// add counts in the open window.
func (s *sketch) add(hash, weight uint64) {
	for i := range depth {
		s.open[s.cell(hash, i)] += weight
	}
}

// estimate is what the key weighed in the closed windows, or more.
func (s *sketch) estimate(hash uint64) uint64 {
	least := s.closed[s.cell(hash, 0)]
	for i := 1; i < depth; i++ {
		least = min(least, s.closed[s.cell(hash, i)])
	}
	return least
}

func (s *sketch) cell(hash uint64, i int) int {
	for range i {
		hash = bits.RotateLeft64(hash, 21) * 0x9e3779b97f4a7c15
	}
	return i<<(64-s.shift) | int(hash>>s.shift)
}

// turn closes the open window.
func (s *sketch) turn() {
	for i, n := range s.open {
		s.closed[i] = s.closed[i]/2 + n
	}
	clear(s.open)
}
