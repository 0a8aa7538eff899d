package names

import (
	"bytes"
	"encoding/binary"
	"slices"
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
	// maxLabels bounds the labels of a name, each with its length.
	maxLabels = 254
	// maxCNAMEs bounds the CNAME records of one message that are looked at.
	maxCNAMEs = 64
	// maxHops is how far back a chain of CNAMEs is followed (DEFINITIONS 6.2).
	maxHops = 16
)

// dnsParser reads DNS messages (RFC 1035, section 4). Hostile ones included, it
// takes time in proportion to the message and allocates nothing in the long run.
type dnsParser struct {
	msg    []byte
	text   []byte // names of msg in lower case with dots
	cnames []cname
	found  []address
	covers []span // of msg: public names of ECH configurations

	// pointed is the name behind the latest name that was only a pointer, written
	// a question or the target of a CNAME that was read last: nearly all owners of a
	// message point to the one or the other.
	pointed, written place

	question dnsName // of the first question
	qtype    uint16  // and its type, where asked
	asked    bool
	cut      bool // the message ended, or made no sense, before it should
}

// dnsName is text[start:end].
type dnsName struct{ start, end uint32 }

// place is a name and the offset of msg where a pointer finds it.
type place struct {
	at   int
	name dnsName
}

type cname struct {
	owner, target dnsName
	before        int // the CNAME whose target is owner, or -1
}

// address is an A or AAAA record; msg[at:end] is its data.
type address struct {
	owner   dnsName
	at, end uint32
}

// parse reads the sections of a message with a whole header. mdns takes the
// additional section as well as the answers and ignores the top bit of classes,
// which means something else there (RFC 6762, section 10.2).
func (d *dnsParser) parse(msg []byte, mdns bool) {
	d.msg, d.text = msg, d.text[:0]
	d.cnames, d.found, d.covers = d.cnames[:0], d.found[:0], d.covers[:0]
	d.pointed.at, d.written.at = -1, -1
	d.question, d.qtype, d.asked = dnsName{}, 0, false
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
	n, at, ok := d.nameAt(at)
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
	owner, at, ok := d.nameAt(at)
	d.written.at = -1 // owners are one name only by one pointer: learn tells them by their places
	if !ok || at+10 > len(d.msg) {
		return at, false
	}
	head := (*[10]byte)(d.msg[at:])
	kind, class, n := binary.BigEndian.Uint16(head[:]), binary.BigEndian.Uint16(head[2:]), int(binary.BigEndian.Uint16(head[8:]))
	if mdns {
		class &= 0x7fff
	}
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
	case kind == typeA && n == 4,
		kind == typeAAAA && n == 16 && !isIPv4((*[16]byte)(data)): // a mapped address is never on the wire, ours would take it for IPv4
		d.found = append(d.found, address{owner, uint32(at), uint32(at + n)})
	case kind == typeCNAME && len(d.cnames) < maxCNAMEs:
		if target, _, ok := d.nameAt(at); ok {
			d.cnames = append(d.cnames, cname{owner: owner, target: target})
		}
	case kind == typeHTTPS || kind == typeSVCB:
		d.service(at, n)
	}
}

// nameAt reads a name at offset at (RFC 1035, section 4.1.4) into text, unless it is
// there, and returns the offset behind it.
func (d *dnsParser) nameAt(at int) (n dnsName, next int, ok bool) {
	if at+2 > len(d.msg) || d.msg[at] < 0xc0 {
		return d.name(at, maxPointers)
	}
	pointer := int(binary.BigEndian.Uint16(d.msg[at:]) & 0x3fff)
	switch pointer {
	case d.pointed.at:
	case d.written.at:
		d.pointed = d.written
	default:
		if n, _, ok = d.name(pointer, maxPointers-1); !ok {
			return n, at, false
		}
		d.pointed = place{pointer, n}
	}
	return d.pointed.name, at + 2, true
}

// name reads a name at offset at, which may have so many pointers.
func (d *dnsParser) name(at, pointers int) (n dnsName, next int, ok bool) {
	begin, start, msg := at, len(d.text), d.msg
	d.text = slices.Grow(d.text, 2*maxLabels+8)
	for length := 0; ; {
		labels := at
		for at < len(msg) {
			c := int(msg[at])
			if c == 0 || c >= 0x40 || at+c >= len(msg) || length+at+c-labels >= maxLabels {
				break
			}
			at += 1 + c
		}
		if at > labels {
			d.labels(labels, at)
			length += at - labels
		}
		switch {
		case at < len(msg) && msg[at] == 0:
			if next == 0 {
				next = at + 1
			}
			n = dnsName{uint32(start), uint32(max(len(d.text)-1, start))} // without the last dot
			// A pointer to here may be one too many.
			if pointers > 0 {
				d.written = place{begin, n}
			}
			return n, next, true
		case at+2 <= len(msg) && msg[at] >= 0xc0 && pointers > 0:
			if pointers--; next == 0 {
				next = at + 2
			}
			at = int(binary.BigEndian.Uint16(msg[at:]) & 0x3fff)
		default: // cut off, too long, or a length that begins with 01 or 10, which are not in use
			return n, next, false
		}
	}
}

// labels adds msg[at:end], labels behind their lengths, to text: each label and a dot.
// There is room for words of eight bytes.
func (d *dnsParser) labels(at, end int) {
	msg, n := d.msg, end-at-1
	to := d.text[len(d.text):][:n+8]
	copy(to, msg[at+1:end])
	binary.LittleEndian.PutUint64(to[n:], 0)
	if lowerWords(to) != 0 {
		d.dotted(at, end)
		return
	}
	for last := at + 1; at < end; {
		at += 1 + int(msg[at])
		to[at-last] = '.'
	}
	d.text = d.text[:len(d.text)+n+1]
}

// dotted is labels, slower, where a byte or a length is that of a dot. A dot inside a
// label is marked, so that it makes the name invalid and not one of more labels.
func (d *dnsParser) dotted(at, end int) {
	text := d.text
	for at < end {
		next := at + 1 + int(d.msg[at])
		for _, c := range d.msg[at+1 : next] {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c == '.' {
				text = append(text, '\\')
			}
			text = append(text, c)
		}
		text = append(text, '.')
		at = next
	}
	d.text = text
}

func (d *dnsParser) bytes(n dnsName) []byte { return d.text[n.start:n.end] }

// to returns the first CNAME whose target is n, or -1.
func (d *dnsParser) to(n dnsName) int {
	for i := range d.cnames {
		t := d.cnames[i].target
		if bytes.Equal(d.bytes(t), d.bytes(n)) {
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
