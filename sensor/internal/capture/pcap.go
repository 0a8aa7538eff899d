package capture

import (
	"encoding/binary"
	"fmt"
)

const (
	// maxWire is the longest length on the wire that is believed (DEFINITIONS
	// 1.2).
	maxWire = 16 << 20

	// maxRecord is the longest record that is believed; more is damage
	// (DEFINITIONS 1.3).
	maxRecord = 64 << 20

	pcapHeader = 24
)

// cursor walks the records of a capture. It is a value: shards each start from
// a copy of the first one.
type cursor struct {
	data   []byte // a stretch of the capture
	base   int64  // where in the capture data begins
	size   int64  // of the capture
	off    int    // of the next record in data; it may lie beyond
	need   int    // bytes from off on that the next record needs and data lacks; 0: none
	frames uint64 // given so far
	clock  int64  // latest time of any of them
	damage error  // why the walk ended before the end of the capture

	big bool // byte order of the file, or of the section
	ng  bool

	// pcap
	record int // length of a record header: 16, or 24 in the modified format
	scale  int64
	link   uint16

	// pcapng
	interfaces []ngInterface // of the section, in order
	late       uint64        // what times behind lateTime count from, Unix seconds; 0: none was seen
}

// newCursor begins a walk. data is the first stretch of a capture of size bytes:
// all of it, or at least its first pcapHeader bytes.
func newCursor(data []byte, size int64) (cursor, error) {
	c := cursor{data: data, size: size}
	if len(data) < 4 {
		return c, ErrNotCapture
	}
	c.record = 16
	switch magic := binary.LittleEndian.Uint32(data); magic {
	case 0xa1b2c3d4, 0xd4c3b2a1:
		c.big, c.scale = magic == 0xd4c3b2a1, 1000
	case 0xa1b23c4d, 0x4d3cb2a1:
		c.big, c.scale = magic == 0x4d3cb2a1, 1
	case 0xa1b2cd34, 0x34cdb2a1:
		c.big, c.scale, c.record = magic == 0x34cdb2a1, 1000, 24
	case ngSection:
		c.ng = true
		return c, nil
	default:
		return c, ErrNotCapture
	}
	if len(data) < pcapHeader {
		return c, fmt.Errorf("file header cut off: %w", ErrNotCapture)
	}
	// The upper half of the word holds the length of the FCS and flags.
	c.link = uint16(c.u32(20))
	c.off = pcapHeader
	return c, nil
}

// left is how many bytes of the capture are to come.
func (c *cursor) left() int64 { return c.size - c.base - int64(c.off) }

// has tells whether the next n bytes of the capture are in data. Where they are
// not, though the capture has them, the walk pauses until a later stretch.
func (c *cursor) has(n int) bool {
	if c.off+n <= len(c.data) {
		return true
	}
	c.need = n
	return false
}

// next fills p with the next frame. It returns false at the end, at damage, and
// where need says that it wants more data.
func (c *cursor) next(p *Packet) bool {
	if c.ng {
		if !c.nextBlock(p) {
			return false
		}
	} else if !c.nextRecord(p) {
		return false
	}
	c.frames++
	c.clock = max(c.clock, p.Time)
	p.Clock, p.Order = c.clock, c.frames
	p.Interface, p.Type = 0, TypeUnknown
	return true
}

func (c *cursor) nextRecord(p *Packet) bool {
	left := c.left()
	if left < int64(c.record) {
		if left > 0 {
			return c.broken("record", "header cut off")
		}
		return false
	}
	if !c.has(c.record) {
		return false
	}
	rest := c.data[c.off:]
	var sec, sub, captured, wire uint32
	if h := rest[:16]; c.big {
		sec, sub = binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[4:])
		captured, wire = binary.BigEndian.Uint32(h[8:]), binary.BigEndian.Uint32(h[12:])
	} else {
		sec, sub = binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:])
		captured, wire = binary.LittleEndian.Uint32(h[8:]), binary.LittleEndian.Uint32(h[12:])
	}
	if captured > maxRecord {
		return c.broken("record", fmt.Sprintf("absurd length %d", captured))
	}
	end := c.record + int(captured)
	if int64(end) > left {
		return c.broken("record", "cut off")
	}
	if !c.has(end) {
		return false
	}
	p.Data = rest[c.record:end:end]
	p.Time = int64(sec)*1e9 + int64(sub)*c.scale
	p.Link = c.link
	p.Length = wireLength(captured, wire)
	c.off += end
	return true
}

// wireLength is DEFINITIONS 1.2.
func wireLength(captured, wire uint32) uint32 {
	if wire < captured || wire > maxWire {
		return captured
	}
	return wire
}

// broken notes damage at the record or block that would be next.
func (c *cursor) broken(what, why string) bool {
	c.damage = fmt.Errorf("%s %d at offset %d: %s", what, c.frames+1, c.base+int64(c.off), why)
	return false
}

func (c *cursor) u32(off int) uint32 { return c.order().Uint32(c.data[off:]) }

func (c *cursor) order() binary.ByteOrder {
	if c.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}
