package flow

import (
	"testing"
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// numbered is a packet of a UDP flow of its own for every n.
func numbered(n int) packet.Header {
	h := between(4, protoUDP, uint16(n), 53)
	h.Src[12], h.Src[13] = 10, byte(n>>16)
	return h
}

func TestHold(t *testing.T) {
	const hold = 3 * second
	h := between(4, protoTCP, 40000, 443)
	harvest := func(t *testing.T, table *Table, clock int64) Record {
		t.Helper()
		rs := table.Harvest(nil, clock, false)
		if len(rs) != 1 {
			t.Fatalf("%d records at %d: %+v", len(rs), clock, rs)
		}
		return rs[0]
	}
	quiet := func(t *testing.T, table *Table, clock int64) {
		t.Helper()
		if rs := table.Harvest(nil, clock, false); len(rs) != 0 {
			t.Fatalf("at %d: %+v", clock, rs)
		}
	}
	begin := func(t *testing.T, o Options) (*Table, Result) {
		t.Helper()
		table := New(o)
		r := put(table, &h, 10*second)
		table.SetSide(r.Slot, Outbound)
		b := harvest(t, table, 11*second)
		if !b.Born || !b.Held || b.Counted || b.Ended || b.PacketsSent != 0 || b.BytesSent != 0 || b.OurSide != Outbound {
			t.Fatalf("born %+v", b)
		}
		put(table, &h, 11*second)
		quiet(t, table, 12*second)
		if s := table.Stats(); s.HeldPackets != 2 || s.HeldBytes != 200 {
			t.Fatalf("held: %+v", s)
		}
		return table, r
	}
	whole := func(t *testing.T, r Record) {
		t.Helper()
		if r.Born || r.Held || !r.Counted || r.PacketsSent != 2 || r.BytesSent != 200 {
			t.Errorf("%+v", r)
		}
	}

	t.Run("decided", func(t *testing.T) {
		table, r := begin(t, Options{HoldNS: hold})
		table.Decided(r.Slot)
		table.SetApplication(r.Slot, 7)
		got := harvest(t, table, 12*second)
		whole(t, got)
		if got.Application != 7 || table.Application(r.Slot) != 7 {
			t.Errorf("application %d", got.Application)
		}
		if next := put(table, &h, 12*second); next.Undecided || next.Born {
			t.Errorf("%+v", next)
		}
		if got := harvest(t, table, 13*second); got.Counted || got.PacketsSent != 1 {
			t.Errorf("%+v", got)
		}
		quiet(t, table, 14*second)
	})
	t.Run("over", func(t *testing.T) {
		table, _ := begin(t, Options{HoldNS: hold})
		quiet(t, table, 13*second-1)
		got := harvest(t, table, 13*second)
		whole(t, got)
		if got.Ended {
			t.Errorf("%+v", got)
		}
		if next := put(table, &h, 13*second); !next.Undecided {
			t.Error("decided by the end of the hold")
		}
		if got := harvest(t, table, 14*second); got.Held || got.PacketsSent != 1 {
			t.Errorf("held again: %+v", got)
		}
	})
	t.Run("flushed", func(t *testing.T) {
		table, _ := begin(t, Options{HoldNS: hold})
		rs := table.Harvest(nil, 12*second, true)
		whole(t, rs[0])
		if !rs[0].Ended || table.Len() != 0 {
			t.Errorf("%+v", rs)
		}
	})
	t.Run("restarted", func(t *testing.T) {
		table, old := begin(t, Options{HoldNS: hold})
		h := h
		h.TCP, h.TCPFlags, h.Seq = true, packet.SYN, 9
		r := put(table, &h, 12*second)
		if !r.Born || r.Slot == old.Slot || r.Generation == old.Generation {
			t.Errorf("after %+v comes %+v", old, r)
		}
		rs := table.Harvest(nil, 12*second, false)
		if len(rs) != 2 {
			t.Fatalf("%+v", rs)
		}
		whole(t, rs[0])
		if !rs[0].Ended || !rs[1].Born || !rs[1].Held {
			t.Errorf("%+v", rs)
		}
	})
	t.Run("clock set back", func(t *testing.T) {
		table := New(Options{HoldNS: hold})
		put(table, &h, 1000*second)
		if r := harvest(t, table, 1*second); r.Held || !r.Counted {
			t.Errorf("%+v", r)
		}
	})
	t.Run("never", func(t *testing.T) {
		table := New(Options{})
		put(table, &h, 10*second)
		if r := harvest(t, table, 10*second); r.Held || !r.Born || !r.Counted || r.PacketsSent != 1 {
			t.Errorf("%+v", r)
		}
	})
}

func TestIdle(t *testing.T) {
	udp, tcp := between(4, protoUDP, 40000, 53), between(6, protoTCP, 40000, 443)
	fillIdle := func(o Options) *Table {
		table := New(o)
		put(table, &udp, 0)
		put(table, &tcp, 0)
		if n := len(table.Harvest(nil, 0, false)); n != 2 {
			t.Fatalf("%d records", n)
		}
		return table
	}
	table := fillIdle(Options{})
	for _, c := range []struct {
		clock   int64
		records int
		left    int
	}{{60 * second, 0, 2}, {60*second + 1, 1, 1}, {600 * second, 0, 1}, {600*second + 1, 1, 0}, {9999 * second, 0, 0}} {
		rs := table.Harvest(nil, c.clock, false)
		if len(rs) != c.records || table.Len() != c.left {
			t.Errorf("at %d: %d left, records %+v", c.clock, table.Len(), rs)
		}
		for _, r := range rs {
			if !r.Ended || r.Born || r.Counted || r.PacketsSent != 0 {
				t.Errorf("%+v", r)
			}
		}
		table.check(t)
	}

	table = fillIdle(Options{})
	put(table, &udp, 50*second) // which moves the end to 110 s
	if rs := table.Harvest(nil, 61*second, false); len(rs) != 1 || rs[0].Ended {
		t.Errorf("%+v", rs)
	}
	if rs := table.Harvest(nil, 110*second+1, false); len(rs) != 1 || !rs[0].Ended || rs[0].Last != 50*second {
		t.Errorf("%+v", rs)
	}

	table = fillIdle(Options{})
	other := between(4, protoUDP, 40001, 53)
	put(table, &other, 5*second)
	table.Harvest(nil, 5*second, false)
	if rs := table.Harvest(nil, 65*second, false); len(rs) != 1 || rs[0].InitiatorPort != 40000 {
		t.Errorf("one flow is idle, the other just not: %+v", rs)
	}

	table = fillIdle(Options{KeepIdle: true})
	if rs := table.Harvest(nil, 9999*second, false); len(rs) != 0 || table.Len() != 2 {
		t.Errorf("kept idle, but %+v", rs)
	}
	if r := put(table, &udp, 9999*second); !r.Born {
		t.Errorf("%+v", r)
	}
}

func TestFull(t *testing.T) {
	const most = 100
	table, sums := New(Options{MaxFlows: most}), newLedger()
	for n := range most {
		h := numbered(n)
		put(table, &h, int64(n))
	}
	sums.take(t, table.Harvest(nil, most, false))
	busy := numbered(0)
	for n := most; n < 2*most; n++ {
		put(table, &busy, int64(n))
		h := numbered(n)
		put(table, &h, int64(n))
		if table.Len() != most {
			t.Fatalf("%d flows in a table for %d", table.Len(), most)
		}
	}
	table.check(t)
	if s := table.Stats(); s.Evicted != most || s.Overflowed != 0 || s.Waiting != most || s.Flows != most {
		t.Errorf("%+v", s)
	}
	// As many flows as that wait for the harvest. Now a new one finds no room,
	for n := 2 * most; n < 3*most; n++ {
		h := numbered(n)
		if r := put(table, &h, int64(n)); r.Undecided {
			t.Errorf("%+v", r)
		}
	}
	if s := table.Stats(); s.Evicted != most || s.Overflowed != most || s.Flows != most+1 {
		t.Errorf("%+v", s)
	}
	if r := put(table, &busy, 3*most); r.Born { // while a known one has its own
		t.Errorf("%+v", r)
	}
	rs := table.Harvest(nil, 3*most, false)
	sums.take(t, rs)
	var others, ended int
	for _, r := range rs {
		if r.Initiator == ([16]byte{10: 0xff, 11: 0xff}) && r.Responder == r.Initiator {
			others += int(r.PacketsSent)
		}
		if r.Ended {
			ended++
			if r.InitiatorPort == 0 {
				t.Error("the flow seen all the time was evicted")
			}
		}
	}
	if others != most || ended != most {
		t.Errorf("%d packets of others, %d flows ended", others, ended)
	}
	sums.take(t, table.Harvest(nil, 3*most, true))
	if want := uint64(most + 2*most + most + 1); sums.packets != want || sums.bytes != want*100 {
		t.Errorf("%d packets, %d bytes harvested, %d packets added", sums.packets, sums.bytes, want)
	}
}

// TestFullRestarts: connections that restart all the time are bounded too.
func TestFullRestarts(t *testing.T) {
	table := New(Options{MaxFlows: 10})
	h := between(4, protoTCP, 40000, 443)
	h.TCP, h.TCPFlags = true, packet.SYN
	for n := range uint32(1000) {
		h.Seq = n
		put(table, &h, 0)
	}
	if s := table.Stats(); s.Waiting != 10 || s.Flows != 1 || s.Overflowed != 1000-11 {
		t.Errorf("%+v", s)
	}
	sums := newLedger()
	sums.take(t, table.Harvest(nil, 0, true))
	if len(sums.flows) != 11 || sums.packets != 1000 {
		t.Errorf("%d flows, %d packets", len(sums.flows), sums.packets)
	}
}

// A rule that comes later ends flows, which fills the table as much as others that
// end: it never holds more than twice its flows.
func TestExclude(t *testing.T) {
	const most = 100
	for _, version := range []uint8{4, 6} {
		table := New(Options{MaxFlows: most})
		set := func(n int) (h packet.Header) {
			setPacket(&h, n, version, false)
			h.SrcPort = uint16(n)
			return h
		}
		for n := range most {
			h := set(n)
			put(table, &h, 1)
		}
		table.Exclude(func(r *Record) bool { return r.Version == version && r.InitiatorPort%2 == 0 })
		for n := range most {
			h := set(n)
			table.Touch(&h, 0)
			table.Find(&h)
			if _, known := table.AddKnown(&h, 0, 2); known != (n%2 == 1) {
				t.Errorf("IPv%d, flow %d goes on: %v", version, n, known)
			}
		}
		table.Exclude(func(*Record) bool { return true })
		for n := range 3 * most {
			h := set(n)
			put(table, &h, 3)
		}
		if s := table.Stats(); s.Flows+s.Waiting != 2*most+1 || s.Overflowed != 2*most { // one is of all the others
			t.Errorf("IPv%d: %+v", version, s)
		}
		table.check(t)
		packets := uint64(0)
		for _, r := range table.Harvest(nil, 4, true) {
			packets += r.PacketsSent + r.PacketsReceived
		}
		if packets != most+most/2+3*most {
			t.Errorf("IPv%d: %d packets", version, packets)
		}
	}
}

func TestFragments(t *testing.T) {
	add := func(table *Table, where packet.Fragment, id uint32, time int64) (packet.Header, Result) {
		h := between(4, protoUDP, 40000, 53)
		h.Fragment, h.FragmentID, h.FragmentProtocol = where, id, protoUDP
		if where == packet.Later {
			h.SrcPort, h.DstPort = 0, 0
		}
		r := put(table, &h, time)
		return h, r
	}
	table := New(Options{})
	if h, r := add(table, packet.Later, 1, 0); h.SrcPort != 0 || !r.Born || r.Undecided {
		t.Errorf("before its first: %+v, %+v", h, r)
	}
	_, first := add(table, packet.First, 1, 0)
	if !first.Born || !first.Undecided {
		t.Errorf("%+v", first)
	}
	for _, c := range []struct {
		name string
		id   uint32
		time int64
		want bool
	}{{"at once", 1, 0, true}, {"at 30 s", 1, 30 * second, true}, {"later", 1, 30*second + 1, false},
		{"another packet", 2, 0, false}, {"time goes back", 1, -30 * second, true}} {
		h, r := add(table, packet.Later, c.id, c.time)
		if got := h.SrcPort == 40000 && h.DstPort == 53 && r.Slot == first.Slot; got != c.want {
			t.Errorf("%s: %+v, %+v", c.name, h, r)
		}
	}

	// A protocol that only the first fragment knows.
	h := between(6, 6, 40000, 443)
	h.Fragment, h.FragmentID = packet.First, 5
	first = put(table, &h, 0)
	h.Fragment, h.Protocol, h.SrcPort, h.DstPort = packet.Later, 60, 0, 0
	if r := put(table, &h, 0); r.Slot != first.Slot || h.Protocol != 6 {
		t.Errorf("%+v, %+v", h, r)
	}
}

func TestFragmentsOverflow(t *testing.T) {
	table := New(Options{})
	h := between(4, protoUDP, 40000, 53)
	h.Fragment = packet.First
	for h.FragmentID = 1; h.FragmentID <= 3*maxFragments; h.FragmentID++ {
		put(table, &h, 0)
	}
	known := len(table.fragments.newer) + len(table.fragments.older)
	if s := table.Stats(); known > maxFragments || int(s.FragmentsOverflowed) != 3*maxFragments-known {
		t.Errorf("%d known, %d overflowed", known, s.FragmentsOverflowed)
	}
	overflowed := table.fragments.overflowed
	for ; h.FragmentID <= 6*maxFragments; h.FragmentID++ {
		put(table, &h, 3600*second)
	}
	if n := table.fragments.overflowed - overflowed; n > 3*maxFragments-uint64(known)+1 {
		t.Errorf("%d overflowed, those too old for use among them", n)
	}
}

// TestShrink: a table gives back what a flood made it take.
func TestShrink(t *testing.T) {
	table := New(Options{})
	const flood = 20 * chunkSlots
	for n := range flood {
		h := numbered(n)
		put(table, &h, int64(n))
	}
	h := between(6, protoUDP, 40000, 53)
	put(table, &h, 100*second)
	top := table.Stats()
	if got := len(table.Harvest(nil, 100*second, false)); got != flood+1 {
		t.Errorf("%d records", got)
	}
	table.check(t)
	if s := table.Stats(); s.Flows != 1 || s.Bytes > top.Bytes/2 {
		t.Errorf("after the flood %+v, in it %+v", s, top)
	}
	sums := newLedger()
	for n := range flood { // numbers of chunks are used again, by the other family too
		h := numbered(n)
		h.Version = uint8(4 + n%2*2)
		put(table, &h, 100*second)
	}
	table.check(t)
	if n := table.numbers.count; n > 24 {
		t.Errorf("%d numbers for at most 22 chunks", n)
	}
	table.Harvest(nil, 100*second, false)
	sums.take(t, table.Harvest(nil, 100*second, false))
	if table.Len() != flood+1 || sums.packets != 0 {
		t.Errorf("%d flows, %d packets", table.Len(), sums.packets)
	}
}

func TestUseAfterFlush(t *testing.T) {
	table := New(Options{})
	for range 3 {
		h := numbered(1)
		if r := put(table, &h, 0); !r.Born {
			t.Errorf("%+v", r)
		}
		if rs := table.Harvest(nil, 0, true); len(rs) != 1 || !rs[0].Ended || !rs[0].Born {
			t.Errorf("%+v", rs)
		}
		table.check(t)
	}
}

// TestTimes: times at the ends of int64 neither wrap nor hang.
func TestTimes(t *testing.T) {
	const first, last = -1 << 63, 1<<63 - 1
	table, sums := New(Options{HoldNS: second}), newLedger()
	h := between(4, protoTCP, 40000, 443)
	if !put(table, &h, first).Born || !put(table, &h, last).Born || put(table, &h, first).Born {
		t.Error("a gap of all time is none")
	}
	sums.take(t, table.Harvest(nil, last, false))
	table.check(t)
	sums.take(t, table.Harvest(nil, first, true))
	if sums.packets != 3 || len(sums.flows) != 2 {
		t.Errorf("%d packets in %d flows", sums.packets, len(sums.flows))
	}
}

func TestLayout(t *testing.T) {
	if n := unsafe.Sizeof(state[key4]{}); n != prefetch.LineSize {
		t.Errorf("the state of a flow of IPv4 takes %d bytes", n)
	}
	table := New(Options{})
	worst := 0.0
	for n := range 300_000 {
		var h packet.Header
		setPacket(&h, n, 4, false)
		put(table, &h, 1)
		if n%5000 == 4999 && n > 50_000 {
			worst = max(worst, float64(table.Stats().Bytes)/float64(n+1))
		}
	}
	if worst > 128 {
		t.Errorf("%.1f bytes per flow", worst)
	}
}

func TestAllocates(t *testing.T) {
	table := New(Options{})
	fill(table, 10_000, 4)
	fill(table, 10_000, 6)
	var out Records
	table.harvestInto(&out, 1, false)
	var h packet.Header
	n := 0
	allocations := testing.AllocsPerRun(1000, func() {
		setPacket(&h, n%10_000, uint8(4+n%2*2), n%3 == 0)
		if put(table, &h, 1).Born {
			t.Fatal("not a known flow")
		}
		if n++; n%100 == 0 {
			table.harvestInto(&out, 1, false)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations per packet of a known flow", allocations)
	}
}

// TestGuessGrowsOld wants a slot that was guessed to be no flow's any more where
// an earlier packet of the batch ended it.
func TestGuessGrowsOld(t *testing.T) {
	for _, version := range []uint8{4, 6} {
		table := New(Options{})
		var h packet.Header
		setPacket(&h, 1, version, false)
		h.TCPFlags, h.Seq = packet.SYN, 1
		table.Touch(&h, 0)
		table.Add(&h, 0, 1, 1)

		again, after := h, h
		again.Seq = 2
		after.TCPFlags, after.Seq = packet.ACK, 3
		batch := []*packet.Header{&again, &after}
		for _, h := range batch {
			table.Touch(h, 0)
		}
		for _, h := range batch {
			if table.Find(h); h.Hash>>32 == 0 {
				t.Errorf("IPv%d: nothing was guessed", version)
			}
		}
		r := table.Add(&again, 0, 2, 2)
		if !r.Born {
			t.Fatalf("IPv%d: another SYN begins no flow", version)
		}
		got, known := table.AddKnown(&after, 0, 3)
		if known {
			t.Errorf("IPv%d: counted in the flow that has ended", version)
		}
		if got = table.Add(&after, 0, 3, 3); got.Born || got.Generation != r.Generation {
			t.Errorf("IPv%d: %+v after %+v", version, got, r)
		}
		table.check(t)
	}
}
