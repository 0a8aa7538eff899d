// Package index finds slots by hash.
package index

import (
	"hash/maphash"
	"iter"
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// An Index finds slots by hash. It is an extendible hash table: a directory of
// segments, each open addressing with linear probing over one run of memory.
// A segment that is three quarters full is split in two, which moves at most
// segmentFull entries; nothing ever moves the whole table, so no packet waits
// for that. It holds no pointers but the directory's. Reset comes before anything else;
// hashes are to be such that nobody outside can choose them: see Hash.
type Index struct {
	directory []*Segment // by the top bits of the hash; several may be one segment
	numbers   []uint32   // of the segments in the directory
	heads     []head     // by number: beside the segments, since they would all be in one set of the cache
	depth     uint8      // log2 of the directory's length
	spare     *Segment   // empty; what the last split left over
}

// A Segment is 32 KiB sharp, a size class of the allocator.
type Segment struct{ entries [segmentSlots]Entry }

type head struct {
	count uint16
	depth uint8 // how many top bits of the hash all entries of the segment share
}

const (
	segmentSlots = 4096
	segmentFull  = segmentSlots * 3 / 4
	segmentBytes = 32 << 10
)

// Hash returns a hash of a key that nobody outside can foresee.
func Hash(seed maphash.Seed, key []byte) uint32 { return uint32(maphash.Bytes(seed, key)) }

// An Entry is a hash and, below it, a slot plus 1; 0 is free. The whole hash
// stands here, so that neither probing nor splitting reads the slab.
type Entry uint64

func newEntry(hash, slot uint32) Entry { return Entry(hash)<<32 | Entry(slot+1) }

// Hash is what the entry was inserted with; of a free one it is 0.
func (e Entry) Hash() uint32 { return uint32(e >> 32) }

// Slot is likewise; a free entry has none.
func (e Entry) Slot() uint32 { return uint32(e) - 1 }

// Home is where probing for a hash starts: its low bits, while the directory
// uses the top ones.
func Home(hash uint32) uint32 { return hash % segmentSlots }

// After is where probing goes on behind i.
func After(i uint32) uint32 { return (i + 1) % segmentSlots }

// Segment returns the one segment where a hash may stand.
func (x *Index) Segment(hash uint32) *Segment { return x.directory[x.place(hash)] }

// place is where the directory has the segment of a hash.
func (x *Index) place(hash uint32) uint64 { return uint64(hash) >> ((32 - x.depth) & 63) }

// Prefetch asks for the line where probing for a hash starts.
func (x *Index) Prefetch(hash uint32) {
	prefetch.Line(unsafe.Pointer(x.Segment(hash).At(Home(hash))))
}

// At returns where entry i stands, which Home or After gave. Indexing would touch the
// beginning of the segment as well, to see that there is one.
func (s *Segment) At(i uint32) *Entry {
	return (*Entry)(unsafe.Add(unsafe.Pointer(s), uintptr(i)*unsafe.Sizeof(Entry(0))))
}

// Slots yields those that were inserted with a hash.
func (x *Index) Slots(hash uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		s := x.Segment(hash)
		for i := Home(hash); *s.At(i) != 0; i = After(i) {
			if e := *s.At(i); e.Hash() == hash && !yield(e.Slot()) {
				return
			}
		}
	}
}

// Reset makes the index an empty one.
func (x *Index) Reset() {
	*x = Index{directory: []*Segment{newSegment()}, numbers: []uint32{0}, heads: []head{{}}}
}

// newSegment returns an empty segment. The kernel maps a page anew, on every CPU,
// that is written to only after it was read.
func newSegment() *Segment {
	const page = 4096 / 8
	s := new(Segment)
	for i := 0; i < segmentSlots; i += page {
		s.entries[i] = 0
	}
	return s
}

// Insert adds an entry. Several may have the same hash.
func (x *Index) Insert(hash, slot uint32) {
	h := x.head(hash)
	for h.count >= segmentFull && h.depth < maxDepth {
		x.split(hash)
		h = x.head(hash)
	}
	x.Segment(hash).insert(newEntry(hash, slot))
	h.count++
}

// head returns that of the segment where a hash may stand. It is valid until a split.
func (x *Index) head(hash uint32) *head { return &x.heads[x.numbers[x.place(hash)]] }

// maxDepth leaves the bits of Home to the segments. Slots run out before.
const maxDepth = 20

func (s *Segment) insert(e Entry) {
	i := Home(e.Hash())
	for *s.At(i) != 0 {
		i = After(i)
	}
	*s.At(i) = e
}

// split moves half of the segment that hash belongs to into a new one.
func (x *Index) split(hash uint32) {
	if x.head(hash).depth == x.depth {
		x.double()
	}
	s, h := x.Segment(hash), x.head(hash)
	low, high := x.spare, newSegment()
	if low == nil {
		low = newSegment()
	}
	h.depth++
	other := head{depth: h.depth}
	for _, e := range &s.entries {
		switch {
		case e == 0:
		case e.Hash()>>(32-h.depth)&1 == 0:
			low.insert(e)
		default:
			high.insert(e)
			other.count++
		}
	}
	h.count -= other.count

	n := 1 << (x.depth - other.depth) // directory entries of each half
	first := int(x.place(hash)) &^ (2*n - 1)
	for i := first; i < first+n; i++ {
		x.directory[i] = low
		x.directory[n+i], x.numbers[n+i] = high, uint32(len(x.heads))
	}
	x.heads = append(x.heads, other)
	*s = Segment{}
	x.spare = s
}

// double has the directory use another bit of the hash.
func (x *Index) double() {
	directory, numbers := make([]*Segment, 2*len(x.directory)), make([]uint32, 2*len(x.numbers))
	for i := range directory {
		directory[i], numbers[i] = x.directory[i/2], x.numbers[i/2]
	}
	x.directory, x.numbers = directory, numbers
	x.depth++
}

// Remove takes out an entry that is there, and closes the gap in its run.
func (x *Index) Remove(hash, slot uint32) {
	s := x.Segment(hash)
	gap := Home(hash)
	for e := newEntry(hash, slot); s.entries[gap] != e; {
		gap = After(gap)
	}
	for i := After(gap); s.entries[i] != 0; i = After(i) {
		if h := Home(s.entries[i].Hash()); distance(h, i) >= distance(gap, i) {
			s.entries[gap] = s.entries[i]
			gap = i
		}
	}
	s.entries[gap] = 0
	x.head(hash).count--
}

// distance is how many steps of After lead from one place to another.
func distance(from, to uint32) uint32 { return (to - from) % segmentSlots }

// Bytes is what the index occupies.
func (x *Index) Bytes() int {
	n := len(x.heads)*(segmentBytes+4) + (8+4)*len(x.directory)
	if x.spare != nil {
		n += segmentBytes
	}
	return n
}

// Ceiling bounds the memory of an Index of so many entries: a split leaves about half
// in each segment. Its head is in a list that grows by appending, a quarter more each
// time; four entries of the directory may stand for it.
func Ceiling(entries int64) int64 {
	return (entries/(segmentFull/2) + 2) * (segmentBytes + 9 + 4*(8+4))
}
