package flow

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// A step is what a script does next: add a packet, say that its flow is
// decided, or harvest.
type step struct {
	harvest, decide bool
	h               packet.Header
	iface           uint16
	time            int64
}

// steps reads a script of 6 bytes per step. It makes few addresses, ports and
// numbers, so that flows meet; times step over every limit there is.
func steps(script []byte) (all []step) {
	advance := [16]int64{0, 1, 1e6, 1e9, -1e9, 3e9, 30e9, 30e9 + 1, -31e9, 59e9, 60e9, 60e9 + 1, 600e9, 600e9 + 1, 5e9, 0}
	ports := [8]uint16{0, 53, 443, 1023, 1024, 2049, 40000, 40000}
	protocols := [8]uint8{6, 6, 6, 17, 17, 1, 132, 6}
	flags := [16]uint8{2, 2, 2, 18, 18, 16, 16, 4, 1, 17, 3, 20, 22, 24, 19, 0}
	time := int64(1e15)
	for ; len(script) >= 6; script = script[6:] {
		b := script[:6]
		time += advance[b[0]&15]
		s := step{time: time, harvest: b[0]>>4 == 0, decide: b[0]>>4 == 1, iface: uint16(b[0] >> 7)}
		h := &s.h
		h.Version, h.Bytes = 4, 20+uint32(b[5])
		h.Src[10], h.Src[11], h.Dst[10], h.Dst[11] = 0xff, 0xff, 0xff, 0xff
		h.Src[15], h.Dst[15] = b[1]&3, b[1]>>2&3
		if b[1]&0x80 != 0 {
			h.Version = 6
		}
		if b[1]&0x70 == 0 { // to a group
			h.Dst[12] = 224
			if h.Version == 6 {
				h.Dst[0] = 0xff
			}
		}
		h.Protocol = protocols[b[2]&7]
		if packet.HasPorts(h.Protocol) {
			h.SrcPort, h.DstPort = ports[b[3]&7], ports[b[3]>>3&7]
		}
		if b[2]>>3&3 == 1 {
			h.Fragment, h.FragmentID = packet.First, uint32(b[2]>>5&1)
			if b[2]>>6&1 == 1 {
				h.Fragment, h.SrcPort, h.DstPort = packet.Later, 0, 0
			}
			if h.Version == 4 {
				h.FragmentProtocol = h.Protocol
			}
		}
		if h.Protocol == protoTCP && h.Fragment != packet.Later && b[2] < 0xf0 {
			h.TCP, h.TCPFlags = true, flags[b[4]&15]
			h.Seq, h.Ack = uint32(b[4]>>4&3), uint32(b[4]>>6)+1
			h.PayloadLength = uint32(b[5] & 3)
		}
		all = append(all, s)
	}
	return all
}

// play runs a script through a table and checks the sums after every step. A
// harvest stays open for so many packets. It returns the records of all harvests.
func play(t *testing.T, script []byte, o Options, open int) ([]Record, *ledger, *Table) {
	t.Helper()
	table, sums := New(o), newLedger()
	var all []Record
	var out Records
	var packets, bytes uint64
	clock, left := int64(0), -1 // packets until the open harvest ends
	begun := uint64(0)          // packets when it began
	finish := func(n int) {
		for table.Step(1) {
		}
		records := slices.Collect(values(&out))
		sums.take(t, records)
		all = append(all, records...)
		out.Reset()
		left = -1
		if held := table.Stats().HeldPackets; !o.Whole && sums.packets+held != begun {
			t.Fatalf("step %d: harvests came to %d packets with %d held, when %d had been added", n, sums.packets, held, begun)
		}
		held, heldBytes := table.remaining()
		if st := table.Stats(); open == 0 && !o.Whole && (st.HeldPackets != held || st.HeldBytes != heldBytes) {
			t.Errorf("step %d: the table holds %d packets, and says %d", n, held, st.HeldPackets)
		}
		if open == 0 && o.HoldNS == 0 && !o.Whole && held != 0 {
			t.Errorf("step %d: the table holds %d packets", n, held)
		}
	}
	for n, s := range steps(script) {
		clock = max(clock, s.time)
		switch {
		case s.harvest && left >= 0:
			finish(n)
			fallthrough
		case s.harvest:
			table.Begin(&out, clock, false)
			left, begun = open, packets
		default:
			h := s.h
			var r Result
			if n%4 == 0 {
				table.Touch(&h, s.iface)
				r = table.Add(&h, s.iface, s.time, uint64(n))
			} else {
				r = Arrive(table, &h, s.iface, s.time, uint64(n))
			}
			packets++
			bytes += uint64(h.Bytes)
			if r.Born {
				table.SetSide(r.Slot, Side(n%5+1))
			}
			if s.decide {
				table.Decided(r.Slot)
			}
			left--
		}
		if left == 0 {
			finish(n)
		}
		inTable, bytesInTable := table.remaining()
		inTable, bytesInTable = inTable+sums.packets, bytesInTable+sums.bytes
		for r := range out.All() {
			inTable, bytesInTable = inTable+r.PacketsSent+r.PacketsReceived, bytesInTable+r.BytesSent+r.BytesReceived
		}
		if inTable != packets || bytesInTable != bytes {
			t.Fatalf("step %d: %d packets harvested or in the table, %d added", n, inTable, packets)
		}
	}
	if left >= 0 {
		finish(-1)
	}
	table.check(t)
	if o.Whole {
		table.Begin(&out, clock, false)
		finish(-1)
	}
	table.Begin(&out, math.MaxInt64, true)
	for more := true; more; { // in parts
		var part Records
		table.Continue(&part)
		more = table.Step(1)
		records := slices.Collect(values(&part))
		sums.take(t, records)
		all = append(all, records...)
		for _, r := range records {
			if !r.Ended || o.Whole && (!r.Counted || r.Born) {
				t.Errorf("no whole flow: %+v", r)
			}
		}
	}
	if sums.packets != packets || sums.bytes != bytes || table.Len() != 0 {
		t.Errorf("at the end: %d packets and %d bytes harvested, %d and %d added", sums.packets, sums.bytes, packets, bytes)
	}
	for _, f := range sums.flows {
		if !f.Ended || !f.counted {
			t.Errorf("flow left over: %+v", f)
		}
	}
	return all, sums, table
}

func values(r *Records) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for p := range r.All() {
			if !yield(*p) {
				return
			}
		}
	}
}

// agree compares a table that is bounded by nothing with the model.
func agree(t *testing.T, script []byte, o Options, open int) {
	t.Helper()
	m := newModel()
	for n, s := range steps(script) {
		if !s.harvest {
			m.add(s.h, s.iface, s.time, uint64(n))
		}
	}
	_, sums, _ := play(t, script, o, open)
	if len(sums.flows) != len(m.flows) {
		t.Fatalf("%d flows, the model has %d", len(sums.flows), len(m.flows))
	}
	for i, want := range m.flows {
		got := sums.flows[uint32(i+1)]
		if got.Initiator != want.initiator.address || got.InitiatorPort != want.initiator.port ||
			got.Responder != want.responder.address || got.ResponderPort != want.responder.port ||
			got.Protocol != want.protocol || got.Start != want.start || got.Last != want.last || got.Order != want.order ||
			[2]uint64{got.PacketsSent, got.PacketsReceived} != want.packets || [2]uint64{got.BytesSent, got.BytesReceived} != want.bytes {
			t.Fatalf("flow %d\n got %+v\nwant %+v", i, got.Record, want)
		}
	}
}

func FuzzTable(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomScript(rand.New(rand.NewPCG(seed, 1)), 60), uint8(seed))
	}
	f.Fuzz(func(t *testing.T, script []byte, kind uint8) {
		if len(script) > 6*2000 {
			return
		}
		both(t, script, kind)
	})
}

// both plays a script bounded and unbounded, and bounded once more: the seed of
// the hash must not show. Some harvests stay open while packets come.
func both(t *testing.T, script []byte, kind uint8) {
	t.Helper()
	hold := int64(kind%4) * 2e9
	open := int(kind/32) % 4 * 3
	agree(t, script, Options{KeepIdle: true, HoldNS: hold}, open)
	agree(t, script, Options{KeepIdle: true, Whole: true}, open)

	o := Options{MaxFlows: int(kind / 4 % 8), HoldNS: hold}
	first, _, table := play(t, script, o, open)
	again, _, _ := play(t, script, o, open)
	if !slices.Equal(first, again) {
		t.Error("the same packets give other records")
	}
	if n := table.stats.Overflowed; n != 0 && o.MaxFlows == 0 {
		t.Errorf("%d packets overflowed a table without bound", n)
	}
}

func randomScript(r *rand.Rand, n int) []byte {
	script := make([]byte, 6*n)
	for i := range script {
		script[i] = byte(r.Uint32())
	}
	return script
}

func TestRandomScripts(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		both(t, randomScript(r, 5+r.IntN(150)), uint8(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
