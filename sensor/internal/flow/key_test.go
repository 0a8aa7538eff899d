package flow

import "testing"

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
