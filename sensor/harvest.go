package sensor

import (
	"math"

	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
)

// A harvest is what one shard hands to the join for one epoch.
type harvest struct {
	shard   int
	closed  int64 // the epoch's end; the next harvest of this shard closes later
	final   bool  // no further harvest will come
	records flow.Records
	names   names.Harvest
	counts  []counts // by interface
	table   flow.Stats
	active  []flow.Active // by interface
	unseen  []uint64      // bytes of TCP that were acknowledged, by interface
}

// advance closes the open epoch if it lies wholly before clock.
func (s *shard) advance(clock int64) {
	clock = min(clock, math.MaxInt64-2*s.interval) // a file may say anything
	if clock < s.end && clock > s.end-clockStep*s.interval {
		return
	}
	// What is held or waited for may be due in an epoch without packets. It must
	// not be later because this shard has none: other shards may.
	for s.end != 0 && s.harvest(s.end, false) && clock >= s.end+s.interval && s.waiting() {
		s.end += s.interval
	}
	s.end = clock - clock%s.interval + s.interval
}

// clockStep is how many epochs the clock must fall back to be taken for set
// back; epochs then go on from the new time.
const clockStep = 3

// harvest begins to hand the epoch that ends at closed to the join. Where the join
// has not taken the last two, the epoch grows instead and harvest returns false:
// sums stay sums, so a slow join costs resolution in time and no packets.
//
// The counts and the facts are handed over as they are now. The records of
// millions of flows take longer than a block of the ring may wait: live, step gives
// them out between packets.
func (s *shard) harvest(closed int64, final bool) bool {
	s.complete() // so no epoch is open any more when the next one ends, however short
	var h *harvest
	if s.wait || final {
		h = <-s.free
	} else {
		select {
		case h = <-s.free:
		default:
			return false
		}
	}
	s.begin(h, closed, final)
	s.flows.Begin(&h.records, closed, final)
	if s.wait || final {
		s.complete()
	}
	return true
}

// begin opens a harvest with all but the records and what comes after them.
func (s *shard) begin(h *harvest, closed int64, final bool) {
	h.shard, h.closed, h.final = s.id, closed, final
	h.records.Reset()
	wait := closed
	if final {
		wait = math.MaxInt64 // for a response: no longer
	}
	s.observer.Harvest(&h.names, wait)
	h.counts = append(h.counts[:0], s.counts...)
	clear(s.counts)
	s.open, s.owed = h, 0
}

// stepAfter is how many packets are counted before 2048 more flows of an open
// harvest have their turn: so the records of a million flows are given out within
// half a million packets, and delay none of them by more than a millisecond.
const stepAfter = 1024

// step goes on with the open harvest, and hands it over when it is complete.
func (s *shard) step() {
	h, before := s.open, s.open.records.Len()
	more := s.flows.Step(1)
	for r := range h.records.From(before) {
		if r.Ended {
			s.observer.Forget(r.Slot, r.Generation)
		}
	}
	s.owed = 0
	if !more {
		s.handOver()
	}
}

// handOver sends the open harvest off, with what the table says of itself.
func (s *shard) handOver() {
	h := s.open
	s.open = nil
	h.records.Trim()
	h.table = s.flows.Stats()
	h.active = s.flows.Active(h.active[:0])
	h.unseen = s.flows.Unseen(h.unseen[:0])
	s.out <- h // has room for every harvest there is
}

// complete does what is left of the open harvest.
func (s *shard) complete() {
	for s.open != nil {
		s.step()
	}
}

// waiting tells whether time alone will bring something to harvest.
func (s *shard) waiting() bool {
	s.complete()
	return s.flows.Stats().HeldPackets > 0 || s.observer.Waiting()
}

// finish ends every flow and hands over what is left: whole flows in parts.
func (s *shard) finish() {
	closed := max(s.end, 1)
	if !s.whole {
		s.harvest(closed, true)
		return
	}
	s.harvest(closed, false)
	h := <-s.free
	s.begin(h, closed, true)
	s.flows.Begin(&h.records, math.MaxInt64, true)
	for s.flows.Step(drainChunks) {
		h.final = false
		s.handOver()
		h = <-s.free
		s.begin(h, closed, true)
		s.flows.Continue(&h.records)
	}
	s.handOver()
}

// drainChunks is how many times 2048 flows end in one harvest at the end of a file,
// and replayCut after how many packets an epoch is handed over in part: few enough
// for the records to stay in the cache on their way to the join.
const (
	drainChunks = 8
	replayCut   = 16 << 10
)
