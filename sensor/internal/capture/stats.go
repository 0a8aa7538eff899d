package capture

// Stats are counters since the rings were opened.
type Stats struct {
	Shards     []ShardStats
	Interfaces []InterfaceStats
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
}

// InterfaceStats are what the kernel itself counted on an interface that is
// captured, since the interface was made.
type InterfaceStats struct {
	Interface            uint16 // as in Packet
	RxPackets, TxPackets uint64
}

// Stats reads the counters of the kernel and ours. Interfaces is empty where the
// kernel does not answer. It may be called until Close of the Rings, by any
// goroutine; the rings may be closed already.
func (r *Rings) Stats() Stats {
	var out Stats
	for _, s := range r.sources {
		s.mu.Lock()
		s.count()
		totals := s.totals
		s.mu.Unlock()
		out.Shards = append(out.Shards, ShardStats{
			Packets: totals[0], Drops: totals[1], Freezes: totals[2],
			Delivered: s.delivered.Load(), Skipped: s.skipped.Load(), Damaged: s.damaged.Load(),
			RingBytes: r.size.block * r.size.blocks,
		})
	}
	all, err := devices(r.watcher.handle)
	if err != nil {
		return out
	}
	t := r.watcher.table.Load()
	for _, d := range all {
		if n, ok := t.numbers[int32(d.index)]; ok && t.list[n].Present {
			out.Interfaces = append(out.Interfaces, InterfaceStats{Interface: n, RxPackets: d.rx, TxPackets: d.tx})
		}
	}
	return out
}
