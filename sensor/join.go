package sensor

import (
	"cmp"
	"slices"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// The join waits until every shard has closed an epoch, learns all its facts,
// names its records and publishes a window. Its goroutine is the only one that
// touches it.
//
// The answer to a DNS query and the flow that it explains sit on different
// shards, and shards run at different speeds. All packets are stamped by one
// clock, though, so once every shard has closed the epoch, facts and first
// packets of flows can be put into the order in which they were captured: the
// name of a flow depends on the packets alone, not on shards or scheduling.
type join struct {
	pending [][]*harvest // per shard, oldest first
	final   []bool       // shards of which no harvest follows
	free    []chan *harvest

	book     *names.Book
	flows    [][]flowName // per shard, by slot
	accesses accesses
	filter   nameFilter
	views    *view.Set
	ifaces   func(uint16) string

	publish func(start, end int64, rows []*netmonpb.Row) error // nil: nobody wants windows
	report  *report                                            // replay's JSON, else nil
	gauges  func(*view.Set)                                    // adds what others know to the view sensor; may be nil
	aged    int64                                              // packet time of the book's last ageing
	closed  int64                                              // end of the newest window
	window  int64                                              // length of a window
	ledger  ledger
	tables  []flow.Stats // of each shard, as of its last harvest

	was    figuresWere
	births []birth   // scratch
	facts  []factRef // scratch
}

// flowName is the name of a live flow. Its generation tells whether it belongs
// to the flow that now has the slot.
type flowName struct {
	generation uint32
	name       names.ID
	source     names.Source
}

// ledger holds the running totals that P1 compares.
type ledger struct {
	decoded, accounted uint64 // packets
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

// run publishes each epoch once every shard has closed it, until the last
// shard has ended. The first window that cannot be published calls stop, which
// must end the shards; they are heard out, for each waits to hand over its last.
func (j *join) run(in <-chan *harvest, stop func()) error {
	var first error
	for running := len(j.final); running > 0; {
		h := <-in
		j.pending[h.shard] = append(j.pending[h.shard], h)
		if h.final {
			j.final[h.shard] = true
			running--
		}
		for j.complete() {
			if err := j.next(); err != nil && first == nil {
				first = err
				stop()
			}
		}
	}
	return first
}

// complete tells whether the oldest pending epoch can be published: every shard
// has closed it, or will not send any more.
func (j *join) complete() bool {
	any := false
	for i, p := range j.pending {
		if len(p) > 0 {
			any = true
		} else if !j.final[i] {
			return false
		}
	}
	return any
}

// next publishes the oldest pending epoch.
func (j *join) next() error {
	end := int64(0)
	for _, p := range j.pending {
		if len(p) > 0 && (end == 0 || p[0].closed < end) {
			end = p[0].closed
		}
	}
	var epoch []*harvest
	for i, p := range j.pending {
		if len(p) > 0 && p[0].closed == end {
			epoch = append(epoch, p[0])
			j.pending[i] = slices.Delete(p, 0, 1)
		}
	}
	err := j.epoch(end, epoch)
	for _, h := range epoch {
		j.free[h.shard] <- h
	}
	return err
}

// epoch makes one window. The order matters: names first, then records.
func (j *join) epoch(end int64, hs []*harvest) error {
	j.name(hs)
	j.count(hs)
	j.forget(end, hs)
	if j.report != nil {
		for _, h := range hs {
			j.report.addShard(h)
		}
	}
	if j.publish == nil {
		return nil
	}
	for _, h := range hs {
		j.sensorRows(h)
	}
	j.figures()
	if j.gauges != nil {
		j.gauges(j.views)
	}
	start := end - j.window
	if j.closed > start && j.closed < end {
		start = j.closed
	}
	j.closed = end
	return j.publish(start, end, j.views.Cut(end))
}

// name gives every flow that began in this epoch the name that DNS knows for it
// at its first packet, then every flow that showed a name of its own that one.
func (j *join) name(hs []*harvest) {
	j.births, j.facts = j.births[:0], j.facts[:0]
	for _, h := range hs {
		for i := range h.names.Facts {
			j.facts = append(j.facts, factRef{h, &h.names.Facts[i]})
		}
		for i := range h.records {
			if r := &h.records[i]; r.Born {
				j.births = append(j.births, birth{r.Order, h, r})
			}
		}
	}
	slices.SortFunc(j.births, func(a, b birth) int { return cmp.Compare(a.order, b.order) })
	slices.SortStableFunc(j.facts, func(a, b factRef) int { return cmp.Compare(a.f.Order, b.f.Order) })

	learned := 0
	for _, b := range j.births {
		for learned < len(j.facts) && j.facts[learned].f.Order < b.order {
			j.book.Learn(j.facts[learned].f, j.facts[learned].h.names.Text)
			learned++
		}
		n := flowName{generation: b.rec.Generation}
		n.name, n.source = j.book.Lookup(b.rec.Initiator, b.rec.Responder)
		*j.slot(b.h.shard, b.rec.Slot) = n
	}
	for ; learned < len(j.facts); learned++ {
		j.book.Learn(j.facts[learned].f, j.facts[learned].h.names.Text)
	}
	for _, h := range hs {
		for _, o := range h.names.Owns {
			n := j.slot(h.shard, o.Slot)
			if n.generation == o.Generation && !n.own() {
				n.name, n.source = j.book.Intern(h.names.Text[o.NameStart:o.NameEnd]), o.Source
			}
		}
	}
}

func (n *flowName) own() bool {
	return n.source == names.SNI || n.source == names.HTTPHost || n.source == names.QUICSNI
}

func (j *join) slot(shard int, slot uint32) *flowName {
	s := &j.flows[shard]
	if int(slot) >= len(*s) {
		*s = slices.Grow(*s, int(slot)+1-len(*s))
		*s = (*s)[:cap(*s)]
	}
	return &(*s)[slot]
}

// count sums the named records into the views. Connections come first, in the
// order of their first packets, since an access depends on the one before.
func (j *join) count(hs []*harvest) {
	j.births = j.births[:0]
	for _, h := range hs {
		for i := range h.records {
			if r := &h.records[i]; r.Counted {
				j.births = append(j.births, birth{r.Order, h, r})
			} else if !r.Held {
				j.add(h, r, false)
			}
		}
	}
	slices.SortFunc(j.births, func(a, b birth) int { return cmp.Compare(a.order, b.order) })
	for _, b := range j.births {
		j.add(b.h, b.rec, true)
	}
}

// add sums one record into the views and the report.
func (j *join) add(h *harvest, r *flow.Record, first bool) {
	n := j.slot(h.shard, r.Slot)
	j.ledger.accounted += r.PacketsSent + r.PacketsReceived
	if j.report != nil {
		j.report.add(h.shard, r, n)
	}
	if j.publish == nil {
		return
	}
	f := view.Flow{
		Interface: j.ifaces(r.Interface), Direction: netmonpb.Direction(r.OurSide),
		Domain: view.Unattributed, Source: netmonpb.NameSource(max(n.source, names.None)),
		Remote: r.Responder, Protocol: r.Protocol, Application: application(r),
		BytesSent: r.BytesSent, BytesReceived: r.BytesReceived,
		PacketsSent: r.PacketsSent, PacketsReceived: r.PacketsReceived,
	}
	if n.name != 0 {
		f.Domain = j.filter.apply(j.book.Name(n.name))
	}
	if r.OurSide == flow.Inbound { // sent is from our side, the responder's
		f.Remote = r.Initiator
		f.BytesSent, f.BytesReceived = f.BytesReceived, f.BytesSent
		f.PacketsSent, f.PacketsReceived = f.PacketsReceived, f.PacketsSent
	}
	if first && connection(r) {
		f.Connections = 1
		if j.accesses.begin(r, n.name) {
			f.Accesses = 1
		}
	}
	j.views.Add(&f)
}

// connection tells whether a flow is a connection (DEFINITIONS 3.5).
func connection(r *flow.Record) bool {
	return packet.HasPorts(r.Protocol) && (r.InitiatorPort != 0 || r.ResponderPort != 0)
}

// ageAfter is how long a name stays known that no answer and no flow asks for:
// between once and twice this.
const ageAfter = int64(time.Hour)

// forget drops what ended flows and unused names hold.
func (j *join) forget(end int64, hs []*harvest) {
	for _, h := range hs {
		for i := range h.records {
			if r := &h.records[i]; r.Ended {
				if n := j.slot(h.shard, r.Slot); n.generation == r.Generation {
					*n = flowName{}
				}
			}
		}
	}
	j.accesses.forget(end)
	if j.report != nil {
		return // replay forgets nothing
	}
	if j.aged == 0 {
		j.aged = end
	}
	if end-j.aged >= ageAfter {
		j.book.Age()
		j.aged = end
	}
	if j.book.WantSweep() {
		j.book.Sweep(func(mark func(names.ID)) {
			for _, shard := range j.flows {
				for i := range shard {
					if id := shard[i].name; id != 0 {
						mark(id)
					}
				}
			}
			j.accesses.names(mark)
		})
	}
}
