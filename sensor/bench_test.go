package sensor

import (
	"fmt"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
)

// busy makes a capture of DNS answers and of the TLS connections that they explain.
func busy(b *testing.B) []capture.Packet {
	c := newScene(b)
	first := hello(b, "www.example.com")
	for i := range 500 {
		server := fmt.Sprintf("192.0.2.%d", i%200+1)
		c.answer("10.0.0.1", fmt.Sprintf("host-%d.example.com", i%200), server)
		k := c.connect("10.0.0.1", uint16(5000+i), server, 443)
		k.up(psh|ack, first)
		for range 20 {
			k.down(ack, make([]byte, 1400))
			k.up(ack, nil)
		}
	}
	return blockOf(b, c)
}

// BenchmarkShard times a packet's whole way through a shard: decode, flow table,
// names, epochs.
func BenchmarkShard(b *testing.B) {
	cfg := testConfig()
	p, err := newPipeline(1, &cfg)
	if err != nil {
		b.Fatal(err)
	}
	s := p.shard(0, &quiet{}, sides{}, names.DefaultLimits(), flow.Options{MaxFlows: 1 << 20, HoldNS: int64(holdTime)})
	packets := busy(b)
	go func() { // stands for the join
		for h := range p.in {
			p.join.free[h.shard] <- h
		}
	}()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for block := packets; len(block) > 0; {
			k := s.sameEpoch(block[:min(len(block), batch)])
			s.count(block[:k])
			block = block[k:]
		}
		n += len(packets)
		for i := range packets { // the next round comes later
			packets[i].Time += int64(time.Minute)
			packets[i].Clock += int64(time.Minute)
			packets[i].Order = uint64(packets[i].Clock)
		}
	}
	close(p.in)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/packet")
}

// BenchmarkJoin times the join per record: naming, summing into the views, the
// rows of the window.
func BenchmarkJoin(b *testing.B) {
	cfg := testConfig()
	p, err := newPipeline(1, &cfg)
	if err != nil {
		b.Fatal(err)
	}
	rows := 0
	p.join.publish = func(_, _ int64, r []*netmonpb.Row) error { rows += len(r); return nil }
	s := p.shard(0, &quiet{}, sides{}, names.DefaultLimits(), flow.Options{MaxFlows: 1 << 20})
	for block := busy(b); len(block) > 0; {
		k := min(len(block), batch)
		s.end = block[0].Clock + int64(time.Hour) // one epoch
		s.count(block[:k])
		block = block[k:]
	}
	s.harvest(s.end, false)
	h := <-p.in
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		h.closed += int64(time.Second)
		if err := p.join.epoch(h.closed, []*harvest{h}); err != nil {
			b.Fatal(err)
		}
		n += h.records.Len()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
	b.ReportMetric(float64(rows)/float64(b.N), "rows/window")
}
