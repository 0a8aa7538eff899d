package sensor

import (
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
	flows    []pieces[flowName] // per shard, by slot
	accesses accesses
	clients  clients
	filter   nameFilter
	views    *view.Set
	ifaces   func(uint16) string

	changes  chan func()                                        // of a reload, for the join's goroutine
	publish  func(start, end int64, rows []*netmonpb.Row) error // nil: nobody wants windows
	report   *report                                            // what replay prints, else nil
	evidence *evidence                                          // likewise, for -explain
	newest   *newest                                            // what pages show; nil: there are none
	gauges   func(v *view.Set, end int64, l *ledger)            // adds what others know to the view sensor; may be nil
	aged     int64                                              // packet time of the book's last ageing
	closed   int64                                              // end of the newest window
	window   int64                                              // length of a window
	ledger   ledger
	share    share
	hidden   hidden
	tables   []flow.Stats // of each shard, as of its last harvest
	active   active

	was    figuresWere
	births []birth               // scratch
	merged []birth               // scratch of sortBirths
	facts  []factRef             // scratch
	spots  [lookahead]names.Spot // of facts i to ahead: see learn
	ahead  int                   // facts for which there was one
}

// run publishes each epoch once every shard has closed it, until the last
// shard has ended. The first window that cannot be published calls stop, which
// must end the shards; they are heard out, for each waits to hand over its last.
func (j *join) run(in <-chan *harvest, stop func()) error {
	var first error
	for running := len(j.final); running > 0; {
		var h *harvest
		select {
		case change := <-j.changes:
			change()
			continue
		case h = <-in:
		}
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
	if j.gauges != nil {
		j.gauges(j.views, end, &j.ledger)
	}
	j.figures()
	start := end - j.window
	if j.closed > start && j.closed < end {
		start = j.closed
	}
	j.closed = end
	j.newest.cut(end)
	return j.publish(start, end, j.views.Cut(end))
}

// count sums the named records into the views. Connections come first, in the
// order of their first packets, since an access depends on the one before.
func (j *join) count(hs []*harvest) {
	if !j.tells() { // no order, no reasons
		for _, h := range hs {
			for r := range h.records.All() {
				if !r.Held {
					j.add(h, r, false)
				}
			}
		}
		return
	}
	j.births = j.births[:0]
	for _, h := range hs {
		for r := range h.records.All() {
			j.clients.note(r, j.slot(h.shard, r.Slot))
		}
	}
	for _, h := range hs {
		for r := range h.records.All() {
			if r.Counted {
				j.births = append(j.births, birth{r.Order, h, r})
			} else if !r.Held {
				j.add(h, r, false)
			}
		}
	}
	j.sortBirths()
	for _, b := range j.births {
		j.add(b.h, b.rec, true)
	}
}

// tells whether anybody hears of more than the sums over whole flows.
func (j *join) tells() bool { return j.publish != nil || j.evidence != nil }

// add sums one record into the views and the report.
func (j *join) add(h *harvest, r *flow.Record, first bool) {
	n := j.slot(h.shard, r.Slot)
	j.ledger.accounted += r.PacketsSent + r.PacketsReceived
	if j.report != nil {
		j.report.add(h.shard, r, n)
		if !j.tells() {
			return
		}
	}
	why := noLookup
	if n.name == 0 {
		why = j.why(r, n)
	}
	j.evidence.counted(h.shard, r, n)
	if j.publish == nil {
		return
	}
	f := view.Flow{
		Interface: j.ifaces(r.Interface), Direction: netmonpb.Direction(r.OurSide),
		Domain: view.Unattributed, Source: netmonpb.NameSource(max(n.source, names.None)),
		Remote: r.Responder, Protocol: r.Protocol, Application: application(r).String(),
		BytesSent: r.BytesSent, BytesReceived: r.BytesReceived,
		PacketsSent: r.PacketsSent, PacketsReceived: r.PacketsReceived,
		Health: health(r),
	}
	if n.name != 0 {
		f.Domain = j.filter.apply(j.book.Name(n.name))
	} else {
		f.Reason = why.String()
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
	if f.Domain != view.Excluded {
		j.share.add(n.name != 0, f.BytesSent+f.BytesReceived, f.Connections)
	}
	j.newest.add(r, &f, n.source)
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
		for r := range h.records.All() {
			if r.Ended {
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
	j.clients.forget(end)
	if j.aged == 0 {
		j.aged = end
	}
	if end-j.aged >= ageAfter || j.book.Tight() {
		j.book.Age()
		j.aged = end
	}
	if j.book.WantSweep() {
		j.book.Sweep(func(mark func(names.ID)) {
			for i := range j.flows {
				for f := range j.flows[i].each() {
					if f.name != 0 {
						mark(f.name)
					}
				}
			}
			j.accesses.names(mark)
		})
	}
}
