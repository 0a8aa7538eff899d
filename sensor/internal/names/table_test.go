package names

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// twoMaps is what generations is to be: each is a map of its own.
type twoMaps struct {
	young, old map[uint16]int
	half       int
}

func (g *twoMaps) get(k uint16) (int, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	if ok && (g.half == 0 || len(g.young) < g.half) {
		delete(g.old, k)
		g.young[k] = v
	}
	return v, ok
}

func (g *twoMaps) put(k uint16, v int) (forgotten uint64) {
	if _, ok := g.young[k]; !ok {
		delete(g.old, k)
		if g.half > 0 && len(g.young) >= g.half {
			forgotten = uint64(len(g.old))
			g.age()
		}
	}
	g.young[k] = v
	return forgotten
}

func (g *twoMaps) age() { g.young, g.old = map[uint16]int{}, g.young }

// TestGenerations compares with maps at random, also where many keys have one hash.
func TestGenerations(t *testing.T) {
	for _, bound := range []int{0, 1, 1000, 5000} {
		for _, hashes := range []uint32{7, 1 << 31} {
			r := rand.New(rand.NewPCG(7, uint64(bound)))
			g := newGenerations[uint16, int](bound)
			want := twoMaps{map[uint16]int{}, map[uint16]int{}, (bound + 1) / 2}
			hash := func(k uint16) uint32 { return uint32(k) * 0x9e3779b1 % hashes }
			for i := range 30_000 {
				k := 1 + uint16(r.IntN(2500))
				switch n := r.IntN(3000); {
				case n == 0:
					g.age()
					want.age()
				case n < 1000:
					v, forgotten := g.enter(hash(k), &k)
					if old, _ := want.get(k); *v != old {
						t.Fatalf("%d has %d, want %d", k, *v, old)
					}
					*v = i
					if n := want.put(k, i); forgotten != n {
						t.Fatalf("%d were forgotten for %d, want %d", forgotten, k, n)
					}
				default:
					v := g.get(hash(k), &k)
					if n, ok := want.get(k); (v != nil) != ok || ok && *v != n {
						t.Fatalf("%d is %v, want %d, %v", k, v, n, ok)
					}
				}
				g.expect(hash(k))
				g.near(hash(k))
			}
			got, all := map[uint16]int{}, maps.Clone(want.young)
			maps.Copy(all, want.old)
			for k, v := range g.each {
				got[*k] = *v
			}
			if !maps.Equal(got, all) || g.young.n != len(want.young) || g.old.n != len(want.old) {
				t.Errorf("%d and %d entries, want %d and %d", g.young.n, g.old.n, len(want.young), len(want.old))
			}
		}
	}
}
