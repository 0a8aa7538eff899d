package flow

import (
	"testing"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// A model is DEFINITIONS section 3 word by word: slow, unbounded, with maps. The
// table must say the same.
type model struct {
	live      map[modelKey]*modelFlow
	flows     []*modelFlow
	fragments map[fragmentKey]modelFirst
}

type modelEnd struct {
	address [16]byte
	port    uint16
}

type modelKey struct {
	version, protocol uint8
	iface             uint16
	low, high         modelEnd
}

type modelFirst struct {
	time     int64
	protocol uint8
	src, dst uint16
}

type modelFlow struct {
	protocol             uint8
	initiator, responder modelEnd
	start, last          int64
	order                uint64
	packets, bytes       [2]uint64
	synOf                [2]*uint32 // sequence numbers of SYNs
	noSYN                bool       // a packet without SYN, or a FIN or RST, was seen
}

func newModel() *model {
	return &model{live: map[modelKey]*modelFlow{}, fragments: map[fragmentKey]modelFirst{}}
}

func (m *model) add(h packet.Header, iface uint16, time int64, order uint64) (*modelFlow, bool) {
	k := fragmentKey{h.Src, h.Dst, h.FragmentID, iface, h.Version, h.FragmentProtocol}
	switch h.Fragment {
	case packet.First:
		m.fragments[k] = modelFirst{time, h.Protocol, h.SrcPort, h.DstPort}
	case packet.Later:
		if f, ok := m.fragments[k]; ok && max(f.time-time, time-f.time) <= 30e9 {
			h.Protocol, h.SrcPort, h.DstPort = f.protocol, f.src, f.dst
		}
	}
	src, dst := modelEnd{h.Src, h.SrcPort}, modelEnd{h.Dst, h.DstPort}
	key := modelKey{h.Version, h.Protocol, iface, src, dst}
	if string(src.address[:])+string(rune(src.port)) > string(dst.address[:])+string(rune(dst.port)) {
		key.low, key.high = dst, src
	}
	f := m.live[key]
	syn := h.TCP && h.TCPFlags&packet.SYN != 0 && h.TCPFlags&packet.ACK == 0
	synAck := h.TCP && h.TCPFlags&packet.SYN != 0 && h.TCPFlags&packet.ACK != 0
	if f == nil || f.over(src, &h, time, syn) {
		f = &modelFlow{protocol: h.Protocol, initiator: src, responder: dst, start: time, last: time, order: order}
		group := h.Version == 6 && h.Dst[0] == 0xff || h.Version == 4 && (h.Dst[12] >= 224 && h.Dst[12] < 240 ||
			[4]byte(h.Dst[12:]) == [4]byte{255, 255, 255, 255})
		answer := packet.HasPorts(h.Protocol) && h.SrcPort > 0 && h.SrcPort < 1024 && h.DstPort >= 1024 && h.DstPort != 2049
		if !syn && (synAck || !group && answer) {
			f.initiator, f.responder = dst, src
		}
		m.live[key] = f
		m.flows = append(m.flows, f)
	}
	d := 0
	if src != f.initiator {
		d = 1
	}
	f.packets[d]++
	f.bytes[d] += uint64(h.Bytes)
	f.last = max(f.last, time)
	switch {
	case syn && f.synOf[d] == nil:
		f.synOf[d] = &h.Seq
	case synAck:
		if d == 1 && f.synOf[0] == nil {
			before := h.Ack - 1
			f.synOf[0] = &before
		}
		f.noSYN = f.noSYN || h.TCPFlags&(packet.FIN|packet.RST) != 0
	case h.TCP && !syn:
		f.noSYN = true
	}
	return f, d == 0
}

// over tells whether the packet begins another flow (3.2).
func (f *modelFlow) over(src modelEnd, h *packet.Header, time int64, syn bool) bool {
	limit := int64(60e9)
	if f.protocol == 6 {
		limit = 600e9
	}
	if time-f.last > limit {
		return true
	}
	if !syn {
		return false
	}
	if src == f.initiator {
		return f.synOf[0] == nil || *f.synOf[0] != h.Seq
	}
	if f.synOf[1] != nil {
		return *f.synOf[1] != h.Seq
	}
	return f.noSYN || f.synOf[0] == nil
}

// A ledger adds up what harvests say and checks that it makes sense.
type ledger struct {
	flows          map[uint32]*ledgerFlow // by generation
	packets, bytes uint64                 // of all records
}

type ledgerFlow struct {
	Record  // with the sums of all its records
	counted bool
	overs   int
	lasted  int64
	health  Health // what was said at any time
}

func newLedger() *ledger { return &ledger{flows: map[uint32]*ledgerFlow{}} }

func (l *ledger) take(t *testing.T, records []Record) {
	t.Helper()
	slots := map[uint32]bool{}
	for _, r := range records {
		if slots[r.Slot] {
			t.Errorf("slot %d twice in one harvest", r.Slot)
		}
		slots[r.Slot] = true
		f := l.flows[r.Generation]
		if r.Born != (f == nil) {
			t.Errorf("born %t, known %t: %+v", r.Born, f != nil, r)
		}
		if f == nil {
			f = &ledgerFlow{Record: r}
			f.PacketsSent, f.PacketsReceived, f.BytesSent, f.BytesReceived = 0, 0, 0, 0
			l.flows[r.Generation] = f
		} else if f.Ended {
			t.Errorf("a record after the end: %+v", r)
		}
		n := r.PacketsSent + r.PacketsReceived
		if r.Held && (n != 0 || r.BytesSent+r.BytesReceived != 0 || r.Counted || r.Ended || !r.Born) {
			t.Errorf("held, but %+v", r)
		}
		if !r.Held && r.Counted == f.counted {
			t.Errorf("counted %t after %t: %+v", r.Counted, f.counted, r)
		}
		if !r.Held && !r.Ended && n == 0 && !r.Over && r.Health == (Health{}) || r.Counted && n == 0 {
			t.Errorf("nothing to say: %+v", r)
		}
		if r.Slot != f.Slot || r.Start != f.Start || r.Order != f.Order || r.Initiator != f.Initiator ||
			r.InitiatorPort != f.InitiatorPort || r.Last < f.Last {
			t.Errorf("another flow: %+v, before %+v", r, f.Record)
		}
		if r.Held && (r.Over || r.Health != (Health{})) {
			t.Errorf("held, but %+v", r)
		}
		f.takeHealth(t, &r)
		f.counted = f.counted || r.Counted
		f.Ended, f.Last = r.Ended, r.Last
		f.PacketsSent += r.PacketsSent
		f.PacketsReceived += r.PacketsReceived
		f.BytesSent += r.BytesSent
		f.BytesReceived += r.BytesReceived
		l.packets += n
		l.bytes += r.BytesSent + r.BytesReceived
	}
}

// takeHealth wants what happens once to be said once, and every flow to be over once.
func (f *ledgerFlow) takeHealth(t *testing.T, r *Record) {
	t.Helper()
	if r.Over {
		f.overs++
		f.lasted = r.Duration
	}
	h := &f.health
	if f.overs > 1 || r.Ended && f.overs != 1 {
		t.Errorf("%d times over: %+v", f.overs, r)
	}
	if h.Reset && r.Reset || h.Refused && r.Refused || h.Unanswered && r.Unanswered ||
		h.SYNACK != 0 && r.SYNACK != 0 || h.ACK != 0 && r.ACK != 0 {
		t.Errorf("said before: %+v", r)
	}
	if r.Protocol != protoTCP && r.Health != (Health{}) || !r.Over && r.Duration != 0 || r.Duration < 0 {
		t.Errorf("%+v", r)
	}
	h.Reset, h.Refused, h.Unanswered = h.Reset || r.Reset, h.Refused || r.Refused, h.Unanswered || r.Unanswered
	h.Retransmitted += r.Retransmitted
	h.SYNACK, h.ACK = max(h.SYNACK, r.SYNACK), max(h.ACK, r.ACK)
	if h.Refused && !h.Reset || h.ACK != 0 && h.SYNACK == 0 {
		t.Errorf("%+v after %+v", h, r)
	}
}

// remaining adds up the counters that no harvest has given out.
func (t *Table) remaining() (packets, bytes uint64) {
	p4, b4 := t.v4.remaining()
	p6, b6 := t.v6.remaining()
	return p4 + p6, b4 + b6
}

func (f *family[K]) remaining() (packets, bytes uint64) {
	for _, c := range f.chunks {
		if c == nil {
			continue
		}
		for i := range uint32(chunkSlots) {
			s := &c.states[i]
			if c.free.has(i) {
				continue
			}
			packets += uint64(s.packets[0]) + uint64(s.packets[1])
			bytes += s.bytes[0] + s.bytes[1]
		}
	}
	return packets, bytes
}

// check looks at what must be true of a table at any time.
func (t *Table) check(tb testing.TB) {
	tb.Helper()
	var active []phases
	waiting := checkFamily(tb, t, &t.v4, &active) + checkFamily(tb, t, &t.v6, &active)
	for i := range t.active {
		if len(active) <= i {
			active = append(active, phases{})
		}
		for e := range numEnds {
			active[i][e][unphased] = 0
		}
		if active[i] != t.active[i] {
			tb.Errorf("interface %d has the phases\n%v, the table says\n%v", i, active[i], t.active[i])
		}
	}
	if waiting != t.waiting {
		tb.Errorf("%d flows wait, the table says %d", waiting, t.waiting)
	}
}

func checkFamily[K key](tb testing.TB, t *Table, f *family[K], active *[]phases) (waiting int) {
	tb.Helper()
	live, open := 0, 0
	for n, c := range f.chunks {
		if c == nil {
			continue
		}
		used := 0
		for i := range uint32(chunkSlots) {
			if c.free.has(i) {
				if c.live.has(i) || c.dirty.has(i) || c.pending.has(i) {
					tb.Errorf("slot %d of chunk %d is free and something else", i, n)
				}
				continue
			}
			used++
			s := &c.states[i]
			if c.dirty.has(i) != (s.marks&markDirty != 0) && !t.options.Whole {
				tb.Errorf("slot %d of chunk %d does not know whether it is dirty", i, n)
			}
			if !c.live.has(i) {
				waiting++
				continue
			}
			live++
			for len(*active) <= int(s.key.iface()) {
				*active = append(*active, phases{})
			}
			(*active)[s.key.iface()][s.side.ends()][s.marks.phase()]++
			slot := uint32(n)<<chunkShift | i
			if got, _ := f.find(s.key.hash(&t.seed), &keys[K]{s.key, s.key}); got != slot {
				tb.Errorf("slot %d is not to be found", slot)
			}
			if s.due(&c.origins[i]) < c.due {
				tb.Errorf("slot %d is due before its chunk", slot)
			}
		}
		if used != c.used {
			tb.Errorf("chunk %d has %d slots in use and says %d", n, used, c.used)
		}
		if used < chunkSlots {
			open++
		}
	}
	if live != f.flows || open != len(f.open) {
		tb.Errorf("%d flows are live, %d chunks open; the family says %d, %d", live, open, f.flows, len(f.open))
	}
	return waiting
}
