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
	data   []byte
	off    int    // of the next record
	frames uint64 // given so far
	clock  int64  // latest time of any of them
	damage error  // why the walk ended before the end of data

	big bool // byte order of the file, or of the section
	ng  bool

	// pcap
	record int // length of a record header: 16, or 24 in the modified format
	scale  int64
	link   uint16

	interfaces []ngInterface // pcapng: of the section, in order
}

func newCursor(data []byte) (cursor, error) {
	c := cursor{data: data}
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

// next fills p with the next frame. It returns false at the end and at damage.
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
	rest := c.data[c.off:]
	if len(rest) < c.record {
		if len(rest) > 0 {
			return c.broken("record", "header cut off")
		}
		return false
	}
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
	if end > len(rest) {
		return c.broken("record", "cut off")
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
	c.damage = fmt.Errorf("%s %d at offset %d: %s", what, c.frames+1, c.off, why)
	return false
}

func (c *cursor) u32(off int) uint32 { return c.order().Uint32(c.data[off:]) }

func (c *cursor) order() binary.ByteOrder {
	if c.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}
