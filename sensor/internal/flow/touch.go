package flow

import "github.com/netmon-sensor/netmon/sensor/internal/packet"

// Touch stores the hash of the packet's key in h and asks for the line of the
// index that Find will read. It must come before Add. The cache misses of a batch
// overlap where all its Touches come before the first Find, and all its Finds
// before the first Add.
func (t *Table) Touch(h *packet.Header, iface uint16) {
	if h.Version == 4 {
		src, _ := ends4(h, iface)
		hash := src.hash(&t.seed)
		h.Hash = uint64(hash)
		t.v4.index.Prefetch(hash)
	} else {
		var k keys[key6]
		keys6(&k, h, iface)
		hash := hash6(&k.src, &t.seed)
		h.Hash = uint64(hash)
		t.v6.index.Prefetch(hash)
	}
}

// Find guesses the slot of a touched packet, stores it above the hash and asks for
// the state that Add will need. Add does without, but slower.
func (t *Table) Find(h *packet.Header) {
	if h.Version == 4 {
		h.Hash |= t.v4.guess(uint32(h.Hash)) << 32
	} else {
		h.Hash |= t.v6.guess(uint32(h.Hash)) << 32
	}
}
