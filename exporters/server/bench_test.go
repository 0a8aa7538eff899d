package server

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// fill gives a service rows of n domains, which four families show.
func fill(t testing.TB, s *service, n int) {
	w := next("host-1", aLog, 1, nil)
	for i := range n {
		w.Rows = append(w.Rows, domainRow(fmt.Sprintf("www%d.example.com", i), uint64(i)*1000, uint64(i)*9000))
	}
	mustTake(t, s, windowRequest(w))
}

// BenchmarkScrape renders 100,000 series, in our way and in that of
// client_golang's constant metrics.
func BenchmarkScrape(b *testing.B) {
	const domains = 25_000
	s := testService(b, nil)
	fill(b, s, domains)
	b.Run("series", func(b *testing.B) {
		b.ReportAllocs()
		var body bytes.Buffer
		scrape := sensors(s, &body, false)
		for b.Loop() {
			body.Reset()
			scrape()
		}
		b.SetBytes(int64(body.Len()))
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(4*domains), "ns/series")
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			whole(b, s, expfmt.FmtOpenMetrics_1_0_0)
		}
	})
	b.Run("constmetrics", func(b *testing.B) {
		b.ReportAllocs()
		registry := prometheus.NewRegistry()
		registry.MustRegister(constMetrics{s})
		var body bytes.Buffer
		for b.Loop() {
			body.Reset()
			families, err := registry.Gather()
			if err != nil {
				b.Fatal(err)
			}
			encoder := expfmt.NewEncoder(&body, expfmt.FmtText)
			for _, f := range families {
				if err := encoder.Encode(f); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(4*domains), "ns/series")
	})
}

// constMetrics shows the same four families the usual way.
type constMetrics struct{ service *service }

func (constMetrics) Describe(chan<- *prometheus.Desc) {}

func (c constMetrics) Collect(out chan<- prometheus.Metric) {
	c.service.store.read(func(st *state) {
		for _, f := range families()[:4] {
			desc := prometheus.NewDesc(f.name, f.help, []string{"host", "interface", "domain", "direction"}, nil)
			for i, series := range st.sensors[0].groups[byDomain].series {
				out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(series.counts.n[f.value]),
					"host-1", "eth0", fmt.Sprintf("www%d.example.com", i), "outbound")
			}
		}
	})
}

// BenchmarkApply is a window of 10,000 rows, all of them known.
func BenchmarkApply(b *testing.B) {
	b.ReportAllocs()
	s := testService(b, nil)
	fill(b, s, 10_000)
	w := next("host-1", aLog, 1, nil)
	for i := range 10_000 {
		w.Rows = append(w.Rows, domainRow(fmt.Sprintf("www%d.example.com", i), 1, 1))
	}
	for b.Loop() {
		w.Sequence++
		w.PreviousChain, w.Chain = chainOf(aLog, w.Sequence-1), chainOf(aLog, w.Sequence)
		if _, err := s.take(b.Context(), &netmonpb.PushRequest{Item: &netmonpb.PushRequest_Window{Window: w}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/row")
}
