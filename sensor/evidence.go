package sensor

import (
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
)

// evidence keeps why flows have the names they have, for -explain. It belongs to
// the join, which tells it what it learns in the order of capture. Without one
// (nil) the join keeps nothing.
type evidence struct {
	wanted  func(address [16]byte) bool // of one end of the flows asked about; nil: any
	answers []answer                    // in order
	flows   map[uint64]*clue            // by the flow's first frame
	live    map[liveKey]uint64          // first frames of live flows
	asks    map[[16]byte]uint64         // first frame of a client's first flow to an encrypted resolver

	toClient map[[2][16]byte]uint32 // by address and client, the latest answer: its index plus 1
	toAll    map[[16]byte]uint32    // multicast
	toAny    map[[16]byte]uint32

	limit         int // of answers, and of flows
	answersBeyond int
	flowsBeyond   int
}

// maxEvidence bounds the answers and the flows that evidence is kept of: some
// 200 MB in all. Later ones are named like any other, but not explained.
const maxEvidence = 1 << 20

// answer is one address of a DNS answer.
type answer struct {
	address, client [16]byte
	order           uint64 // frame
	time            int64
	name, owner     names.ID // asked for, and the record's own where that is another
	everyone        bool
}

// clue is what one flow showed.
type clue struct {
	answer  uint32   // what DNS knew at its first packet: index plus 1
	own     names.ID // in its own bytes
	frame   uint64   // that completed own
	source  names.Source
	ech     bool
	gaveWay bool  // own is a cover name
	hints   uint8 // a bit for each names.HintKind
	reason  reason
}

type liveKey struct {
	shard            int
	slot, generation uint32
}

func newEvidence(wanted func([16]byte) bool) *evidence {
	return &evidence{
		wanted: wanted, limit: maxEvidence,
		flows: map[uint64]*clue{}, live: map[liveKey]uint64{}, asks: map[[16]byte]uint64{},
		toClient: map[[2][16]byte]uint32{}, toAll: map[[16]byte]uint32{}, toAny: map[[16]byte]uint32{},
	}
}

// learned notes a fact that the book has learned.
func (e *evidence) learned(f *names.Fact, text []byte, book *names.Book) {
	if e == nil {
		return
	}
	if len(e.answers) >= e.limit {
		e.answersBeyond++
		return
	}
	e.answers = append(e.answers, answer{
		address: f.Address, client: f.Client, order: f.Order, time: f.Time, everyone: f.Everyone,
		name: book.Intern(text[f.NameStart:f.NameEnd]), owner: book.Intern(text[f.OwnerStart:f.OwnerEnd]),
	})
	at := uint32(len(e.answers))
	e.toAny[f.Address] = at
	if f.Everyone {
		e.toAll[f.Address] = at
	} else {
		e.toClient[[2][16]byte{f.Address, f.Client}] = at
	}
}

// born notes a flow and the answer that its look-up found, by the rule of
// names.Book.
func (e *evidence) born(shard int, r *flow.Record, source names.Source) {
	switch {
	case e == nil, e.wanted != nil && !e.wanted(r.Initiator) && !e.wanted(r.Responder):
		return
	case len(e.flows) >= e.limit:
		e.flowsBeyond++
		return
	}
	c := &clue{reason: noLookup}
	switch source {
	case names.DNSClient:
		c.answer = max(e.toClient[[2][16]byte{r.Responder, r.Initiator}], e.toAll[r.Responder])
	case names.DNSAny:
		c.answer = e.toAny[r.Responder]
	}
	e.flows[r.Order] = c
	e.live[liveKey{shard, r.Slot, r.Generation}] = r.Order
}

// of returns what is known of a live flow, nil where nothing is kept.
func (e *evidence) of(shard int, slot, generation uint32) *clue {
	if e == nil {
		return nil
	}
	if order, ok := e.live[liveKey{shard, slot, generation}]; ok {
		return e.flows[order]
	}
	return nil
}

// own notes the name that a flow showed, and whether it gave way.
func (e *evidence) own(shard int, o *names.Own, name names.ID, gaveWay bool) {
	if c := e.of(shard, o.Slot, o.Generation); c != nil {
		c.own, c.frame, c.source, c.ech, c.gaveWay = name, o.Order, o.Source, o.ECH, gaveWay
	}
}

func (e *evidence) hint(shard int, h *names.Hint) {
	if c := e.of(shard, h.Slot, h.Generation); c != nil {
		c.hints |= 1 << h.Kind
	}
}

func (c *clue) hinted(k names.HintKind) bool { return c.hints&(1<<k) != 0 }

// counted notes what a record adds.
func (e *evidence) counted(shard int, r *flow.Record, n *flowName) {
	if e == nil {
		return
	}
	if n.asksElsewhere(r) {
		if first, ok := e.asks[r.Initiator]; !ok || r.Order < first {
			e.asks[r.Initiator] = r.Order
		}
	}
	if c := e.of(shard, r.Slot, r.Generation); c != nil {
		c.reason = n.reason
	}
	if r.Ended {
		delete(e.live, liveKey{shard, r.Slot, r.Generation})
	}
}
