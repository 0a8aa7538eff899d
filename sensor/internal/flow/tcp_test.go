package flow

import (
	"fmt"
	"strings"
	"testing"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

const ms = int64(1e6)

// A line is a TCP flow in the making: scripts of it are words like
// "10:aSA/0,1+5", at 10 ms from a to b with SYN and ACK, sequence number 0 of a's,
// acknowledgement number 1 of b's, 5 bytes. Numbers of each end count from its
// first one.
type line struct {
	t     *testing.T
	table *Table
	slot  uint32
}

const (
	firstOfA = uint32(0xffff_fff0) // so that numbers wrap
	firstOfB = uint32(5000)
)

func (l *line) play(script string) {
	l.t.Helper()
	for word := range strings.FieldsSeq(script) {
		var at, seq, acked, length int64
		parts := strings.FieldsFunc(word, func(r rune) bool { return strings.ContainsRune(":/,+", r) })
		end, flags := parts[1][:1], parts[1][1:]
		fmt.Sscan(parts[0]+" "+strings.Join(parts[2:], " "), &at, &seq, &acked, &length) // what is missing is 0
		h := between(4, protoTCP, 40000, 443)
		h.TCP, h.Seq, h.Ack, h.PayloadLength = true, firstOfA+uint32(seq), firstOfB+uint32(acked), uint32(length)
		if end == "b" {
			swap(&h)
			h.Seq, h.Ack = firstOfB+uint32(seq), firstOfA+uint32(acked)
		}
		for _, f := range flags {
			h.TCPFlags |= map[rune]uint8{'S': syn, 'A': ack, 'F': fin, 'R': rst, 'P': packet.PSH, '.': 0}[f]
		}
		l.slot = put(l.table, &h, at*ms).Slot
	}
}

// TestHealth holds what is said of a connection against known answers.
func TestHealth(t *testing.T) {
	const (
		shake = "0:aS/0 20:bSA/0,1 30:aA/1,1 "
		bye   = "1000:aFA/1,1 1010:bA/1,2 1020:bFA/1,2 1030:aA/2,2 "
	)
	for _, c := range []struct {
		name   string
		script string
		want   Health
		lasted int64 // ms
	}{
		{"nothing of note", shake + "40:aPA/1,1+100 50:bA/1,101 60:bPA/1,101+900 70:aA/101,901", Health{SYNACK: 20 * ms, ACK: 30 * ms}, 70},
		{"closed", shake + bye, Health{SYNACK: 20 * ms, ACK: 30 * ms}, 1030},
		{"closed, then more", shake + bye + "1500:bFA/1,2 9000:aA/2,2 9000:aPA/1,1+7", Health{SYNACK: 20 * ms, ACK: 30 * ms}, 1030},

		// Handshakes count from the first SYN.
		{"SYN again", "0:aS/0 1000:aS/0 3000:aS/0 3020:bSA/0,1 3030:aA/1,1", Health{SYNACK: 3020 * ms, ACK: 3030 * ms}, 3030},
		{"SYN+ACK again", "0:aS/0 20:bSA/0,1 1020:bSA/0,1 1040:aA/1,1", Health{SYNACK: 20 * ms, ACK: 1040 * ms}, 1040},
		{"ACK with data and FIN", "0:aS/0 20:bSA/0,1 25:aFPA/1,1+10", Health{SYNACK: 20 * ms, ACK: 25 * ms}, 25},
		{"data in the SYN", "0:aS/0,0+50 20:bSA/0,51 30:aA/51,1", Health{SYNACK: 20 * ms, ACK: 30 * ms}, 30},
		{"data in the SYN not taken", "0:aS/0,0+50 20:bSA/0,1 30:aA/1,1+50", Health{SYNACK: 20 * ms, ACK: 30 * ms, Retransmitted: 50}, 30},
		{"no ACK", "0:aS/0 20:bSA/0,1", Health{SYNACK: 20 * ms}, 20},
		{"scanned", "0:aS/0 20:bSA/0,1 21:aR/1", Health{SYNACK: 20 * ms, Reset: true}, 21},
		{"no SYN", "0:bSA/0,1 10:aA/1,1 20:aPA/1,1+9", Health{}, 20},
		{"SYN after its SYN+ACK", "0:bSA/0,1 0:aS/0 10:aA/1,1", Health{}, 10},
		{"both open", "0:aS/0 5:bS/0 20:aSA/0,1 25:bSA/0,1 30:aA/1,1", Health{}, 30},
		{"one way", "0:aS/0 10:aA/1,1 20:aPA/1,1+9", Health{}, 20},
		{"the other way", "0:bSA/0,1 10:bA/1,1+100 20:bA/101,1+100", Health{}, 20},
		{"SYN+ACK of something else", "0:aS/0 20:bSA/0,77 21:aR/77 1000:aS/0 1020:bSA/0,1 1030:aA/1,1", Health{SYNACK: 1020 * ms, ACK: 1030 * ms, Reset: true}, 1030},
		{"the other end remembers another connection", "0:aS/0 20:bA/700,70000 21:aR/70000 1000:aS/0 1020:bSA/0,1 1030:aA/1,1",
			Health{SYNACK: 1020 * ms, ACK: 1030 * ms, Reset: true}, 1030},
		{"clock set back", "0:aS/0 -20:bSA/0,1 -10:aA/1,1", Health{SYNACK: 1000, ACK: 1000}, 0},

		{"refused", "0:aS/0 7:bRA/0,1", Health{Reset: true, Refused: true}, 7},
		{"refused in the end", "0:aS/0 1000:aS/0 1007:bRA/0,1", Health{Reset: true, Refused: true}, 1007},
		{"refused twice", "0:aS/0 7:bRA/0,1 500:aS/0 507:bRA/0,1", Health{Reset: true, Refused: true}, 7},
		{"refused late", "0:aS/0 31000:aS/0 31007:bRA/0,1", Health{Reset: true, Refused: true, Unanswered: true}, 31007},
		{"RST that no end believes", "0:aS/0 7:bR/0,1 8:bRA/0,9", Health{Reset: true, Unanswered: true}, 8},
		{"reset", shake + "50:bPA/1,1+10 60:aR/1 61:aR/1", Health{SYNACK: 20 * ms, ACK: 30 * ms, Reset: true}, 60},
		{"reset after closing", shake + bye + "1040:bR/2", Health{SYNACK: 20 * ms, ACK: 30 * ms, Reset: true}, 1030},
		{"reset before anything", "0:bR/1", Health{Reset: true}, 0},

		{"unanswered", "0:aS/0 1000:aS/0 3000:aS/0", Health{Unanswered: true}, 3000},
		{"answered just in time", "0:aS/0 30000:bSA/0,1 30001:aA/1,1", Health{SYNACK: 30000 * ms, ACK: 30001 * ms}, 30001},
		{"answered too late", "0:aS/0 31000:aS/0 31000:bSA/0,1 31010:aA/1,1", Health{SYNACK: 31000 * ms, ACK: 31010 * ms, Unanswered: true}, 31010},

		// Payload that begins below the highest number seen.
		{"sent again", shake + "40:aPA/1,1+100 50:aPA/1,1+100", Health{SYNACK: 20 * ms, ACK: 30 * ms, Retransmitted: 100}, 50},
		{"sent again by both", shake + "40:aA/1,1+100 50:aA/1,1+100 60:bA/1,101+40 70:bA/1,101+40", Health{SYNACK: 20 * ms, ACK: 30 * ms, Retransmitted: 140}, 70},
		{"partly new", shake + "40:aA/1,1+100 50:aA/51,1+100 60:aA/151,1+10", Health{SYNACK: 20 * ms, ACK: 30 * ms, Retransmitted: 100}, 60},
		{"out of order", shake + "40:aA/101,1+100 50:aA/1,1+100 60:aA/201,1+100", Health{SYNACK: 20 * ms, ACK: 30 * ms, Retransmitted: 100}, 60},
		{"a gap", shake + "40:aA/1,1+100 50:aA/5000,1+100", Health{SYNACK: 20 * ms, ACK: 30 * ms}, 50},
		{"keep-alives", shake + "40:aA/1,1+100 50:aA/100,1 60:aA/100,1+1 70:aA/100,1+1", Health{SYNACK: 20 * ms, ACK: 30 * ms}, 70},
		{"closed window probed with new data", shake + "40:aA/1,1+100 50:aA/101,1+1 60:aA/101,1+1", Health{SYNACK: 20 * ms, ACK: 30 * ms}, 60},
		{"one byte again, not the last", shake + "40:aA/1,1+100 50:aA/99,1+1", Health{SYNACK: 20 * ms, ACK: 30 * ms, Retransmitted: 1}, 50},
		{"FIN with data again", shake + "40:aFA/1,1+100 50:aFA/1,1+100", Health{SYNACK: 20 * ms, ACK: 30 * ms, Retransmitted: 100}, 50},
		{"numbers from elsewhere", shake + "40:aA/1,1+100 50:aA/2000000000,1+100 60:aA/101,1+9", Health{SYNACK: 20 * ms, ACK: 30 * ms}, 60},
		{"a start in the middle", "0:aA/1,1+100 10:aA/101,1+100 20:bA/1,201 30:aA/1,1+100", Health{Retransmitted: 100}, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, step := range []bool{false, true} { // one harvest, or one after each packet
				table := New(Options{KeepIdle: true})
				l, sums := &line{t: t, table: table}, newLedger()
				for word := range strings.FieldsSeq(c.script) {
					l.play(word)
					table.check(t)
					if step {
						sums.take(t, table.Harvest(nil, 0, false))
					}
				}
				sums.take(t, table.Harvest(nil, 0, true))
				if len(sums.flows) != 1 {
					t.Fatalf("%d flows", len(sums.flows))
				}
				f := sums.flows[1]
				if f.health != c.want || f.lasted != c.lasted*ms {
					t.Errorf("%+v after %d ms\nwant %+v after %d ms", f.health, f.lasted/ms, c.want, c.lasted)
				}
			}
		})
	}
}

// TestRounding: times stay on their side of a bound of whole microseconds.
func TestRounding(t *testing.T) {
	for _, c := range []struct{ from, to, want int64 }{
		{0, 0, 1}, {0, 1, 1}, {0, 1000, 1}, {0, 1001, 2}, {5, 1_000_005, 1000}, {5, 1_000_006, 1001}, {9, 3, 1},
		{-1 << 63, 1<<63 - 1, 1<<32 - 1},
	} {
		if got := microseconds(c.from, c.to); int64(got) != c.want {
			t.Errorf("from %d to %d: %d µs, want %d", c.from, c.to, got, c.want)
		}
	}
	if d := duration(-1<<63, 1<<63-1); d != 1<<63-1 {
		t.Errorf("all time is %d", d)
	}
}

// TestStates holds the states of both ends, after every segment, against RFC 9293
// (figures 6, 12 and 13) and what ss shows.
func TestStates(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps string // segment = state of a, state of b
	}{
		{"open and close", `0:aS/0 = syn_sent none; 1:bSA/0,1 = established syn_recv; 2:aA/1,1 = established established;
			3:aFA/1,1 = fin_wait1 close_wait; 4:bA/1,2 = fin_wait2 close_wait; 5:bFA/1,2 = time_wait last_ack; 6:aA/2,2 = time_wait none`},
		{"closed by the responder", `0:aS/0 = syn_sent none; 1:bSA/0,1 = established syn_recv; 2:aA/1,1 = established established;
			3:bFA/1,1 = close_wait fin_wait1; 4:aA/1,2 = close_wait fin_wait2; 5:aFA/1,2 = last_ack time_wait; 6:bA/2,2 = none time_wait`},
		{"FIN and ACK at once", `0:aA/1,1+1 = established established; 1:bA/1,2 = established established; 2:bFA/1,2 = close_wait fin_wait1; 3:aFA/2,2 = last_ack time_wait;
			4:bA/2,3 = none time_wait`},
		{"both close at once", `0:aA/1,1 = established established; 1:aFA/1,1 = fin_wait1 close_wait; 2:bFA/1,1 = closing closing;
			3:aA/2,2 = last_ack time_wait; 4:bA/2,2 = none time_wait`},
		{"half closed", `0:aA/1,1 = established established; 1:aFA/1,1 = fin_wait1 close_wait; 2:bA/1,2+500 = fin_wait2 close_wait; 3:aA/2,501 = fin_wait2 close_wait;
			4:bFA/501,2 = time_wait last_ack; 5:aA/2,502 = time_wait none`},
		{"reset", `0:aA/1,1 = established established; 1:bR/1 = none none; 2:aA/1,1 = none none`},
		{"FIN again", `0:aA/1,1 = established established; 1:aFA/1,1 = fin_wait1 close_wait; 2:aFA/1,1 = fin_wait1 close_wait; 3:bA/1,1 = fin_wait1 close_wait;
			4:bA/1,2 = fin_wait2 close_wait`},
		{"last ACK again", `0:aA/1,1 = established established; 1:aFA/1,1 = fin_wait1 close_wait; 2:bFA/1,2 = time_wait last_ack; 3:bFA/1,2 = time_wait last_ack;
			4:aA/2,2 = time_wait none; 5:bFA/1,2 = time_wait none; 6:aA/2,2 = time_wait none`},
		{"a SYN alone", `0:aS/0 = syn_sent none; 1000:aS/0 = syn_sent none; 1001:bA/9,9000 = syn_sent none; 1002:aR/9000 = syn_sent none; 1003:bRA/0,1 = none none`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, side := range []Side{SideUnset, Outbound, Inbound, Internal, Transit} {
				table := New(Options{KeepIdle: true})
				l := &line{t: t, table: table}
				for step := range strings.SplitSeq(c.steps, ";") {
					segment, states, _ := strings.Cut(step, "=")
					l.play(segment)
					table.SetSide(l.slot, side)
					ends := strings.Fields(states)
					want := map[string]uint32{}
					switch side {
					case Inbound:
						want[ends[1]]++
					case Internal:
						want[ends[0]]++
						want[ends[1]]++
					default:
						want[ends[0]]++
					}
					delete(want, "none")
					if got := activeNow(table); fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("side %d after %s: %v, want %v", side, segment, got, want)
					}
				}
				table.check(t)
				table.Harvest(nil, 0, true)
				if got := activeNow(table); len(got) != 0 {
					t.Errorf("after the flush: %v", got)
				}
			}
		})
	}
}

// activeNow is what Active says of TCP, by state.
func activeNow(t *Table) map[string]uint32 {
	got := map[string]uint32{}
	for _, a := range t.Active(nil) {
		for s, n := range a {
			if n > 0 {
				got[strings.TrimPrefix(State(s).String(), "tcp/")] += n
			}
		}
	}
	return got
}

// TestActiveDatagrams: UDP flows count until they are idle, once, whoever is ours.
func TestActiveDatagrams(t *testing.T) {
	table := New(Options{})
	for i, side := range []Side{Outbound, Inbound, Internal, Transit} {
		h := numbered(i)
		table.SetSide(put(table, &h, 0).Slot, side)
	}
	noPorts := between(4, protoUDP, 0, 0)
	put(table, &noPorts, 0)
	icmp := between(4, 1, 0, 0)
	put(table, &icmp, 0)
	table.Harvest(nil, 60*second, false)
	if got := table.Active(nil); len(got) != 1 || got[0] != (Active{UDPActive: 4}) {
		t.Errorf("%+v", got)
	}
	table.Harvest(nil, 60*second+1, false)
	if got := table.Active(nil); got[0] != (Active{}) {
		t.Errorf("idle: %+v", got)
	}
	table.check(t)
}

// TestLapse is about what the clock alone does.
func TestLapse(t *testing.T) {
	for _, c := range []struct {
		name   string
		script string
		at     []int64  // clocks of harvests, ms
		states []string // of the initiator after each
		over   int      // the harvest with which the connection is over
		late   int      // the one that finds it unanswered, or -1
	}{
		{"unanswered", "0:aS/0 31000:aS/0", []int64{30_000, 31_001, 91_000, 91_001}, []string{"syn_sent", "syn_sent", "syn_sent", ""}, 3, 1},
		{"no ACK", "0:aS/0 1:bSA/0,1", []int64{60_001, 60_002}, []string{"established", ""}, 1, -1},
		{"last ACK not seen", "0:aA/1,1 1:aFA/1,1 2:bFA/1,2", []int64{60_002, 60_003}, []string{"time_wait", ""}, 1, -1},
		{"time_wait", "0:aA/1,1 1:aFA/1,1 2:bFA/1,2 3:aA/2,2", []int64{4, 60_003, 60_004, 600_003, 600_004}, []string{"time_wait", "time_wait", "", "", ""}, 0, -1},
		{"established", "0:aA/1,1 1:bA/1,1", []int64{60_002, 600_001, 600_002}, []string{"established", "established", ""}, 2, -1},
		{"half closed", "0:aA/1,1 1:aFA/1,1 2:bA/1,2", []int64{60_003, 600_002, 600_003}, []string{"fin_wait2", "fin_wait2", ""}, 2, -1},
		{"heard both", "0:aA/1,1+9 1:bA/1,10+9", []int64{600_002, 432_000_001, 432_000_002}, []string{"established", "established", ""}, 2, -1},
		{"closed here", "0:aA/1,1+9 0:bA/1,10+9 1:aFA/10,10 2:bA/10,11", []int64{600_002, 600_003}, []string{"fin_wait2", ""}, 1, -1},
		{"closed there", "0:aA/1,1+9 0:bA/1,10+9 1:bFA/10,10 2:aA/10,11", []int64{600_003, 432_000_002, 432_000_003}, []string{"close_wait", "close_wait", ""}, 2, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, sums := New(Options{}), newLedger()
			l := &line{t: t, table: table}
			l.play(c.script)
			for i, clock := range c.at {
				rs := table.Harvest(nil, clock*ms, false)
				sums.take(t, rs)
				table.check(t)
				got := ""
				for s := range activeNow(table) {
					got = s
				}
				over, late := false, false
				for _, r := range rs {
					over, late = over || r.Over, late || r.Unanswered
				}
				if got != c.states[i] || over != (i == c.over) || late != (i == c.late) {
					t.Errorf("at %d ms: %q, over %t, unanswered %t", clock, got, over, late)
				}
			}
		})
	}
}

// TestSpill: counters of 32 bits lose nothing.
func TestSpill(t *testing.T) {
	table := New(Options{HoldNS: 10 * second})
	l := &line{t: t, table: table}
	l.play("0:aA/1,1+100 0:bA/1,1+100")
	s, o := table.v4.state(l.slot), &table.v4.chunks[0].origins[0]
	for i := range uint64(3) {
		s.packets = [2]uint32{1<<32 - 1, 1<<32 - 1}
		o.retransmitted = 1<<32 - 60
		l.play("0:aA/1,1+100 0:aA/101,1+1 0:bA/1,1+100")
		if got, want := table.spilled[l.slot], (spill{[2]uint64{(i + 1) << 32, (i + 1) << 32}, (i + 1) << 32}); *got != want {
			t.Fatalf("%+v, want %+v", *got, want)
		}
	}
	table.Harvest(nil, 0, false)
	if held := table.Stats().HeldPackets; held != 3<<33+1 {
		t.Errorf("%d held", held)
	}
	table.Decided(l.slot)
	r := table.Harvest(nil, 0, false)[0]
	if r.PacketsSent != 3<<32+1 || r.PacketsReceived != 3<<32 || r.Retransmitted != 3<<32+140 || len(table.spilled) != 0 {
		t.Errorf("%+v, %d spilled", r, len(table.spilled))
	}
}
