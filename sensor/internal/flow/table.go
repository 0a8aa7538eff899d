package flow

import (
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// A flow ends when it was idle for longer (DEFINITIONS 3.2).
const (
	tcpIdle   = int64(600 * time.Second)
	otherIdle = int64(60 * time.Second)
)

const (
	protoTCP = 6
	protoUDP = 17
)

// Options bounds a Table.
type Options struct {
	// MaxFlows is how many flows are live at once; 0 is no bound. In a full
	// table a new flow evicts one that was not seen for long. As many ended
	// flows may wait for the next harvest; beyond that, packets of new flows
	// are counted in one flow per protocol between zero addresses, and are
	// overflowed.
	MaxFlows int

	// HoldNS is how long the counters of a flow are held back that may still
	// show a name of its own; 0 holds nothing.
	HoldNS int64

	// KeepIdle ends idle flows with the next packet of their key only, never
	// by the clock: so a capture gives the same flows however it is cut into
	// epochs.
	KeepIdle bool

	// Whole gives out the counters of a flow once, when it ends: before that there
	// is one record that says it began. It goes with KeepIdle.
	Whole bool

	// Scattered says that packets of a flow may be elsewhere: what is not seen
	// here is then no wonder.
	Scattered bool
}

// Table holds the live flows of one shard. All its methods are for the shard's
// goroutine. Its memory is free of pointers, grows and shrinks in chunks of 2048
// flows, and is at most 128 bytes per flow of IPv4.
type Table struct {
	options   Options
	seed      seed
	v4        family[key4]
	v6        family[key6]
	numbers   chunkNumbers
	fragments fragments
	waiting   int    // ended flows that the next harvest gives out
	born      uint32 // generation of the newest flow
	harvest   harvest
	active    []phases          // by interface
	spilled   map[uint32]*spill // by slot; mostly nil
	holes     holeTable         // by slot
	unseen    []uint64          // bytes, by interface
	stats     Stats
}

// A Ref names a flow that is live: the slot that is its own until its last record was
// given out, and its number among all flows.
type Ref struct{ Slot, Generation uint32 }

// Result is what Add found out about a packet's flow.
//
// It stays in registers, as it has no more than four fields.
type Result struct {
	Ref
	Born          bool // this is the flow's first packet
	FromInitiator bool
	// Undecided: this direction of the flow may still show a name; the observer
	// wants its payloads.
	Undecided bool
}

// Stats says how a table does. Counters count from New on.
type Stats struct {
	Flows   int // live now
	Waiting int // ended, not harvested yet
	Bytes   int // of memory

	Born                uint64 // flows that began
	Evicted             uint64 // flows that a full table ended early
	Overflowed          uint64 // packets that found the table full of unharvested flows
	FragmentsOverflowed uint64 // first fragments forgotten before their time
	HolesOverflowed     uint64 // gaps in TCP streams that were not followed

	// What the last harvest left in the table, of held flows; not while one is open.
	HeldPackets, HeldBytes uint64
}

// New returns an empty table.
func New(o Options) *Table {
	t := &Table{options: o, seed: newSeed()}
	t.v4.index.Reset()
	t.v6.index.Reset()
	t.fragments.limit = maxFragments
	if o.KeepIdle {
		t.fragments.limit = maxFragmentsReplay
	}
	return t
}

// Add counts a packet in its flow. Later fragments get protocol and ports of
// their first fragment, in h too. time is the packet's, in Unix nanoseconds;
// order its place among the packets of all shards.
func (t *Table) Add(h *packet.Header, iface uint16, time int64, order uint64) Result {
	if h.Fragment != packet.Whole && t.fragments.resolve(h, iface, time) {
		t.Touch(h, iface)
	}
	var a arrival // field by field: a literal is built elsewhere and copied
	a.h, a.iface, a.time, a.order = h, iface, time, order
	a.syn = isSYN(h)
	if r, ok := t.add(&a); ok {
		return r
	}
	return t.addOther(&a)
}

// addOther counts a packet that found no room in the flow of all those.
func (t *Table) addOther(a *arrival) Result {
	t.stats.Overflowed++
	h := packet.Header{Version: a.h.Version, Protocol: a.h.Protocol, Bytes: a.h.Bytes}
	t.Touch(&h, a.iface)
	r, _ := t.add(&arrival{h: &h, iface: a.iface, time: a.time, order: a.order, forced: true})
	return r
}

// An arrival is a packet on its way into the table.
type arrival struct {
	h      *packet.Header
	time   int64
	order  uint64
	iface  uint16
	syn    bool // TCP SYN without ACK
	forced bool // needs no room
}

func (t *Table) add(a *arrival) (Result, bool) {
	if a.h.Version == 4 {
		var k keys[key4]
		keys4(&k, a.h, a.iface)
		return add(t, &t.v4, a, &k)
	}
	var k keys[key6]
	keys6(&k, a.h, a.iface)
	return add(t, &t.v6, a, &k)
}

// add counts a packet. It counts nothing and returns false where a new flow
// would need room and there is none.
func add[K key](t *Table, f *family[K], a *arrival, k *keys[K]) (Result, bool) {
	slot, s := f.find(uint32(a.h.Hash), k)
	if s != nil {
		settle(t, f, slot)
	}
	if s != nil && f.over(slot, s, a, k) {
		if t.canWait() {
			end(t, f, slot)
			s = nil
		} else {
			t.stats.Overflowed++ // and stays in the flow that is over
		}
	}
	born := s == nil
	if born {
		if !a.forced && !t.makeRoom() {
			return Result{}, false
		}
		slot, s = begin(t, f, a, k)
	}

	direction := 0
	if s.key != k.src {
		direction = 1
	}
	r := count(t, f, slot, s, a.h, direction, a.time)
	r.Born = born
	return r, true
}

// begin makes a new flow without counters.
func begin[K key](t *Table, f *family[K], a *arrival, k *keys[K]) (uint32, *state[K]) {
	slot := f.take(&t.numbers)
	f.index.Insert(uint32(a.h.Hash), slot)
	t.stats.Born++
	if t.born++; t.born == 0 {
		t.born = 1 // 0 names no flow
	}

	c, i := f.at(slot)
	s := &c.states[i]
	*s = state[K]{key: k.src, last: a.time, generation: t.born}
	if !sourceInitiates(a) {
		s.key = k.dst
	}
	switch {
	case !mayShowName(a.h):
		s.marks = markDecided
	case a.h.Protocol == protoUDP:
		enter(t, s, datagrams)
	}
	if a.h.TCP && a.h.TCPFlags&packet.SYN == 0 {
		s.marks |= markMidstream
	}
	c.origins[i] = origin{start: a.time, order: a.order}
	c.due = min(c.due, deadline(a.time, a.h.Protocol))
	return slot, s
}

// mayShowName tells whether packets of this kind can carry a name that the
// observer understands.
func mayShowName(h *packet.Header) bool {
	return (h.Protocol == protoTCP || h.Protocol == protoUDP) && (h.SrcPort != 0 || h.DstPort != 0)
}

// end takes a live flow out; its last record comes with the next harvest.
func end[K key](t *Table, f *family[K], slot uint32) {
	settle(t, f, slot)
	leave(t, f, slot)
}

// leave is end where nothing is due before.
func leave[K key](t *Table, f *family[K], slot uint32) {
	if s := f.state(slot); s.marks.phase() != unphased {
		t.uncount(s.key.iface(), s.side, s.marks.phase())
	}
	t.holes.remove(slot)
	f.end(&t.seed, slot)
	t.waiting++
}

// Exclude ends the live flows to which a rule applies. It sees version, protocol,
// interface, addresses and ports of each.
func (t *Table) Exclude(rule func(*Record) bool) {
	exclude(t, &t.v4, rule)
	exclude(t, &t.v6, rule)
}

func exclude[K key](t *Table, f *family[K], rule func(*Record) bool) {
	var r Record
	for n, c := range f.chunks {
		if c == nil {
			continue
		}
		for i := c.live.next(0); i < chunkSlots; i = c.live.next(i + 1) {
			if c.states[i].key.describe(&r); rule(&r) {
				end(t, f, uint32(n)<<chunkShift|i)
			}
		}
	}
}

// canWait tells whether one more flow may wait for the next harvest.
func (t *Table) canWait() bool {
	return t.options.MaxFlows == 0 || t.waiting < t.options.MaxFlows
}

// makeRoom ends a flow if the table is full, and tells whether there is room for
// one more.
func (t *Table) makeRoom() bool {
	switch {
	case t.options.MaxFlows == 0 || t.Len() < t.options.MaxFlows && t.Len()+t.waiting < 2*t.options.MaxFlows:
		return true
	case !t.canWait():
		return false
	case t.v4.flows >= t.v6.flows:
		end(t, &t.v4, t.v4.victim())
	default:
		end(t, &t.v6, t.v6.victim())
	}
	t.stats.Evicted++
	return true
}

// Len is the number of live flows.
func (t *Table) Len() int { return t.v4.flows + t.v6.flows }

// Stats returns how the table does.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Flows, s.Waiting = t.Len(), t.waiting
	s.Bytes = t.v4.bytes() + t.v6.bytes() + t.fragments.bytes()
	s.FragmentsOverflowed = t.fragments.overflowed
	return s
}
