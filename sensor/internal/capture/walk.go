package capture

import (
	"encoding/binary"
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// Offsets into a TPACKET_V3 ring (linux/if_packet.h): the header of a block, and
// that of a packet with the sockaddr_ll behind it.
const (
	blockStatus = 8
	blockCount  = 12
	blockFirst  = 16
	blockHeader = 48

	packetNext     = 0
	packetSec      = 4
	packetNsec     = 8
	packetCaptured = 12
	packetWire     = 16
	packetMac      = 24
	packetAddress  = 48
	packetIndex    = packetAddress + 4
	packetHatype   = packetAddress + 8
	packetType     = packetAddress + 10
	packetHeader   = packetAddress + 20
)

const (
	// ringBlock is how many packets of a block of the ring are given at a time: those
	// that a shard works on together.
	ringBlock = 32

	// ahead is how far behind a packet the lines are asked for that the next
	// packets stand in: about as many short ones as are given at a time. They come
	// while those at hand are worked on.
	ahead = 4608
)

func (r *ringSource) openBlock() {
	base := r.block * r.size.block
	h := r.ring[base : base+blockHeader]
	r.holding = true
	r.opened.Store(r.age())
	r.left = binary.NativeEndian.Uint32(h[blockCount:])
	r.at = base + int(binary.NativeEndian.Uint32(h[blockFirst:]))
}

// walk gives up to ringBlock packets of the block at hand.
func (r *ringSource) walk() []Packet {
	end := (r.block + 1) * r.size.block
	n, skipped := 0, uint64(0)
	for r.left > 0 && n < len(r.out) {
		if r.at+packetHeader > end {
			r.breakOff()
			break
		}
		if next := r.at + ahead; next < end-prefetch.LineSize {
			prefetch.Line(unsafe.Pointer(&r.ring[next]))
			prefetch.Line(unsafe.Pointer(&r.ring[next+prefetch.LineSize]))
		}
		h := r.ring[r.at : r.at+packetHeader : end]
		mac := r.at + int(binary.NativeEndian.Uint16(h[packetMac:]))
		captured := binary.NativeEndian.Uint32(h[packetCaptured:])
		if uint64(mac)+uint64(captured) > uint64(end) {
			r.breakOff()
			break
		}
		step := int(binary.NativeEndian.Uint32(h[packetNext:]))
		if r.left--; r.left > 0 && step < packetHeader {
			r.breakOff()
		}
		r.at += step

		if i := int32(binary.NativeEndian.Uint32(h[packetIndex:])); i != r.index {
			r.lookUp(i)
		}
		at := int64(binary.NativeEndian.Uint32(h[packetSec:]))*1e9 + int64(binary.NativeEndian.Uint32(h[packetNsec:]))
		if !r.ours || at < r.since {
			skipped++
			continue
		}
		if t := binary.NativeEndian.Uint16(h[packetHatype:]); t != r.hatype {
			r.hatype, r.link = t, linkOf(t)
		}
		r.advance(at)
		p := &r.out[n]
		n++
		p.Data = r.ring[mac : mac+int(captured) : mac+int(captured)]
		p.Time, p.Clock, p.Order = at, r.clock, uint64(at)
		p.Length = max(binary.NativeEndian.Uint32(h[packetWire:]), captured)
		p.Link = r.link
		p.Interface = r.known
		p.Type = typeOf(h[packetType])
	}
	r.delivered.Add(uint64(n))
	if skipped > 0 {
		r.skipped.Add(skipped)
	}
	return r.out[:n]
}

// breakOff gives up the rest of a block whose headers contradict themselves.
func (r *ringSource) breakOff() {
	r.damaged.Add(uint64(max(r.left, 1)))
	r.left = 0
}

// lookUp remembers what device an index is, for the packets after this one.
func (r *ringSource) lookUp(index int32) {
	r.index = index
	r.known, r.ours = r.seen.numbers[index]
}

func typeOf(kernel byte) Type {
	if t := Type(kernel); t <= TypeOutgoing {
		return t
	}
	return TypeUnknown
}
