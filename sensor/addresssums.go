package sensor

import (
	"hash/maphash"

	"github.com/netmon-sensor/netmon/sensor/internal/index"
	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// addressSums finds the sums of the addresses of one IP version.
type addressSums struct {
	seed  maphash.Seed
	index index.Index // where in sums
	sums  pieces[addressSum]
}

type addressSum struct {
	address [16]byte
	out, in traffic
}

func newAddressSums() addressSums {
	t := addressSums{seed: maphash.MakeSeed()}
	t.index.Reset()
	return t
}

// touch returns the hash of an address and asks for the line where probing for it
// starts. The cache misses of a batch overlap where all its touches come before the
// first guess, and all its guesses before the first sum.
func (t *addressSums) touch(a *[16]byte) uint32 {
	hash := index.Hash(t.seed, a[:])
	t.index.Prefetch(hash)
	return hash
}

// guess returns the sum that most probably belongs to an address with this hash, and
// asks for it; nil if there is none.
func (t *addressSums) guess(hash uint32) *addressSum {
	for i := range t.index.Slots(hash) {
		s := t.sums.at(int(i))
		prefetch.Value(s)
		return s
	}
	return nil
}

// sum returns the sum of an address with this hash, after guess; a new one if it has none.
func (t *addressSums) sum(guess *addressSum, a *[16]byte, hash uint32) *addressSum {
	if guess != nil && guess.address == *a {
		return guess
	}
	for i := range t.index.Slots(hash) {
		if s := t.sums.at(int(i)); s.address == *a {
			return s
		}
	}
	n := t.sums.n
	t.index.Insert(hash, uint32(n))
	s := t.sums.at(n)
	s.address = *a
	return s
}
