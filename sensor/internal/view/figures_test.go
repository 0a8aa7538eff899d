package view

import (
	"fmt"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

func TestFigures(t *testing.T) {
	s := New(Options{MaxRows: 1, IdleTimeout: 10 * time.Second})
	counter := func(item, iface, detail string, n uint64) *netmonpb.Row {
		return &netmonpb.Row{Counters: &netmonpb.Counters{Value: n}, Key: &netmonpb.Key{
			View: netmonpb.View_VIEW_SENSOR, Interface: iface, Item: item, Detail: detail}}
	}
	gauge := func(item string, shard uint32, v float64, retired bool) *netmonpb.Row {
		return &netmonpb.Row{Gauge: &v, Retired: retired, Key: &netmonpb.Key{
			View: netmonpb.View_VIEW_SENSOR, Item: item, Shard: shard}}
	}
	steps := []struct {
		now  int64
		do   func()
		want []*netmonpb.Row
	}{
		{1, func() {
			s.Count("drops_total", "eth0", 0, "ring", 2)
			s.Count("drops_total", "eth0", 0, "ring", 3)
			s.Count("errors_total", "", 0, "", 0)
			s.Gauge("flows", "", 1, "", 5)
			s.Gauge("flows", "", 0, "", 7)
			s.Gauge("flows", "", 0, "", 8)
		}, []*netmonpb.Row{
			counter("errors_total", "", "", 0), gauge("flows", 0, 8, false), gauge("flows", 1, 5, false),
			counter("drops_total", "eth0", "ring", 5),
		}},
		{2, func() {
			s.Count("errors_total", "", 0, "", 0)
			s.Count("drops_total", "eth0", 0, "ring", 1)
		}, []*netmonpb.Row{counter("drops_total", "eth0", "ring", 1)}},
		{5, func() { s.Gauge("flows", "", 1, "", 5) }, []*netmonpb.Row{gauge("flows", 1, 5, false)}},
		{11, func() {}, []*netmonpb.Row{gauge("flows", 0, 8, true)}},
		{12, func() {}, nil},
	}
	for _, step := range steps {
		step.do()
		if got := s.Cut(step.now * second); !equal(got, step.want) {
			t.Errorf("second %d: got %v\nwant %v", step.now, got, step.want)
		}
	}
}

func TestFiguresAreBounded(t *testing.T) {
	s := New(Options{MaxRows: 1})
	for i := range minFigures + 10 {
		s.Count("drops_total", "eth0", 0, fmt.Sprint("reason", i), 1)
		s.Gauge("size", "eth0", 0, fmt.Sprint("of", i), 1)
	}
	total, others := uint64(0), uint64(0)
	out := s.Cut(second)
	for _, r := range out {
		total += r.GetCounters().GetValue()
		if r.Key.Detail == Other {
			others = r.Counters.Value
		}
	}
	if len(out) > minFigures+1 || total != minFigures+10 || others != minFigures/2+10 {
		t.Errorf("%d rows, %d counted, %d of them in other", len(out), total, others)
	}
	if got := s.Stats()[4]; got.Rows != len(out) || got.Overflowed != 2*(minFigures/2+10) {
		t.Errorf("stats are %+v", got)
	}
}

func TestDNS(t *testing.T) {
	s := New(Options{MaxRows: 1})
	resolver := [16]byte{10: 0xff, 0xff, 192, 0, 2, 53}
	buckets := []uint64{1, 2}
	s.DNS("eth0", resolver, 1, 0, 3, 3, buckets, 100)
	s.DNS("eth0", resolver, 1, 0, 1, 1, []uint64{0, 0, 1}, 50)
	s.DNS("eth0", resolver, 28, 4096, 1, 0, []uint64{0, 0}, 0)
	buckets[0] = 99
	want := []*netmonpb.Row{
		{
			Key: &netmonpb.Key{View: netmonpb.View_VIEW_DNS, Interface: "eth0", Address: []byte{192, 0, 2, 53}, DnsType: 1},
			Counters: &netmonpb.Counters{DnsQueries: 4, DnsResponses: 4,
				DnsLatency: &netmonpb.Histogram{Buckets: []uint64{1, 2, 1}, SumNs: 150}},
		},
		{
			Key:      &netmonpb.Key{View: netmonpb.View_VIEW_DNS, Interface: "eth0", Domain: Other},
			Counters: &netmonpb.Counters{DnsQueries: 1, DnsLatency: &netmonpb.Histogram{Buckets: []uint64{0, 0}}},
		},
	}
	if got := s.Cut(second); !equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}
