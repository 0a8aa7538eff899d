package flow

import (
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// An index finds slots by hash. It is an extendible hash table: a directory of
// segments, each open addressing with linear probing over one run of memory.
// A segment that is three quarters full is split in two, which moves at most
// segmentFull entries; nothing ever moves the whole table, so no packet waits
// for that. It holds no pointers but the directory's.
type index struct {
	directory []*segment // by the top bits of the hash; several may be one segment
	depth     uint8      // log2 of the directory's length
	segments  int
	spare     *segment // empty; what the last split left over
}

// A segment is 32 KiB sharp, a size class of the allocator: hence one entry
// less than a power of two.
type segment struct {
	entries [segmentSlots]entry // first: see at
	count   uint16
	depth   uint8 // how many top bits of the hash all its entries share
}

const (
	segmentSlots = 4095
	segmentFull  = segmentSlots * 3 / 4
	segmentBytes = 32 << 10
)

// An entry is a hash and, below it, a slot plus 1; 0 is free. The whole hash
// stands here, so that neither probing nor splitting reads the slab.
type entry uint64

func newEntry(hash, slot uint32) entry { return entry(hash)<<32 | entry(slot+1) }

func (e entry) hash() uint32 { return uint32(e >> 32) }
func (e entry) slot() uint32 { return uint32(e) - 1 }

// home is where probing for a hash starts: its low bits, while the directory
// uses the top ones.
func home(hash uint32) uint32 {
	if h := hash & 0xfff; h < segmentSlots {
		return h
	}
	return 0
}

func after(i uint32) uint32 {
	if i++; i < segmentSlots {
		return i
	}
	return 0
}

// segment returns the one segment where a hash may stand.
func (x *index) segment(hash uint32) *segment {
	return x.directory[uint64(hash)>>((32-x.depth)&63)]
}

// prefetch asks for the line where probing for a hash starts.
func (x *index) prefetch(hash uint32) {
	prefetch.Line(unsafe.Pointer(x.segment(hash).at(home(hash))))
}

// at returns where entry i stands, which home or after gave. Indexing would touch the
// beginning of the segment as well, to see that there is one.
func (s *segment) at(i uint32) *entry {
	return (*entry)(unsafe.Add(unsafe.Pointer(s), uintptr(i)*unsafe.Sizeof(entry(0))))
}

// reset makes the index an empty one.
func (x *index) reset() {
	*x = index{directory: []*segment{newSegment()}, segments: 1}
}

// newSegment returns an empty segment. The kernel maps a page anew, on every CPU,
// that is written to only after it was read.
func newSegment() *segment {
	const page = 4096 / 8
	s := new(segment)
	for i := 0; i < segmentSlots; i += page {
		s.entries[i] = 0
	}
	return s
}

func (x *index) insert(hash, slot uint32) {
	s := x.segment(hash)
	for s.count >= segmentFull && s.depth < maxDepth {
		x.split(s, hash)
		s = x.segment(hash)
	}
	s.insert(newEntry(hash, slot))
}

// maxDepth leaves the bits of home to the segments. Slots run out before.
const maxDepth = 20

func (s *segment) insert(e entry) {
	i := home(e.hash())
	for s.entries[i] != 0 {
		i = after(i)
	}
	s.entries[i] = e
	s.count++
}

// split moves half of the segment that hash belongs to into a new one.
func (x *index) split(s *segment, hash uint32) {
	if s.depth == x.depth {
		double := make([]*segment, 2*len(x.directory))
		for i, s := range x.directory {
			double[2*i], double[2*i+1] = s, s
		}
		x.directory = double
		x.depth++
	}
	low, high := x.spare, newSegment()
	if low == nil {
		low = newSegment()
	}
	low.depth, high.depth = s.depth+1, s.depth+1
	for _, e := range s.entries {
		switch {
		case e == 0:
		case e.hash()>>(31-s.depth)&1 == 0:
			low.insert(e)
		default:
			high.insert(e)
		}
	}
	x.segments++

	n := 1 << (x.depth - s.depth) // directory entries that are s
	first := int(uint64(hash)>>((32-x.depth)&63)) &^ (n - 1)
	for i := range n / 2 {
		x.directory[first+i] = low
		x.directory[first+n/2+i] = high
	}
	*s = segment{}
	x.spare = s
}

// remove takes out an entry that is there, and closes the gap in its run.
func (x *index) remove(hash, slot uint32) {
	s := x.segment(hash)
	gap := home(hash)
	for e := newEntry(hash, slot); s.entries[gap] != e; {
		gap = after(gap)
	}
	for i := after(gap); s.entries[i] != 0; i = after(i) {
		if h := home(s.entries[i].hash()); distance(h, i) >= distance(gap, i) {
			s.entries[gap] = s.entries[i]
			gap = i
		}
	}
	s.entries[gap] = 0
	s.count--
}

// distance is how many steps of after lead from one place to another.
func distance(from, to uint32) uint32 {
	if to >= from {
		return to - from
	}
	return to + segmentSlots - from
}

func (x *index) bytes() int {
	n := x.segments*segmentBytes + 8*len(x.directory)
	if x.spare != nil {
		n += segmentBytes
	}
	return n
}
