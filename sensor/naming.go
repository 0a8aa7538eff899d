package sensor

import (
	"cmp"
	"slices"

	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
)

// flowName is the name of a live flow. Its generation tells whether it belongs
// to the flow that now has the slot.
type flowName struct {
	generation uint32
	name       names.ID
	source     names.Source
	reason     reason // without a name: why, as far as is known
	settled    bool   // the flow has shown a name of its own
	resolver   bool   // its name is that of an encrypted resolver
}

type birth struct {
	order uint64
	h     *harvest
	rec   *flow.Record
}

type factRef struct {
	h *harvest
	f *names.Fact
}

// name gives every flow that began in this epoch the name that DNS knows for it
// at its first packet, then every flow that showed a name of its own that one.
func (j *join) name(hs []*harvest) {
	j.births, j.facts = j.births[:0], j.facts[:0]
	for _, h := range hs {
		for i := range h.names.Facts {
			j.facts = append(j.facts, factRef{h, &h.names.Facts[i]})
		}
		for r := range h.records.All() {
			if r.Born {
				j.births = append(j.births, birth{r.Order, h, r})
			}
		}
	}
	j.sortBirths()
	order := func(a, b factRef) int { return cmp.Compare(a.f.Order, b.f.Order) }
	if !slices.IsSortedFunc(j.facts, order) { // one shard's are
		slices.SortStableFunc(j.facts, order)
	}

	learned := 0
	j.ahead = 0
	for _, b := range j.births {
		for learned < len(j.facts) && j.facts[learned].f.Order < b.order {
			j.learn(learned)
			learned++
		}
		n := j.slot(b.h.shard, b.rec.Slot)
		*n = flowName{generation: b.rec.Generation, reason: noLookup}
		name, source := j.book.Lookup(b.rec.Initiator, b.rec.Responder)
		j.set(n, name, source)
		j.evidence.born(b.h.shard, b.rec, source)
	}
	for ; learned < len(j.facts); learned++ {
		j.learn(learned)
	}
	for _, h := range hs {
		for i := range h.names.Covers {
			j.book.LearnCover(&h.names.Covers[i], h.names.Text)
		}
	}
	for _, h := range hs {
		j.own(h)
	}
}

// stride is how many facts lie between two steps of Book.Prefetch: what one asks for
// is there when the next one reads it. lookahead is how many are prepared at once.
const (
	stride    = 5
	lookahead = names.PrefetchSteps*stride + 1
)

// learn tells the book of fact i. The calls come in order.
func (j *join) learn(i int) {
	for ; j.ahead < min(i+lookahead, len(j.facts)); j.ahead++ {
		f := &j.facts[j.ahead]
		j.spots[j.ahead%lookahead] = j.book.Spot(f.f, f.h.names.Text)
		j.book.Prefetch(&j.spots[j.ahead%lookahead], 0)
	}
	for step := 1; step < names.PrefetchSteps; step++ {
		if next := i + lookahead - 1 - step*stride; next < j.ahead {
			j.book.Prefetch(&j.spots[next%lookahead], step)
		}
	}
	f := j.facts[i]
	j.book.Learn(f.f, f.h.names.Text, j.spots[i%lookahead])
	j.newest.learned(f.f, f.h.names.Text)
	j.evidence.learned(f.f, f.h.names.Text, j.book)
}

// own gives flows the names that they showed, and takes note of what else they
// say about names.
func (j *join) own(h *harvest) {
	for _, o := range h.names.Owns {
		n := j.slot(h.shard, o.Slot)
		if n.generation != o.Generation || n.settled {
			continue
		}
		n.settled = true
		name := j.book.Intern(h.names.Text[o.NameStart:o.NameEnd])
		gaveWay := o.ECH && j.givesWay(n, name, o.Order)
		if !gaveWay {
			j.set(n, name, o.Source)
		}
		j.evidence.own(h.shard, &o, name, gaveWay)
	}
	for _, hint := range h.names.Hints {
		j.evidence.hint(h.shard, &hint)
		if n := j.slot(h.shard, hint.Slot); n.generation == hint.Generation {
			n.reason = min(n.reason, hinted(hint.Kind))
		}
	}
}

func (j *join) set(n *flowName, name names.ID, source names.Source) {
	n.name, n.source = name, source
	n.resolver = name != 0 && j.tells() && names.EncryptedDNS(j.book.Name(name))
}

func (j *join) slot(shard int, slot uint32) *flowName { return j.flows[shard].at(int(slot)) }

// hidden counts the flows whose ClientHello says that it carries another, by
// what became of the name that it shows.
type hidden struct{ outer, lookup, ordinary uint64 }

// givesWay tells whether the name in a ClientHello, complete in the frame of this
// order, is only the cover of an encrypted one and the client's own lookup knows
// better. Where neither is so, the extension may be GREASE (RFC 9849, section 6.2)
// and the name as good as any.
func (j *join) givesWay(n *flowName, name names.ID, order uint64) bool {
	switch {
	case !j.book.IsCover(name, order):
		j.hidden.ordinary++
	case n.source != names.DNSClient:
		j.hidden.outer++
	default:
		j.hidden.lookup++
		return true
	}
	return false
}
