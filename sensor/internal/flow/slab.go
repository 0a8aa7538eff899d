package flow

import (
	"math"
	"slices"
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/index"
	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

const (
	chunkShift = 11
	chunkSlots = 1 << chunkShift
)

// A state is what every packet needs of its flow: one cache line in IPv4.
type state[K key] struct {
	key         K
	last        int64
	bytes       [2]uint64 // not harvested yet: sent, received
	packets     [2]uint32 // likewise, with a carry in Table.spilled
	next        [2]uint32 // TCP: see sequence; of a closed connection: see closedAt
	generation  uint32
	marks       marks
	side        Side
	application uint8
}

type marks uint16

const (
	markDirty           marks = 1 << iota // stands in the chunk's dirty or pending set
	markDecided                           // shows no name of its own, or no further one
	markBorn                              // its Born record has been given out
	markCounted                           // its first counters have been given out
	markFlowing                           // TCP: a packet without SYN, or a FIN or RST, was seen
	markISN                               // origin.isn is known
	markReplyISN                          // origin.replyISN is that of a SYN without ACK
	markMidstream                         // TCP: the first packet was no SYN
	markSentDecided                       // what the initiator sends shows no name
	markReceivedDecided                   // nor what the responder sends
	markHoles                             // TCP: some of it was skipped, see Table.holes
	markEnded                             // stands in no index

	phaseShift = 12 // the upper four bits are the phase
	phaseMask  = marks(numPhases-1) << phaseShift
)

// An origin is what is needed only where a flow begins, restarts or is
// harvested.
type origin struct {
	start         int64
	order         uint64
	isn, replyISN uint32 // sequence number of the initiator's SYN, and the responder's
	health               // of TCP, not harvested yet
}

// A chunk is a run of slots. A slot is free; or live, and then in the index; or,
// neither of the two, ended and waiting for the harvest of its last record. So
// within one harvest no slot stands for two flows.
type chunk[K key] struct {
	states     [chunkSlots]state[K] // first: see family.state
	origins    [chunkSlots]origin
	free, live bitset
	dirty      bitset // have something to say
	pending    bitset // had when the open harvest began, and have not said it
	used       int    // slots that are not free
	due        int64  // no live flow is idle before; may be too early
}

// A family is the flows of one IP version. Chunks are numbered across the
// families of a table, so that slots are.
type family[K key] struct {
	index  index.Index
	chunks []*chunk[K] // nil: the other family's, or nobody's
	open   []uint32    // chunks with free slots
	flows  int         // live
	hand   uint32      // slot at which the next search for a victim starts
}

// at returns the chunk of a slot, and the slot's place in it.
func (f *family[K]) at(slot uint32) (*chunk[K], uint32) {
	return f.chunks[slot>>chunkShift], slot % chunkSlots
}

// state returns what a slot holds. Its chunk, which must be there, is not touched, as
// indexing would, to see that it is.
func (f *family[K]) state(slot uint32) *state[K] {
	c, i := f.at(slot)
	return (*state[K])(unsafe.Add(unsafe.Pointer(c), uintptr(i)*unsafe.Sizeof(state[K]{})))
}

// has tells whether a slot is one of this family.
func (f *family[K]) has(slot uint32) bool {
	n := slot >> chunkShift
	return n < uint32(len(f.chunks)) && f.chunks[n] != nil
}

// find returns the live flow that has one of two keys, or noSlot.
func (f *family[K]) find(hash uint32, k *keys[K]) (uint32, *state[K]) {
	for slot := range f.index.Slots(hash) {
		if s := f.state(slot); s.key == k.src || s.key == k.dst {
			return slot, s
		}
	}
	return noSlot, nil
}

// noSlot is beyond every slot.
const noSlot = math.MaxUint32

// guess asks for the state that find will most likely return, and returns its slot
// plus 1, or 0. How far an entry is from its home cannot be foreseen: the first two
// are told apart without a branch.
func (f *family[K]) guess(hash uint32) uint64 {
	seg := f.index.Segment(hash)
	i := index.Home(hash)
	e := *seg.At(i)
	i = index.After(i)
	first := -index.Entry((uint64(e.Hash()^hash) - 1) >> 63) // all ones where e is it, else 0
	e = e&first | *seg.At(i)&^first
	for ; e.Hash() != hash; e = *seg.At(i) {
		if e == 0 {
			return 0
		}
		i = index.After(i)
	}
	if e == 0 {
		return 0
	}
	s := f.state(e.Slot())
	prefetch.Line(unsafe.Pointer(&s.key))
	if unsafe.Sizeof(*s) > prefetch.LineSize {
		prefetch.Line(unsafe.Pointer(&s.application)) // the last field
	}
	return uint64(e.Slot()) + 1
}

// take makes a free slot live and returns it.
func (f *family[K]) take(numbers *chunkNumbers) uint32 {
	if len(f.open) == 0 {
		f.grow(numbers.next())
	}
	n := f.open[len(f.open)-1]
	c := f.chunks[n]
	i := c.free.next(0)
	c.free.unset(i)
	c.live.set(i)
	c.used++
	f.flows++
	if c.free.empty() {
		f.open = f.open[:len(f.open)-1]
	}
	return n<<chunkShift | i
}

// grow adds chunk n.
func (f *family[K]) grow(n uint32) {
	for uint32(len(f.chunks)) <= n {
		f.chunks = append(f.chunks, nil)
	}
	c := &chunk[K]{due: math.MaxInt64}
	for i := range uint32(chunkSlots) {
		c.free.set(i)
	}
	f.chunks[n] = c
	f.open = append(f.open, n)
}

// end takes a live flow out of the index. Its slot waits for the harvest.
func (f *family[K]) end(seed *seed, slot uint32) {
	c, i := f.at(slot)
	f.index.Remove(c.states[i].key.hash(seed), slot)
	c.end(i)
	f.flows--
}

// end marks a slot as ended. The index must know already.
func (c *chunk[K]) end(i uint32) {
	c.live.unset(i)
	c.states[i].marks |= markEnded
	c.touch(i)
}

// touch marks a slot as one that has something to say.
func (c *chunk[K]) touch(i uint32) {
	c.states[i].marks |= markDirty
	c.dirty.set(i)
}

// bringForward has a slot that was touched say what it has in the open harvest.
func (c *chunk[K]) bringForward(i uint32) {
	c.dirty.unset(i)
	c.pending.set(i)
}

// begin has everything that stands in a dirty set say it in the harvest that opens.
func (f *family[K]) begin() {
	for _, c := range f.chunks {
		if c != nil {
			c.pending, c.dirty = c.dirty, bitset{}
		}
	}
}

// release frees the slot of an ended flow.
func (f *family[K]) release(slot uint32) {
	c, i := f.at(slot)
	if c.free.empty() {
		f.open = append(f.open, slot>>chunkShift)
	}
	c.free.set(i)
	c.used--
}

// shrink gives back chunk n if nothing is in it and others have free slots.
func (f *family[K]) shrink(n uint32, numbers *chunkNumbers) {
	if f.chunks[n].used > 0 || len(f.open) < 2 {
		return
	}
	i := slices.Index(f.open, n)
	f.open = slices.Delete(f.open, i, i+1)
	f.chunks[n] = nil
	numbers.free = append(numbers.free, n)
}

// bytes is what the family occupies.
func (f *family[K]) bytes() int {
	n := f.index.Bytes() + 8*len(f.chunks)
	for _, c := range f.chunks {
		if c != nil {
			n += int(unsafe.Sizeof(*c))
		}
	}
	return n
}

// chunkNumbers hands out the numbers of chunks.
type chunkNumbers struct {
	count uint32
	free  []uint32 // of chunks that were given back
}

func (c *chunkNumbers) next() uint32 {
	if last := len(c.free) - 1; last >= 0 {
		n := c.free[last]
		c.free = c.free[:last]
		return n
	}
	c.count++
	return c.count - 1
}
