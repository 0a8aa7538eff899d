package names

// fifo is a map that knows which entry is its oldest. Entries live in one slice
// and are used again, so a steady coming and going allocates nothing.
type fifo[K comparable, V any] struct {
	index map[K]uint32
	nodes []node[K, V] // node 0 closes the ring: next is the oldest, prev the youngest
	free  uint32       // first free node, linked by next; 0 is none
	max   int
}

type node[K comparable, V any] struct {
	key        K
	prev, next uint32
	value      V
}

func newFIFO[K comparable, V any](max int) *fifo[K, V] {
	return &fifo[K, V]{index: map[K]uint32{}, nodes: make([]node[K, V], 1), max: max}
}

func (f *fifo[K, V]) len() int   { return len(f.index) }
func (f *fifo[K, V]) full() bool { return len(f.index) >= f.max }

// get returns the value of k, or nil. The pointer is valid until the next add.
func (f *fifo[K, V]) get(k K) *V {
	if len(f.index) == 0 {
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
	i := f.free
	if i != 0 {
		f.free = f.nodes[i].next
	} else {
		i = uint32(len(f.nodes))
		f.nodes = append(f.nodes, node[K, V]{})
	}
	f.nodes[i].key = k
	f.link(i)
	f.index[k] = i
	return &f.nodes[i].value
}

// touch makes k the youngest entry.
func (f *fifo[K, V]) touch(k K) {
	if i, ok := f.index[k]; ok && f.nodes[0].prev != i {
		f.unlink(i)
		f.link(i)
	}
}

func (f *fifo[K, V]) remove(k K) {
	i, ok := f.index[k]
	if !ok {
		return
	}
	delete(f.index, k)
	f.unlink(i)
	f.nodes[i].next = f.free
	f.free = i
}

// oldest returns the oldest entry. The fifo must not be empty.
func (f *fifo[K, V]) oldest() (K, *V) {
	n := &f.nodes[f.nodes[0].next]
	return n.key, &n.value
}

func (f *fifo[K, V]) link(i uint32) {
	last := f.nodes[0].prev
	f.nodes[i].prev, f.nodes[i].next = last, 0
	f.nodes[last].next = i
	f.nodes[0].prev = i
}

func (f *fifo[K, V]) unlink(i uint32) {
	n := &f.nodes[i]
	f.nodes[n.prev].next = n.next
	f.nodes[n.next].prev = n.prev
}
