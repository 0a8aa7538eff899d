package sensor

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// batch is how many packets are decoded and have their table slots found
// before the first of them is counted, so that cache misses overlap.
const batch = 32

// A shard reads one source and keeps the flows it sees there. Its goroutine is
// the only one that touches it, so nothing in it is locked. It names nothing:
// facts and records travel to the join side by side.
type shard struct {
	id       int
	src      capture.Source
	flows    *flow.Table
	observer *names.Observer
	sides    sides
	check    *capture.Filter   // what the kernel could not decide; nil: nothing
	loopback func(uint16) bool // tells interfaces of which nothing counts; nil: there is none
	mtu      func(uint16) int  // of an interface; nil: that of Ethernet

	interval int64 // length of an epoch, nanoseconds
	end      int64 // of the open epoch; 0 before the first packet or idle clock
	counts   []counts

	next atomic.Pointer[shardRules] // to take into use with the next packets; nil: none

	headers [batch]packet.Header
	reasons [batch]packet.Reason

	free chan *harvest // emptied by the join, waiting to be filled
	open *harvest      // of an epoch that has ended, whose records are given out bit by bit; nil: none
	owed int           // packets since the last bit
	out  chan<- *harvest
	wait bool // for a free harvest at each epoch's end: replay, where time can wait

	whole bool // the table gives out whole flows only; see flow.Options
	cut   int  // whole: packets after which an epoch is handed over in part; 0: never
	uncut int  // packets since
}

// counts is what became of the frames of one interface in one epoch.
type counts struct {
	frames    [packet.NumReasons]uint64
	linkBytes uint64
	ipBytes   uint64
	filtered  uint64 // IP packets that the config excludes and the kernel let pass
	merged    uint64 // packets on the wire beyond those that hold them, estimated
}

// run reads until ctx is done or the source ends, then hands over what is left.
func (s *shard) run(ctx context.Context) error {
	defer s.src.Close() // by the goroutine that reads: Close unmaps the ring
	defer s.finish()

	for ctx.Err() == nil {
		if s.open != nil && !s.src.Ready() {
			s.step()
			continue
		}
		block, err := s.src.Next()
		if err == io.EOF {
			s.advance(s.src.Clock()) // the same for all shards of a file
			return nil
		}
		if err != nil {
			return fmt.Errorf("shard %d: %w", s.id, err)
		}
		if len(block) == 0 {
			s.complete() // nothing waits for it
			s.advance(s.src.Clock())
			continue
		}
		for len(block) > 0 {
			n := s.sameEpoch(block[:min(len(block), batch)])
			s.count(block[:n])
			block = block[n:]
			if s.owed += n; s.open != nil && s.owed >= stepAfter {
				s.step()
			}
			if s.uncut += n; s.cut > 0 && s.uncut >= s.cut {
				s.uncut = 0
				s.harvest(s.end-s.interval, false) // what waits for time waits for the epoch's end
			}
		}
	}
	return nil
}

// sameEpoch returns how many packets at the head of ps belong to the open
// epoch, at least one, after closing the epochs that lie wholly before them.
func (s *shard) sameEpoch(ps []capture.Packet) int {
	s.advance(ps[0].Clock)
	if ps[len(ps)-1].Clock < s.end {
		return len(ps)
	}
	n := 1
	for n < len(ps) && ps[n].Clock < s.end {
		n++
	}
	return n
}

// shardRules is what a reload changes of a shard.
type shardRules struct {
	check    *capture.Filter
	loopback func(iface uint16) bool
	home     []netip.Prefix
}

// take takes rules into use. Packets of known flows are not asked about again, so
// what the rules exclude ends.
func (s *shard) take(r *shardRules) {
	s.check, s.loopback, s.sides.home = r.check, r.loopback, r.home
	if s.check == nil && s.loopback == nil {
		return
	}
	s.flows.Exclude(func(f *flow.Record) bool {
		return !s.allows(&packet.Header{
			Version: f.Version, Protocol: f.Protocol,
			Src: f.Initiator, Dst: f.Responder, SrcPort: f.InitiatorPort, DstPort: f.ResponderPort,
		}) || s.loopback != nil && s.loopback(f.Interface)
	})
}

// count decodes the packets and finds their slots, then counts them.
func (s *shard) count(ps []capture.Packet) {
	if s.next.Load() != nil {
		s.take(s.next.Swap(nil))
	}
	for i := range ps {
		p, h := &ps[i], &s.headers[i]
		reason := h.Decode(packet.Link(p.Link), p.Data, p.Length)
		if reason == packet.Decoded {
			s.flows.Touch(h, p.Interface)
		}
		s.reasons[i] = reason
	}
	for i := range ps {
		if s.reasons[i] == packet.Decoded {
			s.flows.Find(&s.headers[i])
		}
	}
	for i := range ps {
		p, h := &ps[i], &s.headers[i]
		c := s.countsOf(p.Interface)
		c.frames[s.reasons[i]]++
		c.linkBytes += uint64(p.Length)
		if s.reasons[i] != packet.Decoded {
			continue
		}
		r, known := s.flows.AddKnown(h, p.Interface, p.Time)
		if !known {
			if !s.allows(h) {
				c.filtered++
				s.observeFiltered(h, p)
				continue
			}
			if s.loopback != nil && s.loopback(p.Interface) {
				c.filtered++
				continue
			}
			r = s.add(h, p)
		}
		c.ipBytes += uint64(h.Bytes)
		if h.Bytes > ordinary {
			c.merged += s.extra(h, p.Interface, r.Slot)
		}
		if (r.Undecided || h.SrcPort == portDNS || h.DstPort == portDNS || h.Fragment != packet.Whole || mdns(h)) &&
			(!h.TCP || h.PayloadLength > 0) { // else there is nothing to show
			s.observe(h, p, r)
		}
	}
}

// add counts a packet to which there is more than counters.
func (s *shard) add(h *packet.Header, p *capture.Packet) flow.Result {
	r := s.flows.Add(h, p.Interface, p.Time, p.Order)
	if r.Born {
		s.flows.SetSide(r.Slot, s.sides.of(h, p.Type, r.FromInitiator))
	}
	if h.TCP && h.TCPFlags&packet.SYN != 0 {
		s.flows.SetMSS(r.Slot, h.MSS(p.Data))
	}
	return r
}

const (
	portDNS  = 53
	portMDNS = 5353
)

func mdns(h *packet.Header) bool {
	return h.Protocol == protoUDP && (h.SrcPort == portMDNS || h.DstPort == portMDNS)
}

const (
	protoTCP = 6
	protoUDP = 17
)

// observe shows a packet that may carry a name to the observer. It is off the
// path of packets of known flows.
func (s *shard) observe(h *packet.Header, p *capture.Packet, r flow.Result) {
	var q names.Packet // field by field: a literal is built elsewhere and copied
	q.Src, q.Dst, q.SrcPort, q.DstPort = h.Src, h.Dst, h.SrcPort, h.DstPort
	q.Slot, q.Generation, q.Interface, q.FromInitiator = r.Slot, r.Generation, p.Interface, r.FromInitiator
	q.Time, q.Order = p.Time, p.Order
	decided, side := false, false
	switch {
	case h.Fragment != packet.Whole:
		if h.Protocol == protoUDP {
			payload, length, offset, more := h.FragmentPayload(p.Data)
			q.Payload, q.PayloadLength = payload, length
			s.observer.Fragment(h.Version, h.Protocol, h.FragmentID, offset, more, &q)
		}
		return
	case h.Protocol == protoTCP && h.TCP:
		q.PSH, q.Seq = h.TCPFlags&packet.PSH != 0, h.Seq
		if h.TCPFlags&packet.SYN != 0 {
			q.Seq++ // the SYN itself has a number
		}
		q.First, q.Begun = s.flows.TakeFirst(r.Slot, r.FromInitiator)
		q.Payload, q.PayloadLength = h.Payload(p.Data), h.PayloadLength
		s.detect(h.Protocol, &q, r)
		decided, side = s.observer.TCP(&q)
	case h.Protocol == protoUDP:
		q.Payload, q.PayloadLength = h.Payload(p.Data), h.PayloadLength
		s.detect(h.Protocol, &q, r)
		decided = s.observer.UDP(&q)
	}
	switch {
	case !r.Undecided:
	case decided:
		s.flows.Decided(r.Slot)
	case side:
		s.flows.DecidedSide(r.Slot, r.FromInitiator)
	}
}

// detect looks for a flow's application in its first payloads. Nobody hears of it where
// whole flows are added up.
func (s *shard) detect(protocol uint8, q *names.Packet, r flow.Result) {
	if s.whole || !r.Undecided || len(q.Payload) == 0 || s.flows.Application(r.Slot) != 0 {
		return
	}
	port := q.DstPort
	if !q.FromInitiator {
		port = q.SrcPort
	}
	if a := names.DetectPayload(protocol, q.FromInitiator, port, q.Payload); a != names.AppUnknown {
		s.flows.SetApplication(r.Slot, uint8(a))
	}
}

// observeFiltered learns from DNS over UDP that the config keeps out of the counts.
func (s *shard) observeFiltered(h *packet.Header, p *capture.Packet) {
	if h.Protocol == protoUDP && (h.SrcPort == portDNS || h.DstPort == portDNS || mdns(h)) {
		s.observe(h, p, flow.Result{Ref: flow.Ref{Slot: names.NoSlot}})
	}
}

func (s *shard) allows(h *packet.Header) bool {
	return s.check == nil || s.check.Allow(h.Version, h.Protocol, h.Src, h.Dst, h.SrcPort, h.DstPort, h.Fragment == packet.Later)
}

func (s *shard) countsOf(iface uint16) *counts {
	for int(iface) >= len(s.counts) {
		s.counts = append(s.counts, counts{})
	}
	return &s.counts[iface]
}
