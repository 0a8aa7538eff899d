package flow

import "testing"

// What was acknowledged and never seen, in the words of TestHealth.
func TestUnseen(t *testing.T) {
	const shake = "0:aS/0 20:bSA/0,1 30:aA/1,1 "
	for _, c := range []struct {
		name, script string
		want         uint64
	}{
		{"all seen", shake + "40:aA/1,1+100 50:bA/1,101+50 60:aA/101,51 70:aFA/101,51 80:bFA/51,102 90:aA/102,52", 0},
		{"the last segment is missing", shake + "40:aA/1,1+100 60:bA/1,201", 100},
		{"and is told once", shake + "40:aA/1,1+100 60:bA/1,201 61:bA/1,201 62:aA/201,1+9 63:bA/1,210", 100},
		{"a segment is missing in the middle", shake + "40:aA/1,1+100 50:aA/201,1+100 60:bA/1,301", 100},
		{"not acknowledged yet", shake + "40:aA/1,1+100 50:aA/201,1+100 60:bA/1,101", 0},
		{"acknowledged bit by bit", shake + "40:aA/1,1+100 50:aA/301,1+100 60:bA/1,201 70:bA/1,251 80:bA/1,401", 200},
		{"lost before us, sent again", shake + "40:aA/1,1+100 50:aA/201,1+100 60:bA/1,101 70:aA/101,1+100 80:bA/1,301", 0},
		{"sent again in part", shake + "40:aA/1,1+100 50:aA/301,1+100 60:aA/101,1+50 70:bA/1,401", 150},
		{"the end is sent again", shake + "40:aA/1,1+100 50:aA/301,1+100 60:aA/251,1+50 70:bA/1,401", 150},
		{"overtaken", shake + "40:aA/101,1+100 50:aA/1,1+100 60:bA/1,201", 0},
		{"both directions", shake + "40:aA/1,1+10 50:aA/21,1+10 55:bA/1,11+10 60:bA/21,31+10 70:aA/31,31", 20},
		{"more holes than are followed", shake + "40:aA/12,1+5 41:aA/21,1+5 42:aA/31,1+5 43:aA/41,1+5 44:aA/51,1+5 60:bA/1,56", 25},
		{"over the end of the numbers", shake + "40:aA/1,1+15 50:aA/16,1+10 60:bA/1,26", 0},
		{"at the end of the numbers", shake + "40:aA/1,1+15 50:bA/1,16", 0},
		{"SYN+ACK is missing", "0:aS/0 30:aA/1,1 40:aA/1,1+10 50:bA/1,11", 0},
		{"the FIN is missing", shake + "40:aA/1,1+100 60:bA/1,102", 1},
		{"one direction only", "0:aA/1,1 10:aA/1,900 20:aA/1,1800", 0},
		{"a start in the middle", "0:aA/1,1+100 10:bA/1,101 20:bA/1,201", 100},
		{"a RST acknowledges nothing", shake + "40:bRA/1,7000", 0},
		{"an answer to another connection", "0:aS/0 20:bA/700,70000 30:bSA/0,1 40:aA/1,1", 0},
		{"numbers from elsewhere", shake + "40:aA/1,1+100 50:bA/1,2000000000", 0},
		{"after the end", shake + "40:aR/1 50:bA/1,500", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := New(Options{KeepIdle: true})
			l := &line{t: t, table: table}
			l.play(c.script)
			sum := uint64(0)
			for _, n := range table.Unseen(nil) {
				sum += n
			}
			if sum != c.want {
				t.Errorf("%d bytes, want %d", sum, c.want)
			}
			for _, n := range table.Unseen(nil) {
				if n != 0 {
					t.Errorf("%d bytes are told twice", n)
				}
			}
			table.Harvest(nil, 0, true)
			if table.holes.flows != 0 {
				t.Error("holes are left when every flow has ended")
			}
		})
	}
}

// Holes are followed in a bounded number of flows, and in none where packets may be
// elsewhere.
func TestUnseenBounds(t *testing.T) {
	table := New(Options{KeepIdle: true})
	gap := func(table *Table, port uint16) {
		h := between(4, protoTCP, port, 443)
		h.TCP, h.TCPFlags, h.PayloadLength = true, ack, 10
		for _, seq := range []uint32{1, 21} {
			h.Seq = seq
			put(table, &h, 0)
		}
	}
	for port := range uint16(maxHoleyFlows + 10) {
		gap(table, 10_000+port)
	}
	if n, over := table.holes.flows, table.Stats().HolesOverflowed; n != maxHoleyFlows || over != 10 {
		t.Errorf("%d flows with holes, %d beyond", n, over)
	}
	scattered := New(Options{KeepIdle: true, Scattered: true})
	gap(scattered, 1)
	if scattered.holes.flows != 0 {
		t.Error("holes where packets may be elsewhere")
	}
}

// The smaller maximum segment size of both ends stands, and stays over a harvest.
func TestMSS(t *testing.T) {
	for _, version := range []uint8{4, 6} {
		table := New(Options{})
		h := between(version, protoTCP, 1, 2)
		slot := put(table, &h, 0).Slot
		for _, step := range []struct{ set, want uint16 }{{0, 0}, {1460, 1460}, {8960, 1460}, {1380, 1380}, {0, 1380}} {
			table.SetMSS(slot, step.set)
			if got := table.MSS(slot); got != step.want {
				t.Errorf("after %d: %d, want %d", step.set, got, step.want)
			}
			table.Harvest(nil, 0, false)
		}
	}
}
