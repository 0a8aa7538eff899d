package names

import (
	"bytes"
	"encoding/binary"
)

// message handles one DNS or mDNS message. length is what it had on the wire:
// less of it may be captured.
func (o *Observer) message(p *Packet, msg []byte, length uint32, protocol uint8) {
	if len(msg) < 4 {
		o.out.Stats.DNSMalformed++
		return
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags>>11&15 != 0 {
		return // not a standard query or its response
	}
	mdns := protocol == 17 && (p.SrcPort == 5353 || p.DstPort == 5353)
	response, rcode := flags>>15 == 1, flags&15
	truncated := flags>>9&1 == 1 || len(msg) < int(length)
	headless := len(msg) < 12 // a message all the same, but without sections
	if headless {
		o.header = [12]byte{}
		copy(o.header[:4], msg)
		msg = o.header[:]
	}
	d := &o.parser
	if d.parse(msg, mdns); (d.cut || headless) && !truncated {
		o.out.Stats.DNSMalformed++
	}
	switch {
	case mdns:
	case response:
		o.out.Stats.DNSResponses++
		o.out.Stats.DNSRcodes[rcode]++
		o.response(p, msg, rcode, protocol)
	default:
		o.out.Stats.DNSQueries++
		o.query(p, msg, protocol)
	}
	if response && rcode == 0 {
		o.learn(p)
		if !mdns {
			o.learnCovers(p)
		}
	}
}

// learn makes facts of the addresses in the parsed message.
func (o *Observer) learn(p *Packet) {
	d := &o.parser
	var f Fact
	f.Order, f.Time = p.Order, p.Time
	if f.Everyone = isGroup(&p.Dst); !f.Everyone {
		f.Client = p.Dst
	}
	var owner dnsName // for whom f has its names
	known, valid := false, false
	facts := o.out.Facts
	for i := range d.found {
		a := &d.found[i]
		ip := d.msg[a.at:a.end]
		if !learnable(ip) {
			continue
		}
		if len(facts) >= o.limits.Facts || o.textFull() {
			o.out.Stats.FactsOverflowed++
			continue
		}
		if !known || a.owner != owner {
			owner, known = a.owner, true
			name := d.asking(owner)
			start := len(o.out.Text)
			o.out.Text, valid = appendNormal(o.out.Text, d.bytes(name))
			f.NameStart, f.NameEnd = uint32(start), uint32(len(o.out.Text))
			f.OwnerStart, f.OwnerEnd = 0, 0
			if !valid {
				o.out.Stats.NamesInvalid++
			} else if name != owner {
				o.owner(&f, d.bytes(owner))
			}
		}
		if !valid {
			continue
		}
		facts = append(facts, f)
		facts[len(facts)-1].address(ip)
	}
	o.out.Facts = facts
}

// owner appends the owner of an address to the names, where it is a valid name
// and not that of f.
func (o *Observer) owner(f *Fact, owner []byte) {
	start := len(o.out.Text)
	text, ok := appendNormal(o.out.Text, owner)
	if !ok || bytes.Equal(text[start:], text[f.NameStart:f.NameEnd]) {
		return
	}
	o.out.Text = text
	f.OwnerStart, f.OwnerEnd = uint32(start), uint32(len(text))
}

// address sets the address to that in the data of a record.
func (f *Fact) address(ip []byte) {
	if len(ip) == 16 {
		f.Address = [16]byte(ip)
		return
	}
	binary.BigEndian.PutUint64(f.Address[:], 0)
	binary.BigEndian.PutUint64(f.Address[8:], 0xffff<<32|uint64(binary.BigEndian.Uint32(ip)))
}

// learnable says whether an answer may give a name to an address (DEFINITIONS 6.3).
func learnable(ip []byte) bool {
	if len(ip) == 4 {
		return ip[0] != 0 && ip[0] != 127 && ip[0] < 224
	}
	return ip[0] != 0xff && (binary.BigEndian.Uint64(ip) != 0 || binary.BigEndian.Uint64(ip[8:]) > 1)
}
