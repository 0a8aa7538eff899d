package sensor

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSortBirths sorts runs of all sorts, few and many.
func TestSortBirths(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	j := new(join)
	for _, n := range []int{0, 1, 2, 3, 10, 1000, mergeBound, mergeBound + 1} {
		for _, runs := range []int{1, 2, 3, 5, n + 1} {
			var want []uint64
			j.births = j.births[:0]
			for range n {
				want = append(want, random.Uint64N(uint64(2*n)))
			}
			for part := range slices.Chunk(want, n/runs+1) {
				slices.Sort(part)
				for _, order := range part {
					j.births = append(j.births, birth{order: order})
				}
			}
			slices.Sort(want)
			j.sortBirths()
			if !slices.EqualFunc(j.births, want, func(b birth, order uint64) bool { return b.order == order }) {
				t.Errorf("%d births in %d runs are not in order", n, runs)
			}
		}
	}
}
