package capture

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket is a packet socket and its ring.
type socket struct {
	engine engine
	fd     int    // -1: peek failed
	ring   []byte // nil: likewise
	size   ringSize

	mu     sync.Mutex // guards what follows, and the descriptor against Close
	closed bool
	last   [3]uint32 // what the engine said last, modulo 2^32
	totals [3]uint64 // packets without drops, drops, freezes
	errors uint64    // times that the kernel did not say
}

// setFilter replaces the filter in one step.
func (s *socket) setFilter(p []bpf.Instruction) error {
	raw, err := bpf.Assemble(p)
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if err := s.engine.SetBPF(raw); err != nil {
		return fmt.Errorf("attach filter of %d instructions: %w", len(raw), err)
	}
	return nil
}

// count adds what the kernel counted since the last time; mu is held. Reading
// clears the kernel's counters; the library adds them up in 32 bits.
func (s *socket) count() {
	if s.closed {
		return
	}
	var fresh [3]uint32
	if s.fd >= 0 {
		st, err := unix.GetsockoptTpacketStatsV3(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			s.errors++
			return
		}
		fresh = [3]uint32{st.Packets, st.Drops, st.Freeze_q_cnt}
	} else {
		packets, drops, freezes, err := s.engine.stats()
		if err != nil {
			s.errors++
			return
		}
		now := [3]uint32{packets, drops, freezes}
		for i := range now {
			fresh[i] = now[i] - s.last[i]
		}
		s.last = now
	}
	fresh[0] -= fresh[1] // the kernel's packets include its drops
	for i := range fresh {
		s.totals[i] += uint64(fresh[i])
	}
}

// begin sets the counters to what the ring holds, while nothing passes the filter.
// Packets from before the first filter are in there, and the library has cleared the
// kernel's counters since some of them.
func (s *socket) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ring == nil {
		return
	}
	s.count()
	s.totals = [3]uint64{}
	for n := range s.size.blocks {
		s.totals[0] += uint64(binary.NativeEndian.Uint32(s.ring[n*s.size.block+blockCount:]))
	}
}

func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.count()
	s.closed = true
	s.engine.Close()
}
