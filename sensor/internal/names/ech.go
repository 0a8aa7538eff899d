package names

import "hash/maphash"

// maxCovers bounds the ECH configurations of one DNS message that are looked at.
const maxCovers = 16

// service reads a SVCB or HTTPS record (RFC 9460, section 2.2) of n bytes: a
// priority, a name, and parameters, of which one may be ECH configurations.
func (d *dnsParser) service(at, n int) {
	const ech = 5 // RFC 9848
	r := reader{b: d.msg[at : at+n]}
	r.skip(2)
	for label := r.u8(); label != 0; label = r.u8() { // never compressed
		r.skip(int(label))
	}
	for len(r.b) >= 4 && !r.bad {
		key, value := r.u16(), r.take(int(r.u16()))
		if key == ech {
			d.configurations(at+n-len(r.b)-len(value), value)
		}
	}
}

// configurations reads an ECHConfigList (RFC 9849, section 4) that is at offset
// at of the message, and keeps where the public names are.
func (d *dnsParser) configurations(at int, list []byte) {
	const version = 0xfe0d
	end := at + len(list)
	r := reader{b: list}
	r.skip(2) // length of the list, which ends with the parameter anyway
	for len(r.b) >= 4 && len(d.covers) < maxCovers {
		v, contents := r.u16(), r.take(int(r.u16()))
		if r.bad {
			return
		}
		if v != version {
			continue
		}
		c := reader{b: contents}
		c.skip(1 + 2)        // configuration's number, KEM
		c.skip(int(c.u16())) // public key
		c.skip(int(c.u16())) // cipher suites
		c.skip(1)            // longest name
		name := c.take(int(c.u8()))
		if c.bad || len(name) == 0 {
			continue
		}
		to := end - len(r.b) - len(c.b)
		d.covers = append(d.covers, span{to - len(name), to})
	}
}

// learnCovers notes the public names in the parsed message that this epoch has
// not seen yet: the first is the one that counts.
func (o *Observer) learnCovers(p *Packet) {
	d := &o.parser
	for _, s := range d.covers {
		start := len(o.out.Text)
		text, ok := appendNormal(o.out.Text, d.msg[s.from:s.to])
		if !ok {
			o.out.Stats.NamesInvalid++
			continue
		}
		hash := maphash.Bytes(o.seed, text[start:])
		if o.covers[hash] {
			continue
		}
		if len(o.out.Covers) >= o.limits.Covers || o.textFull() {
			o.out.Stats.FactsOverflowed++
			return
		}
		o.covers[hash] = true
		o.out.Text = text
		o.out.Covers = append(o.out.Covers, Cover{uint32(start), uint32(len(text)), p.Order})
	}
}

// maxCoverNames bounds the cover names that a Book knows: far more than there
// are providers.
const maxCoverNames = 4096

// isKnownCover says whether name is the cover of a provider that many flows go
// to, also where the answer that says so came encrypted or before the capture.
func isKnownCover(name string) bool {
	switch name {
	case "cloudflare-ech.com", "public.tls-ech.dev", "cover.defo.ie":
		return true
	}
	return false
}

// LearnCover remembers a cover name; text is the Harvest.Text it points into.
// Calls come in Order, like those of Learn.
func (b *Book) LearnCover(c *Cover, text []byte) {
	id := b.Intern(text[c.NameStart:c.NameEnd])
	hash := b.hashID(id)
	if order := b.covers.get(hash, &id); order != nil && *order <= c.Order {
		return
	}
	order, forgotten := b.covers.enter(hash, &id)
	*order = c.Order
	b.Evicted += forgotten
}

// IsCover says whether name is a cover name that was learned before the frame of
// that Order, or one that is known without.
func (b *Book) IsCover(name ID, before uint64) bool {
	if isKnownCover(b.Name(name)) {
		return true
	}
	order := b.covers.get(b.hashID(name), &name)
	return order != nil && *order < before
}
