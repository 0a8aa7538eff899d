package names

// ring is a pool of entries that knows which is its oldest. They stay where they are
// and are used again, so a steady coming and going allocates nothing.
type ring[K comparable, V any] struct {
	chunks [][]node[K, V]
	used   uint32 // nodes so far; node 0 closes the ring: next is the oldest, prev the youngest
	free   uint32 // first free node, linked by next; 0 is none
	n, max int
}

const nodesPerChunk = 64

type node[K comparable, V any] struct {
	key        K
	prev, next uint32
	value      V
}

func newRing[K comparable, V any](max int) ring[K, V] {
	r := ring[K, V]{max: max}
	r.fresh()
	return r
}

func (r *ring[K, V]) at(i uint32) *node[K, V] { return &r.chunks[i/nodesPerChunk][i%nodesPerChunk] }

// fresh adds a node.
func (r *ring[K, V]) fresh() uint32 {
	if r.used%nodesPerChunk == 0 {
		r.chunks = append(r.chunks, make([]node[K, V], nodesPerChunk))
	}
	r.used++
	return r.used - 1
}

func (r *ring[K, V]) len() int   { return r.n }
func (r *ring[K, V]) full() bool { return r.n >= r.max }

// first returns the node of the oldest entry. There must be one.
func (r *ring[K, V]) first() uint32 { return r.at(0).next }

// oldest returns the oldest entry. There must be one.
func (r *ring[K, V]) oldest() (K, *V) {
	n := r.at(r.first())
	return n.key, &n.value
}

// enter makes k the youngest entry and returns its node, never 0. The value is what
// the node's last user left.
func (r *ring[K, V]) enter(k K) uint32 {
	i := r.free
	if i != 0 {
		r.free = r.at(i).next
	} else {
		i = r.fresh()
	}
	r.at(i).key = k
	r.link(i)
	r.n++
	return i
}

func (r *ring[K, V]) leave(i uint32) {
	r.unlink(i)
	r.at(i).next = r.free
	r.free = i
	r.n--
}

// renew makes the entry of a node the youngest.
func (r *ring[K, V]) renew(i uint32) {
	if r.at(0).prev != i {
		r.unlink(i)
		r.link(i)
	}
}

func (r *ring[K, V]) link(i uint32) {
	first, n := r.at(0), r.at(i)
	last := first.prev
	n.prev, n.next = last, 0
	r.at(last).next = i
	first.prev = i
}

func (r *ring[K, V]) unlink(i uint32) {
	n := r.at(i)
	r.at(n.prev).next = n.next
	r.at(n.next).prev = n.prev
}

// fifo is a map that knows which entry is its oldest.
type fifo[K comparable, V any] struct {
	ring[K, V]
	index map[K]uint32
}

func newFIFO[K comparable, V any](max int) *fifo[K, V] {
	return &fifo[K, V]{newRing[K, V](max), map[K]uint32{}}
}

// get returns the value of k, or nil. The pointer is valid until k is removed.
func (f *fifo[K, V]) get(k K) *V {
	if f.n == 0 {
		return nil
	}
	if i, ok := f.index[k]; ok {
		return &f.at(i).value
	}
	return nil
}

// add makes k, which must not be there, the youngest entry. Its value is what
// the node's last user left.
func (f *fifo[K, V]) add(k K) *V {
	i := f.enter(k)
	f.index[k] = i
	return &f.at(i).value
}

// touch makes k the youngest entry.
func (f *fifo[K, V]) touch(k K) {
	if i, ok := f.index[k]; ok {
		f.renew(i)
	}
}

func (f *fifo[K, V]) remove(k K) {
	if i, ok := f.index[k]; ok {
		delete(f.index, k)
		f.leave(i)
	}
}

// bySlot is a fifo whose keys are slots of flows. Those of flows that began together
// stand together, so it looks them up by place: a new flow is one line of memory.
type bySlot[V any] struct {
	ring[uint32, V]
	chunks []*slotChunk // nil where no slot has an entry
	spare  *slotChunk   // empty: the last that was given up
}

type slotChunk struct {
	nodes [slotsPerChunk]uint32 // 0: none
	used  int
}

const slotsPerChunk = 2048

func newBySlot[V any](max int) *bySlot[V] {
	return &bySlot[V]{ring: newRing[uint32, V](max)}
}

func (f *bySlot[V]) node(slot uint32) uint32 {
	if c := slot / slotsPerChunk; int(c) < len(f.chunks) && f.chunks[c] != nil {
		return f.chunks[c].nodes[slot%slotsPerChunk]
	}
	return 0
}

func (f *bySlot[V]) get(slot uint32) *V {
	if i := f.node(slot); i != 0 {
		return &f.at(i).value
	}
	return nil
}

func (f *bySlot[V]) add(slot uint32) *V {
	n := int(slot / slotsPerChunk)
	for n >= len(f.chunks) {
		f.chunks = append(f.chunks, nil)
	}
	c := f.chunks[n]
	if c == nil {
		if c, f.spare = f.spare, nil; c == nil {
			c = new(slotChunk)
		}
		f.chunks[n] = c
	}
	i := f.enter(slot)
	c.nodes[slot%slotsPerChunk] = i
	c.used++
	return &f.at(i).value
}

func (f *bySlot[V]) touch(slot uint32) {
	if i := f.node(slot); i != 0 {
		f.renew(i)
	}
}

func (f *bySlot[V]) remove(slot uint32) {
	i := f.node(slot)
	if i == 0 {
		return
	}
	n := slot / slotsPerChunk
	c := f.chunks[n]
	c.nodes[slot%slotsPerChunk] = 0
	if c.used--; c.used == 0 {
		f.chunks[n], f.spare = nil, c
	}
	f.leave(i)
}
