package names

// ring is a pool of entries that knows which is its oldest. They live in one slice
// and are used again, so a steady coming and going allocates nothing.
type ring[K comparable, V any] struct {
	nodes []node[K, V] // node 0 closes the ring: next is the oldest, prev the youngest
	free  uint32       // first free node, linked by next; 0 is none
	n     int
}

type node[K comparable, V any] struct {
	key        K
	prev, next uint32
	value      V
}

func newRing[K comparable, V any]() ring[K, V] { return ring[K, V]{nodes: make([]node[K, V], 1)} }

func (r *ring[K, V]) len() int { return r.n }

// oldest returns the oldest entry. There must be one.
func (r *ring[K, V]) oldest() (K, *V) {
	n := &r.nodes[r.nodes[0].next]
	return n.key, &n.value
}

// enter makes k the youngest entry and returns its node, never 0. The value is what
// the node's last user left.
func (r *ring[K, V]) enter(k K) uint32 {
	i := r.free
	if i != 0 {
		r.free = r.nodes[i].next
	} else {
		i = uint32(len(r.nodes))
		r.nodes = append(r.nodes, node[K, V]{})
	}
	r.nodes[i].key = k
	r.link(i)
	r.n++
	return i
}

func (r *ring[K, V]) leave(i uint32) {
	r.unlink(i)
	r.nodes[i].next = r.free
	r.free = i
	r.n--
}

// renew makes the entry of a node the youngest.
func (r *ring[K, V]) renew(i uint32) {
	if r.nodes[0].prev != i {
		r.unlink(i)
		r.link(i)
	}
}

func (r *ring[K, V]) link(i uint32) {
	last := r.nodes[0].prev
	r.nodes[i].prev, r.nodes[i].next = last, 0
	r.nodes[last].next = i
	r.nodes[0].prev = i
}

func (r *ring[K, V]) unlink(i uint32) {
	n := &r.nodes[i]
	r.nodes[n.prev].next = n.next
	r.nodes[n.next].prev = n.prev
}

// fifo is a map that knows which entry is its oldest.
type fifo[K comparable, V any] struct {
	ring[K, V]
	index map[K]uint32
	max   int
}

func newFIFO[K comparable, V any](max int) *fifo[K, V] {
	return &fifo[K, V]{newRing[K, V](), map[K]uint32{}, max}
}

func (f *fifo[K, V]) full() bool { return f.n >= f.max }

// get returns the value of k, or nil. The pointer is valid until the next add.
func (f *fifo[K, V]) get(k K) *V {
	if f.n == 0 {
		return nil
	}
	if i, ok := f.index[k]; ok {
		return &f.nodes[i].value
	}
	return nil
}

// add makes k, which must not be there, the youngest entry. Its value is what
// the node's last user left.
func (f *fifo[K, V]) add(k K) *V {
	i := f.enter(k)
	f.index[k] = i
	return &f.nodes[i].value
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
	max    int
}

type slotChunk struct {
	nodes [slotsPerChunk]uint32 // 0: none
	used  int
}

const slotsPerChunk = 2048

func newBySlot[V any](max int) *bySlot[V] {
	return &bySlot[V]{ring: newRing[uint32, V](), max: max}
}

func (f *bySlot[V]) full() bool { return f.n >= f.max }

func (f *bySlot[V]) node(slot uint32) uint32 {
	if c := slot / slotsPerChunk; int(c) < len(f.chunks) && f.chunks[c] != nil {
		return f.chunks[c].nodes[slot%slotsPerChunk]
	}
	return 0
}

func (f *bySlot[V]) get(slot uint32) *V {
	if i := f.node(slot); i != 0 {
		return &f.nodes[i].value
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
	return &f.nodes[i].value
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
