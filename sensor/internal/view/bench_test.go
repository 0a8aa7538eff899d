package view

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A flow of a known key costs no allocation, in no view.
func TestAddOfAKnownKeyDoesNotAllocate(t *testing.T) {
	s := New(Options{MaxRows: 100})
	f := flowTo(1, 100)
	s.Add(f)
	resolver := [16]byte{15: 1}
	latency := make([]uint64, 13)
	s.DNS("eth0", resolver, 1, 0, 1, 1, latency, 1)
	s.Count("x_total", "eth0", 0, "", 1)
	s.Gauge("x", "eth0", 0, "", 1)
	n := testing.AllocsPerRun(1000, func() {
		s.Add(f)
		s.DNS("eth0", resolver, 1, 0, 1, 1, latency, 1)
		s.Count("x_total", "eth0", 0, "", 1)
		s.Gauge("x", "eth0", 0, "", 1)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, bench := range []struct {
		name        string
		keys, known int
	}{
		{"known", 5000, 10000},
		{"refused", 1 << 20, 1000},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s := New(Options{MaxRows: bench.known})
			flows := make([]*Flow, bench.keys)
			for i, n := range rand.New(rand.NewPCG(1, 1)).Perm(bench.keys) {
				flows[i] = flowTo(n, 600)
				s.Add(flows[i])
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.Add(flows[i%len(flows)])
			}
		})
	}
}

// One op is one window in which every row of a full set counted something.
func BenchmarkCut(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			s := New(Options{MaxRows: n, IdleTimeout: time.Hour})
			flows := make([]*Flow, n)
			for i := range flows {
				flows[i] = flowTo(i, 600)
			}
			b.ReportAllocs()
			cut := 0
			for i := int64(0); b.Loop(); i++ {
				b.StopTimer()
				for _, f := range flows {
					s.Add(f)
				}
				b.StartTimer()
				cut += len(s.Cut(i * second))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(cut), "ns/row")
		})
	}
}
