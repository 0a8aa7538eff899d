package flow

import "github.com/netmon-sensor/netmon/sensor/internal/packet"

// Touch stores the hash of the packet's key in h and asks for the memory that
// Add will need, so that the cache misses of a batch overlap. It must come
// before Add; in batches, all Touches before the first Add.
func (t *Table) Touch(h *packet.Header, iface uint16) {
	if h.Version == 4 {
		var k keys[key4]
		keys4(&k, h, iface)
		hash := k.src.hash(&t.seed)
		h.Hash = uint64(hash)
		t.v4.index.prefetch(hash)
	} else {
		var k keys[key6]
		keys6(&k, h, iface)
		hash := hash6(&k.src, &t.seed)
		h.Hash = uint64(hash)
		t.v6.index.prefetch(hash)
	}
	t.touched.push(h.Hash<<8 | uint64(h.Version))
	if t.touched.len() > touchAhead {
		t.touchNext()
	}
}

// touchAhead is how many packets later the line of the index has come that Touch
// asked for, so that the state it names can be asked for.
const touchAhead = 8

// touchNext asks for the state of the flow of the oldest packet touched.
func (t *Table) touchNext() {
	if x := t.touched.pop(); uint8(x) == 4 {
		t.v4.prefetch(uint32(x >> 8))
	} else {
		t.v6.prefetch(uint32(x >> 8))
	}
}

// A touchQueue holds hash and version of the packets touched last.
type touchQueue struct {
	items      [2 * touchAhead]uint64
	head, tail uint32
}

func (q *touchQueue) len() uint32 { return q.head - q.tail }

func (q *touchQueue) push(x uint64) {
	q.items[q.head%uint32(len(q.items))] = x
	q.head++
}

func (q *touchQueue) pop() uint64 {
	q.tail++
	return q.items[(q.tail-1)%uint32(len(q.items))]
}
