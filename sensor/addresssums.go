package sensor

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// addressSums finds the sums of the addresses of one IP version. It is open addressing
// over one run of memory without pointers, which doubles; the sums stand apart and stay.
type addressSums struct {
	seed  [2]uint64
	index []uint64 // the top half of a hash and, below it, where in sums plus 1; 0 is free
	shift uint8    // what takes a hash to where probing for it starts: its top bits
	sums  pieces[addressSum]
}

type addressSum struct {
	address [16]byte
	out, in traffic
}

// smallestIndex is how many places an index has at first: 1<<12.
const smallestIndex = 12

const odd = 0xe7037ed1a0b428db // with evenly spread bits, from wyhash

func newAddressSums() addressSums {
	return addressSums{seed: [2]uint64{rand.Uint64(), rand.Uint64()}, index: make([]uint64, 1<<smallestIndex), shift: 32 - smallestIndex}
}

// touch returns the hash of an address and asks for the line where probing for it
// starts. The cache misses of a batch overlap where all its touches come before the
// first guess, and all its guesses before the first sum.
func (t *addressSums) touch(a *[16]byte) uint32 {
	hi, lo := bits.Mul64(binary.NativeEndian.Uint64(a[:8])^t.seed[0], binary.NativeEndian.Uint64(a[8:])^t.seed[1])
	hash := uint32((hi ^ lo) * odd >> 32)
	prefetch.Line(unsafe.Pointer(&t.index[hash>>t.shift]))
	return hash
}

// guess returns the sum that most probably belongs to an address with this hash, and
// asks for it; nil if there is none.
func (t *addressSums) guess(hash uint32) *addressSum {
	for i := hash >> t.shift; t.index[i] != 0; i = t.after(i) {
		if e := t.index[i]; uint32(e>>32) == hash {
			return touched(t.sums.at(int(uint32(e) - 1)))
		}
	}
	return nil
}

// sum returns the sum of an address with this hash, after guess.
func (t *addressSums) sum(guess *addressSum, a *[16]byte, hash uint32) *addressSum {
	if guess != nil && guess.address == *a {
		return guess
	}
	return t.find(a, hash)
}

// find returns the sum of an address with this hash, a new one if it has none.
func (t *addressSums) find(a *[16]byte, hash uint32) *addressSum {
	i := hash >> t.shift
	for ; t.index[i] != 0; i = t.after(i) {
		if e := t.index[i]; uint32(e>>32) == hash {
			if s := t.sums.at(int(uint32(e) - 1)); s.address == *a {
				return s
			}
		}
	}
	n := t.sums.n
	s := t.sums.at(n)
	s.address = *a
	t.index[i] = uint64(hash)<<32 | uint64(uint32(n+1))
	if n >= len(t.index)/4*3 {
		t.grow()
	}
	return s
}

func (t *addressSums) after(i uint32) uint32 { return (i + 1) & uint32(len(t.index)-1) }

// grow doubles the index. Hashes stay in order, so that it reads and writes from one
// end to the other.
func (t *addressSums) grow() {
	old := t.index
	t.index = make([]uint64, 2*len(old))
	clear(t.index) // see pieces.at
	t.shift--
	for _, e := range old {
		if e != 0 {
			i := uint32(e>>32) >> t.shift
			for t.index[i] != 0 {
				i = t.after(i)
			}
			t.index[i] = e
		}
	}
}
