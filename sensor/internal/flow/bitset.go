package flow

import "math/bits"

// A bitset marks slots of a chunk. Its summary has a bit for every word that
// is not zero, so that finding the first one set reads two words.
type bitset struct {
	summary uint64
	words   [bitsetWords]uint64
}

const bitsetWords = chunkSlots / 64 // at most 64, a power of two

func (b *bitset) set(i uint32) {
	b.words[i/64%bitsetWords] |= 1 << (i % 64)
	b.summary |= 1 << (i / 64 % bitsetWords)
}

func (b *bitset) unset(i uint32) {
	w := &b.words[i/64%bitsetWords]
	if *w &^= 1 << (i % 64); *w == 0 {
		b.summary &^= 1 << (i / 64 % bitsetWords)
	}
}

func (b *bitset) has(i uint32) bool { return b.words[i/64%bitsetWords]>>(i%64)&1 != 0 }

// next returns the first bit set at or after i, or chunkSlots.
func (b *bitset) next(i uint32) uint32 {
	if i >= chunkSlots {
		return chunkSlots
	}
	if w := b.words[i/64%bitsetWords] >> (i % 64); w != 0 {
		return i + uint32(bits.TrailingZeros64(w))
	}
	later := b.summary >> (i / 64 % bitsetWords) >> 1
	if later == 0 {
		return chunkSlots
	}
	n := (i/64 + 1 + uint32(bits.TrailingZeros64(later))) % bitsetWords
	return n*64 + uint32(bits.TrailingZeros64(b.words[n]))
}

func (b *bitset) empty() bool { return b.summary == 0 }
