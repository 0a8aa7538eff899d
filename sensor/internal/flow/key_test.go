package flow

import (
	"testing"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// TestHash: both directions of a flow have one hash, and hashes spread.
func TestHash(t *testing.T) {
	s := newSeed()
	seen := map[uint32]int{}
	const n = 1 << 16
	for i := range n {
		h := numbered(i)
		seen[hashBothWays(t, &s, keys4, h)>>20]++
		seen[hashBothWays(t, &s, keys6, h)&0xfff|1<<20]++
	}
	for bits, count := range seen {
		if count > 64 { // 16 expected
			t.Errorf("%d of %d hashes have the bits %#x", count, n, bits)
		}
	}
}

// hashBothWays returns the hash of a packet's flow, and of one that comes back.
func hashBothWays[K key](t *testing.T, s *seed, of func(*keys[K], *packet.Header, uint16), h packet.Header) uint32 {
	t.Helper()
	var a, b keys[K]
	of(&a, &h, 3)
	swap(&h)
	of(&b, &h, 3)
	if a.src != b.dst || a.dst != b.src || a.src.hash(s) != a.dst.hash(s) {
		t.Fatalf("%v, %v", a, b)
	}
	return a.src.hash(s)
}
