package names

import "encoding/binary"

// fragmentKey is what the fragments of a datagram have in common.
type fragmentKey struct {
	src, dst          [16]byte
	id                uint32
	version, protocol uint8
}

// datagram is a UDP datagram of which some fragments are missing.
type datagram struct {
	data  *assembly // nil where its ports are not DNS's
	first int64     // time of the fragment seen first
	total int       // length once the last fragment was seen, else 0
}

const (
	// maxDatagram is the longest datagram put together.
	maxDatagram = 65535
	// fragmentIdle is how long fragments wait for the others (DEFINITIONS 2.5).
	fragmentIdle = 30e9
)

// Fragment looks at a fragment of a UDP datagram: p's payload is what follows the
// IP headers, at offset bytes into the datagram, so that the UDP header is at the
// start of the fragment with offset 0, and its ports are not used. more is the
// flag: others follow this one. Datagrams of port 53 or 5353 are put together,
// others left alone. One whose first fragment was cut off is never whole: that
// fragment is taken for the message, cut off.
func (o *Observer) Fragment(version, protocol uint8, id, offset uint32, more bool, p *Packet) {
	payload := p.Payload
	if protocol != 17 || len(payload) == 0 || uint64(offset)+uint64(len(payload)) > maxDatagram {
		return
	}
	k := fragmentKey{p.Src, p.Dst, id, version, protocol}
	g := o.fragments.get(k)
	if g != nil && p.Time-g.first > fragmentIdle {
		o.dropDatagram(k, g) // the number is used again
		g = nil
	}
	if g == nil {
		g = o.addDatagram(k, p.Time)
		if g.data = o.keepDNS(p, nil, smallestBuffer); g.data == nil {
			o.dropDatagram(k, g)
			return
		}
	}
	if cut := uint32(len(payload)) < p.PayloadLength; offset == 0 && (cut || !startsDNS(payload)) {
		if cut && startsDNS(payload) {
			o.datagram(payload, p.PayloadLength, p)
		}
		o.dnsArena.give(g.data)
		g.data = nil
	}
	if g.data == nil {
		return // it stays known, so that the rest is not held
	}
	end := int(offset) + len(payload)
	if !more {
		g.total = end
	}
	a := o.keepDNS(p, g.data, end)
	if a == nil {
		o.dropDatagram(k, g)
		return
	}
	g.data = a
	a.insert(int(offset), payload)
	if b := a.prefix(); g.total > 0 && len(b) >= g.total {
		o.datagram(b[:g.total], uint32(g.total), p)
		o.dropDatagram(k, g)
	}
}

// startsDNS says whether a datagram begins with the UDP header of a DNS message.
func startsDNS(b []byte) bool {
	return len(b) >= 8 && (isDNSPort(binary.BigEndian.Uint16(b)) || isDNSPort(binary.BigEndian.Uint16(b[2:])))
}

// datagram handles one of length bytes, of which b is there with packet p.
func (o *Observer) datagram(b []byte, length uint32, p *Packet) {
	if len(b) < 8 {
		return
	}
	q := *p
	q.SrcPort, q.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if n := int(binary.BigEndian.Uint16(b[4:])); n >= 8 && n < len(b) {
		b, length = b[:n], uint32(n)
	}
	o.message(&q, b[8:], length-8, 17)
}

func (o *Observer) addDatagram(k fragmentKey, time int64) *datagram {
	if o.fragments.full() {
		oldest, g := o.fragments.oldest()
		if g.data != nil {
			o.out.Stats.StreamsOverflowed++
		}
		o.dropDatagram(oldest, g)
	}
	g := o.fragments.add(k)
	*g = datagram{first: time}
	return g
}

func (o *Observer) expireFragments(clock int64) {
	for o.fragments.len() > 0 {
		k, g := o.fragments.oldest()
		if clock-g.first <= fragmentIdle {
			return
		}
		o.dropDatagram(k, g)
	}
}

func (o *Observer) dropDatagram(k fragmentKey, g *datagram) {
	o.dnsArena.give(g.data)
	g.data = nil
	o.fragments.remove(k)
}
