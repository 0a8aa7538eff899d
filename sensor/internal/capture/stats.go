package capture

import "time"

// Stats are counters since the rings were opened.
type Stats struct {
	Shards     []ShardStats
	Interfaces []InterfaceStats

	// Refused is how many interfaces are selected and not captured now, because
	// 65535 names have a number already.
	Refused int

	// Errors is how often the kernel did not answer, or refused a change of a ring.
	Errors uint64
}

// ShardStats are one ring's. Packets is Delivered + Skipped + Damaged + what
// still waits in the ring.
type ShardStats struct {
	Packets uint64 // that the filter let pass and the ring had room for
	Drops   uint64 // that it had no room for
	Freezes uint64 // how often it was full

	Delivered uint64 // given to the shard
	Skipped   uint64 // not given: of another interface, or from before the filter
	Damaged   uint64 // not given: the ring contradicts itself

	RingBytes int // memory of the ring

	// LongestHold is the longest time that a block of the ring was in the shard's
	// hands, from its opening to its return to the kernel, since the last Stats;
	// of a block that is still there, up to now.
	LongestHold time.Duration
}

// InterfaceStats are what the devices of an interface themselves counted while
// they were captured. A device that is just going may be missing from it for a
// moment. What Stats said once is never taken back; of a veth that goes, it does not
// learn what the veth received since.
type InterfaceStats struct {
	Interface uint16 // as in Packet
	Counted
}

// Stats reads the counters of the kernel and ours. Interfaces is empty where the
// kernel does not answer. It may be called until Close of the Rings, by any
// goroutine; the rings may be closed already.
func (r *Rings) Stats() Stats {
	var out Stats
	for _, s := range r.sources {
		is := ShardStats{ // before the kernel's: what is not in these is not in those
			Delivered: s.delivered.Load(), Skipped: s.skipped.Load(), Damaged: s.damaged.Load(),
			RingBytes: r.size.block * r.size.blocks, LongestHold: s.longestHold(),
		}
		s.mu.Lock()
		s.count()
		is.Packets, is.Drops, is.Freezes = s.totals[0], s.totals[1], s.totals[2]
		out.Errors += s.errors
		s.mu.Unlock()
		out.Shards = append(out.Shards, is)
	}
	out.Errors += r.refused.Load()
	out.Refused = r.watcher.table.Load().refused
	all, err := devices(r.watcher.handle)
	if err != nil {
		r.watcher.errors.Add(1)
		out.Errors += r.watcher.errors.Load()
		return out
	}
	out.Errors += r.watcher.errors.Load()
	now := map[int]Counted{}
	for _, d := range all {
		now[d.index] = d.counted
	}
	r.watcher.shown.Store(&now)
	for n, i := range r.watcher.table.Load().list {
		c, there := now[i.Index]
		switch {
		case n == 0:
		case !i.Present:
			out.Interfaces = append(out.Interfaces, InterfaceStats{uint16(n), i.ended})
		case there:
			out.Interfaces = append(out.Interfaces, InterfaceStats{uint16(n), i.counted(c)})
		}
	}
	return out
}
