package names

import (
	"encoding/binary"
	"hash/maphash"
)

// Observer finds names in the packets of one shard. All calls come from the
// shard's goroutine. A packet that shows no name allocates nothing, and what is
// held between packets is bounded by Limits.
type Observer struct {
	limits Limits
	out    Harvest

	heads     *bySlot[head]
	headArena arena           // of heads
	scratch   [headLimit]byte // for handshakes cut into records

	quics     *fifo[uint32, quicFlow] // by slot
	quicArena arena                   // of quics
	decrypts  int                     // QUIC packets tried in this epoch
	opener    opener

	streams   *fifo[uint32, dnsStream] // by slot
	fragments *fifo[fragmentKey, datagram]
	dnsArena  arena        // of streams and fragments
	seed      maphash.Seed // of hashes of names
	parser    dnsParser
	header    [12]byte // of a message that was cut off within it
	pending   *transactions
	rows      map[rowKey]int  // index into out.DNS
	recent    [8]int          // some of rows, used of late
	covers    map[uint64]bool // hashes of the names in out.Covers
	hinted    map[Hint]bool   // those in out.Hints
}

// NewObserver returns an Observer within limits, each of which should be at
// least 1.
func NewObserver(limits Limits) *Observer {
	return &Observer{
		limits:    limits,
		heads:     newBySlot[head](limits.HeadFlows),
		headArena: arena{limit: limits.HeadBytes},
		quics:     newFIFO[uint32, quicFlow](max(limits.HeadFlows/8, 1)),
		quicArena: arena{limit: limits.HeadBytes},
		streams:   newFIFO[uint32, dnsStream](limits.DNSStreams),
		fragments: newFIFO[fragmentKey, datagram](limits.DNSFragments),
		dnsArena:  arena{limit: limits.DNSBytes},
		pending:   newTransactions(limits.DNSTransactions),
		rows:      map[rowKey]int{},
		covers:    map[uint64]bool{},
		hinted:    map[Hint]bool{},
		seed:      maphash.MakeSeed(),
	}
}

// TCP looks at a packet with payload of a flow that is still undecided, or of port
// 53, whether decided or not. It says whether the flow is decided: it showed its own
// name. Else done says that the packet's direction will show none: others of that
// direction must not be given to it, but where its port is 53. Where neither shows
// one, the flow never will.
func (o *Observer) TCP(p *Packet) (decided, done bool) {
	if p.PayloadLength == 0 || p.Slot == NoSlot {
		return false, false
	}
	if p.SrcPort != 53 && p.DstPort != 53 {
		return o.head(p)
	}
	st := o.stream(p)
	s := &st.side[side(p)]
	if !st.named && !s.done {
		if st.named, s.done = o.head(p); st.named {
			o.restart(&st.side[0], 0) // what was held is no DNS
			o.restart(&st.side[1], 0)
		}
	}
	if !st.named {
		o.segment(st, p)
	}
	return st.named, s.done
}

// UDP looks at a whole UDP datagram of a flow that is still undecided, or at
// one from or to port 53 or 5353, whether decided or not. A datagram in
// fragments goes to Fragment instead. It says whether the flow is decided.
func (o *Observer) UDP(p *Packet) (decided bool) {
	if isDNSPort(p.SrcPort) || isDNSPort(p.DstPort) {
		o.message(p, p.Payload, p.PayloadLength, 17)
	}
	return p.Slot != NoSlot && o.quic(p)
}

func isDNSPort(port uint16) bool { return port == 53 || port == 5353 }

// Forget drops what is held of a flow that has ended.
func (o *Observer) Forget(slot, generation uint32) {
	if h := o.heads.get(slot); h != nil && h.generation == generation {
		o.dropHead(slot, h)
	}
	if q := o.quics.get(slot); q != nil && q.generation == generation {
		o.dropQUIC(slot, q)
	}
	if s := o.streams.get(slot); s != nil && s.generation == generation {
		o.dropStream(slot, s)
	}
}

// Harvest moves what was found since the last Harvest into h and takes h's
// slices to fill next. clock is the packet time up to which the shard has seen
// everything: what has waited too long by then is given up. A clock far in the
// future ends every wait, as the end of a file does.
func (o *Observer) Harvest(h *Harvest, clock int64) {
	o.expireTransactions(clock)
	o.expireStreams(clock)
	o.expireFragments(clock)
	empty := Harvest{
		Facts: h.Facts[:0], Owns: h.Owns[:0], Covers: h.Covers[:0],
		Hints: h.Hints[:0], DNS: h.DNS[:0], Text: h.Text[:0],
	}
	*h, o.out = o.out, empty
	clear(o.rows)
	clear(o.covers)
	clear(o.hinted)
	o.decrypts = 0
}

// own notes the name a flow showed and says whether it is a valid one.
func (o *Observer) own(p *Packet, source Source, h hello) bool {
	start := len(o.out.Text)
	text, ok := appendNormal(o.out.Text, h.name)
	if !ok {
		o.out.Stats.NamesInvalid++
		o.hint(p.Slot, p.Generation, ignored(h.name))
		return false
	}
	if len(o.out.Owns) >= o.limits.Facts || o.textFull() {
		o.out.Stats.HeadsOverflowed++
		o.hint(p.Slot, p.Generation, ParserLimit)
		return true
	}
	o.out.Text = text
	o.out.Owns = append(o.out.Owns, Own{
		Slot: p.Slot, Generation: p.Generation,
		NameStart: uint32(start), NameEnd: uint32(len(text)),
		Order: p.Order, Source: source, ECH: h.ech,
	})
	return true
}

// textFull says whether the names of this epoch have taken their room, but for one.
func (o *Observer) textFull() bool { return len(o.out.Text) >= o.limits.TextBytes }

// isGroup says whether packets to a go to many: multicast or limited broadcast.
func isGroup(a *[16]byte) bool {
	if !isIPv4(a) {
		return a[0] == 0xff
	}
	return a[12]>>4 == 14 || binary.BigEndian.Uint32(a[12:]) == 0xffffffff
}

// isIPv4 says whether a is an IPv4 address in its mapped form.
func isIPv4(a *[16]byte) bool {
	return binary.BigEndian.Uint64(a[:]) == 0 && binary.BigEndian.Uint32(a[8:]) == 0xffff
}

func side(p *Packet) int {
	if p.FromInitiator {
		return 0
	}
	return 1
}
