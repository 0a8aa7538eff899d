package flow

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// setPacket makes h a packet of flow n, or an answer to it.
func setPacket(h *packet.Header, n int, version uint8, answer bool) {
	h.Version, h.Protocol, h.Bytes = version, protoTCP, 1500
	h.TCP, h.TCPFlags = true, packet.ACK
	a, b := &h.Src, &h.Dst
	h.SrcPort, h.DstPort = uint16(n>>16)&0x7fff+1024, 443
	if answer {
		a, b = b, a
		h.SrcPort, h.DstPort = h.DstPort, h.SrcPort
	}
	binary.BigEndian.PutUint64(a[:], uint64(version-4)<<60)
	binary.BigEndian.PutUint64(b[:], uint64(version-4)<<60)
	binary.BigEndian.PutUint64(a[8:], 0xffff<<32|10<<24|uint64(n)&0xffff)
	binary.BigEndian.PutUint64(b[8:], 0xffff<<32|192<<24|uint64(uint32(n)*0x9e3779b1>>16))
}

// fill makes flows 0 to flows-1.
func fill(t *Table, flows int, version uint8) {
	var h packet.Header
	for n := range flows {
		setPacket(&h, n, version, false)
		Arrive(t, &h, 0, 1, uint64(n))
	}
}

// warm takes flows past their handshake: payload was seen in both directions.
func warm(t *Table, flows int, version uint8) {
	fill(t, flows, version)
	var h packet.Header
	for n := range 2 * flows {
		setPacket(&h, n/2, version, n%2 == 0)
		h.PayloadLength = 1
		Arrive(t, &h, 0, 1, uint64(n))
	}
}

// BenchmarkAdd counts packets of known flows in a random order, in batches: segments
// that follow each other, and in gaps those that each skip a few bytes.
func BenchmarkAdd(b *testing.B) {
	for _, version := range []uint8{4, 6} {
		for _, flows := range []int{10_000, 1_000_000, 4_000_000} {
			b.Run(fmt.Sprintf("v%d/%d", version, flows), func(b *testing.B) { benchmarkAdd(b, version, flows, 0) })
		}
		b.Run(fmt.Sprintf("v%d/gaps", version), func(b *testing.B) { benchmarkAdd(b, version, 10_000, 64) })
	}
}

func benchmarkAdd(b *testing.B, version uint8, flows int, gap uint32) {
	const batch = 32
	if flows > 1_000_000 && testing.Short() {
		b.Skip("takes half a GiB; run without -short")
	}
	table := New(Options{})
	warm(table, flows, version)
	next := make([][2]uint32, flows)
	for i := range next {
		next[i] = [2]uint32{1, 1}
	}
	var hs [batch]packet.Header
	random := uint64(1)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		for i := range hs {
			random = random*6364136223846793005 + 1442695040888963407
			flow, direction := int(random>>32*uint64(flows)>>32), uint32(0)
			if i%3 == 0 {
				direction = 1
			}
			setPacket(&hs[i], flow, version, direction == 1)
			seq := &next[flow]
			hs[i].Seq, hs[i].Ack, hs[i].PayloadLength = seq[direction], seq[1-direction], 1
			seq[direction] += 1 + gap
			table.Touch(&hs[i], 0)
		}
		for i := range hs {
			table.Find(&hs[i])
		}
		for i := range hs {
			if _, ok := table.AddKnown(&hs[i], 0, int64(n)); !ok {
				table.Add(&hs[i], 0, int64(n), uint64(n))
			}
		}
	}
	b.ReportMetric(float64(table.Stats().Bytes)/float64(flows), "B/flow")
}

// BenchmarkGC collects garbage while a table of 4 million flows is alive.
func BenchmarkGC(b *testing.B) {
	if testing.Short() {
		b.Skip("takes half a GiB; run without -short")
	}
	table := New(Options{})
	fill(table, 4_000_000, 4)
	runtime.GC()
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(float64(table.Stats().Bytes)/float64(table.Len()), "B/flow")
}

// BenchmarkHarvest harvests one epoch: nothing to say and nothing idle; nothing
// to say, but every flow must be looked at; every flow seen.
func BenchmarkHarvest(b *testing.B) {
	const flows = 1_000_000
	for _, name := range []string{"quiet", "sweep", "all"} {
		b.Run(name, func(b *testing.B) {
			table := New(Options{})
			fill(table, flows, 4)
			var out Records
			table.harvestInto(&out, 2, false)
			var h packet.Header
			b.ReportAllocs()
			for b.Loop() {
				switch name {
				case "sweep":
					for _, c := range table.v4.chunks {
						c.due = 0
					}
				case "all":
					b.StopTimer()
					for n := range flows {
						setPacket(&h, n, 4, false)
						Arrive(table, &h, 0, 3, 0)
					}
					b.StartTimer()
				}
				table.harvestInto(&out, 2, false)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/flows, "ns/flow")
		})
	}
}
