package names

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// Resource record types and classes (RFC 1035, section 3.2; RFC 3596).
const (
	typeA     = 1
	typeCNAME = 5
	typeAAAA  = 28
	typeSVCB  = 64 // RFC 9460, section 14.1
	typeHTTPS = 65
	classIN   = 1
)

const (
	// maxPointers bounds the compression pointers of one name: 127 labels
	// cannot need more.
	maxPointers = 126
	// maxCNAMEs bounds the CNAME records of one message that are looked at.
	maxCNAMEs = 64
	// maxHops is how far back a chain of CNAMEs is followed (DEFINITIONS 6.2).
	maxHops = 16
)

// dnsParser reads DNS messages (RFC 1035, section 4). Hostile ones included, it
// takes time in proportion to the message and allocates nothing in the long run.
type dnsParser struct {
	seed maphash.Seed

	msg    []byte
	text   []byte // names of msg in lower case with dots
	cnames []cname
	found  []address
	covers []span // of msg: public names of ECH configurations

	// last is the name behind the latest name that was only a pointer: nearly
	// all owners of a message point to the same place.
	lastPointer int
	last        dnsName

	question dnsName // of the first question
	qtype    uint16  // and its type, where asked
	asked    bool
	cut      bool // the message ended, or made no sense, before it should
}

// dnsName is text[start:end].
type dnsName struct {
	start, end int
	hash       uint64
}

type cname struct {
	owner, target dnsName
	before        int // the CNAME whose target is owner, or -1
}

// address is an A or AAAA record.
type address struct {
	owner dnsName
	ip    [16]byte
}

// parse reads the sections of a message with a whole header. mdns takes the
// additional section as well as the answers and ignores the top bit of classes,
// which means something else there (RFC 6762, section 10.2).
func (d *dnsParser) parse(msg []byte, mdns bool) {
	*d = dnsParser{
		seed: d.seed, msg: msg,
		text: d.text[:0], cnames: d.cnames[:0], found: d.found[:0], covers: d.covers[:0],
		lastPointer: -1,
	}
	at, ok := 12, true
	count := func(i int) int { return int(binary.BigEndian.Uint16(msg[4+2*i:])) }
	for i := 0; i < count(0) && ok; i++ {
		at, ok = d.readQuestion(at)
	}
	for i := 0; i < count(1) && ok; i++ {
		at, ok = d.record(at, mdns, true)
	}
	if mdns {
		for i := 0; i < count(2) && ok; i++ {
			at, ok = d.record(at, mdns, false)
		}
		for i := 0; i < count(3) && ok; i++ {
			at, ok = d.record(at, mdns, true)
		}
	}
	d.cut = !ok
	for i := range d.cnames {
		d.cnames[i].before = d.to(d.cnames[i].owner)
	}
}

func (d *dnsParser) readQuestion(at int) (next int, ok bool) {
	n, at, ok := d.name(at)
	if !ok || at+4 > len(d.msg) {
		return at, false
	}
	if !d.asked {
		d.question, d.qtype, d.asked = n, binary.BigEndian.Uint16(d.msg[at:]), true
	}
	return at + 4, true
}

// record reads one resource record; wanted keeps it where it is a CNAME or an
// address of class IN.
func (d *dnsParser) record(at int, mdns, wanted bool) (next int, ok bool) {
	owner, at, ok := d.name(at)
	if !ok || at+10 > len(d.msg) {
		return at, false
	}
	kind, class := binary.BigEndian.Uint16(d.msg[at:]), binary.BigEndian.Uint16(d.msg[at+2:])
	if mdns {
		class &= 0x7fff
	}
	n := int(binary.BigEndian.Uint16(d.msg[at+8:]))
	at += 10
	if at+n > len(d.msg) {
		return at, false
	}
	if wanted && class == classIN {
		d.keep(owner, kind, at, n)
	}
	return at + n, true
}

func (d *dnsParser) keep(owner dnsName, kind uint16, at, n int) {
	switch data := d.msg[at : at+n]; {
	case kind == typeA && n == 4:
		a := address{owner: owner}
		a.ip[10], a.ip[11] = 0xff, 0xff
		copy(a.ip[12:], data)
		d.found = append(d.found, a)
	case kind == typeAAAA && n == 16:
		a := address{owner: owner, ip: [16]byte(data)}
		if !isIPv4(&a.ip) { // a mapped address is never on the wire, ours would take it for IPv4
			d.found = append(d.found, a)
		}
	case kind == typeCNAME && len(d.cnames) < maxCNAMEs:
		if target, _, ok := d.name(at); ok {
			d.cnames = append(d.cnames, cname{owner: owner, target: target})
		}
	case kind == typeHTTPS || kind == typeSVCB:
		d.service(at, n)
	}
}

// name reads a name at offset at (RFC 1035, section 4.1.4) into text and
// returns the offset behind it.
func (d *dnsParser) name(at int) (n dnsName, next int, ok bool) {
	pointer := -1
	if at+1 < len(d.msg) && d.msg[at]&0xc0 == 0xc0 {
		pointer = int(binary.BigEndian.Uint16(d.msg[at:]) & 0x3fff)
		if pointer == d.lastPointer {
			return d.last, at + 2, true
		}
	}
	n.start = len(d.text)
	for hops, length := 0, 0; ; {
		if at >= len(d.msg) {
			return n, next, false
		}
		switch c := d.msg[at]; {
		case c == 0:
			if next == 0 {
				next = at + 1
			}
			n.end = max(len(d.text)-1, n.start) // without the last dot
			n.hash = maphash.Bytes(d.seed, d.text[n.start:n.end])
			if pointer >= 0 {
				d.lastPointer, d.last = pointer, n
			}
			return n, next, true
		case c&0xc0 == 0xc0:
			if hops++; at+2 > len(d.msg) || hops > maxPointers {
				return n, next, false
			}
			if next == 0 {
				next = at + 2
			}
			at = int(binary.BigEndian.Uint16(d.msg[at:]) & 0x3fff)
		case c&0xc0 == 0:
			end := at + 1 + int(c)
			if length += 1 + int(c); end > len(d.msg) || length > 254 {
				return n, next, false
			}
			d.label(d.msg[at+1 : end])
			at = end
		default: // 01 and 10 are not in use
			return n, next, false
		}
	}
}

// label adds a label and a dot to text. A dot inside the label is marked, so that
// it makes the name invalid and not one of more labels.
func (d *dnsParser) label(b []byte) {
	text := d.text
	for _, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '.' {
			text = append(text, '\\')
		}
		text = append(text, c)
	}
	d.text = append(text, '.')
}

func (d *dnsParser) bytes(n dnsName) []byte { return d.text[n.start:n.end] }

// to returns the first CNAME whose target is n, or -1.
func (d *dnsParser) to(n dnsName) int {
	for i := range d.cnames {
		t := d.cnames[i].target
		if t.hash == n.hash && bytes.Equal(d.bytes(t), d.bytes(n)) {
			return i
		}
	}
	return -1
}

// asking returns the name that led to owner through CNAMEs.
func (d *dnsParser) asking(owner dnsName) dnsName {
	i := -1
	if len(d.cnames) > 0 {
		i = d.to(owner)
	}
	for hops := 0; i >= 0 && hops < maxHops; hops++ {
		owner, i = d.cnames[i].owner, d.cnames[i].before
	}
	return owner
}
