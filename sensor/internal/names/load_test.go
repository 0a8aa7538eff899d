package names

import (
	"math/rand/v2"
	"testing"
)

// load is packets of many TCP flows at once: a fifth speak TLS, the others
// something unknown, most of it in one direction only.
type load struct {
	packets []Packet
	flows   int
}

func mixedLoad(t testing.TB, flows int) *load {
	hello := clientHelloOf(t, "www.example.com")
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<16)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	some := func() []byte {
		at := r.IntN(len(noise) - 1400)
		return noise[at : at+1+r.IntN(1400)]
	}
	waiting := make([][]*Packet, flows)
	for slot := range flows {
		f := &tcpFlow{slot: uint32(slot), srcPort: 40000, dstPort: 443, isn: [2]uint32{r.Uint32(), r.Uint32()}}
		f.syn(0)
		f.syn(1)
		var ps []*Packet
		off := [2]int{}
		send := func(from int, b []byte) {
			ps = append(ps, f.packet(from, off[from], b))
			off[from] += len(b)
		}
		talker := r.IntN(2)
		if slot%5 == 0 {
			send(0, hello[:1400])
			send(0, hello[1400:])
		} else if slot%5 == 1 { // both talk
			send(0, some())
			send(1, some())
		}
		for range 40 {
			send(talker, some())
		}
		waiting[slot] = ps
	}
	l := &load{flows: flows}
	for len(waiting) > 0 {
		i := r.IntN(len(waiting))
		l.packets = append(l.packets, *waiting[i][0])
		if waiting[i] = waiting[i][1:]; len(waiting[i]) == 0 {
			waiting[i] = waiting[len(waiting)-1]
			waiting = waiting[:len(waiting)-1]
		}
	}
	return l
}

// BenchmarkMixedLoad is the price of a packet of a mixed load, with a caller that
// stops at the flow's end of interest, and with one that stops each direction.
func BenchmarkMixedLoad(b *testing.B) {
	l := mixedLoad(b, 20_000)
	b.Run("by flow", func(b *testing.B) { l.run(b, false) })
	b.Run("by direction", func(b *testing.B) { l.run(b, true) })
}

func (l *load) run(b *testing.B, byDirection bool) {
	o, h := NewObserver(DefaultLimits()), new(Harvest)
	done := make([][2]bool, l.flows)
	at, sent, seen := 0, 0, 0
	b.ReportAllocs()
	for b.Loop() {
		p := &l.packets[at]
		if from := side(p); !done[p.Slot][from] {
			sent++
			decided, direction := o.TCP(p)
			if decided {
				done[p.Slot] = [2]bool{true, true}
			} else if direction && byDirection {
				done[p.Slot][from] = true
			}
		}
		seen++
		if at++; at == len(l.packets) {
			at = 0
			for slot := range l.flows {
				o.Forget(uint32(slot), 1)
			}
			clear(done)
			o.Harvest(h, 0)
		}
	}
	b.ReportMetric(float64(sent)/float64(seen), "sent/packet")
}
