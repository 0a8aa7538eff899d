package capture

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng, section 4).
const (
	ngSection   = 0x0a0d0d0a // reads the same in both byte orders
	ngDescribes = 1
	ngOldPacket = 2
	ngSimple    = 3
	ngEnhanced  = 6

	// maxBlock is the longest block that is looked into: a record and its options.
	maxBlock = maxRecord + 1<<20

	// ngOrder is the byte-order magic as a little-endian section writes it.
	ngOrder = 0x1a2b3c4d
)

// Options of the interface description block.
const (
	ngEndOfOptions = 0
	ngResolution   = 9
	ngOffset       = 14
)

// ngInterface is one interface description of a section.
type ngInterface struct {
	link   uint16
	snap   uint32 // 0: unlimited
	base2  bool
	digits uint8 // time stamps count units of 10^-digits or 2^-digits seconds
	offset int64 // seconds
}

// nextBlock fills p from the next block that holds a packet.
func (c *cursor) nextBlock(p *Packet) bool {
	for left := c.left(); left > 0; left = c.left() {
		if left < 12 {
			return c.broken("block before record", "cut off")
		}
		if !c.has(12) {
			return false
		}
		rest := c.data[c.off:]
		if binary.LittleEndian.Uint32(rest) == ngSection {
			c.big = binary.LittleEndian.Uint32(rest[8:]) != ngOrder
			c.interfaces = c.interfaces[:0]
		}
		var kind, length uint32
		if c.big {
			kind, length = binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:])
		} else {
			kind, length = binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
		}
		if length < 12 || length%4 != 0 || int64(length) > left {
			return c.broken("block before record", "bad block length or cut off")
		}
		if !ngRead(kind) {
			c.off += int(length)
			continue
		}
		if length > maxBlock {
			return c.broken("block before record", fmt.Sprintf("absurd length %d", length))
		}
		if !c.has(int(length)) {
			return false
		}
		body := rest[8 : length-4]
		got, ok := false, true
		switch kind {
		case ngEnhanced, ngOldPacket:
			if len(body) >= 20 {
				got, ok = c.packetBlock(p, kind, body)
			}
		case ngSimple:
			if len(body) >= 4 {
				got, ok = c.simpleBlock(p, body)
			}
		case ngDescribes:
			if len(body) >= 8 {
				c.interfaces = append(c.interfaces, describe(c.order(), body))
			}
		}
		if !ok {
			return false
		}
		c.off += int(length)
		if got {
			return true
		}
	}
	return false
}

// ngRead tells whether blocks of this kind are looked into.
func ngRead(kind uint32) bool {
	switch kind {
	case ngEnhanced, ngOldPacket, ngSimple, ngDescribes:
		return true
	}
	return false
}

// packetBlock reads an enhanced or an old packet block; they differ in the
// first two words only.
func (c *cursor) packetBlock(p *Packet, kind uint32, body []byte) (got, ok bool) {
	var id, high, low, captured, wire uint32
	if h := body[:20]; c.big {
		id, high, low = binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
		captured, wire = binary.BigEndian.Uint32(h[12:]), binary.BigEndian.Uint32(h[16:])
	} else {
		id, high, low = binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:]), binary.LittleEndian.Uint32(h[8:])
		captured, wire = binary.LittleEndian.Uint32(h[12:]), binary.LittleEndian.Uint32(h[16:])
	}
	if kind == ngOldPacket { // 16 bits of interface, 16 of drops
		id = uint32(c.order().Uint16(body))
	}
	if uint64(id) >= uint64(len(c.interfaces)) {
		return false, c.broken("record", "packet of an interface that is not described")
	}
	if uint64(captured) > uint64(len(body)-20) {
		return false, c.broken("record", "packet longer than its block")
	}
	i := &c.interfaces[id]
	end := 20 + int(captured)
	p.Data = body[20:end:end]
	p.Time = c.time(i, uint64(high)<<32|uint64(low))
	p.Link = i.link
	p.Length = wireLength(captured, wire)
	return true, true
}

// simpleBlock reads a simple packet block: no time, always the first interface.
func (c *cursor) simpleBlock(p *Packet, body []byte) (got, ok bool) {
	if len(c.interfaces) == 0 {
		return false, c.broken("record", "packet before any interface is described")
	}
	i := &c.interfaces[0]
	wire := c.order().Uint32(body)
	captured := min(wire, uint32(len(body)-4))
	if i.snap != 0 {
		captured = min(captured, i.snap)
	}
	end := 4 + int(captured)
	p.Data = body[4:end:end]
	p.Time = 0
	p.Link = i.link
	p.Length = wireLength(captured, wire)
	return true, true
}

func describe(order binary.ByteOrder, body []byte) ngInterface {
	i := ngInterface{link: order.Uint16(body), snap: order.Uint32(body[4:]), digits: 6}
	for o := body[8:]; len(o) >= 4; {
		code, length := order.Uint16(o), int(order.Uint16(o[2:]))
		if code == ngEndOfOptions {
			break
		}
		v := o[4:min(4+length, len(o))]
		switch {
		case code == ngResolution && len(v) >= 1:
			i.base2, i.digits = v[0]&0x80 != 0, v[0]&0x7f
		case code == ngOffset && len(v) >= 8:
			i.offset = int64(order.Uint64(v))
		}
		o = o[min(4+(length+3)&^3, len(o)):]
	}
	return i
}

// time turns a time stamp into Unix nanoseconds or, from lateTime on, into what
// File.Unix understands. What fits neither stays at the end of the range.
func (c *cursor) time(i *ngInterface, stamp uint64) int64 {
	if !i.base2 && i.digits == 6 && i.offset == 0 && stamp < lateTime/1000 {
		return int64(stamp) * 1000
	}
	before, seconds, ns := i.seconds(stamp)
	switch {
	case before > 0:
		return -int64(min(before, math.MaxInt64/second))*second + ns
	case seconds < lateTime/second:
		return int64(seconds)*second + ns
	case c.late == 0:
		c.late = seconds - lateRange/2
	}
	if seconds < c.late {
		return lateTime
	}
	return lateTime + int64(min(seconds-c.late, lateRange))*second + ns
}

const (
	second = 1_000_000_000

	// lateTime is in the year 2116. Captures have been seen whose first packets
	// are of today and the others 584,542 years later.
	lateTime = 1 << 62

	// lateRange is how many seconds fit int64 behind lateTime, as nanoseconds.
	lateRange = (math.MaxInt64-lateTime)/second - 1
)

// seconds turns a time stamp into Unix seconds and nanoseconds. Where it lies before
// 1970, seconds is 0 and before says how far.
func (i *ngInterface) seconds(stamp uint64) (before, seconds uint64, ns int64) {
	high, low := uint64(0), stamp
	switch {
	case i.base2:
		high, low = bits.Mul64(stamp, 1e9)
		if n := uint(i.digits); n < 64 {
			high, low = high>>n, low>>n|high<<(64-n)
		} else {
			high, low = 0, high>>(n-64)
		}
	case i.digits <= 9:
		high, low = bits.Mul64(stamp, pow10(9-i.digits))
	case i.digits <= 9+19:
		low = stamp / pow10(i.digits-9)
	default:
		low = 0 // less than a nanosecond
	}
	seconds, rest := bits.Div64(high, low, 1e9)
	if i.offset >= 0 {
		sum, carry := bits.Add64(seconds, uint64(i.offset), 0)
		return 0, sum | -carry, int64(rest)
	}
	back := -uint64(i.offset)
	if back > seconds {
		return back - seconds, 0, int64(rest)
	}
	return 0, seconds - back, int64(rest)
}

func pow10(n uint8) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}
