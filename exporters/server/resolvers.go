package server

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// resolver is what clients asked one resolver and how it answered.
type resolver struct {
	Resolver   string            `json:"resolver"`
	Queries    uint64            `json:"queries"`
	Unanswered uint64            `json:"unanswered"`
	Rcodes     map[string]uint64 `json:"rcodes"`
	Latency    *latency          `json:"latency_seconds"` // null: no answer was timed

	times histogram
}

// latency is read off a histogram: the quantiles are interpolated within its
// buckets, and no higher than the last bound.
type latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
}

// dns is GET /api/v1/dns.
func (s *service) dns(w http.ResponseWriter, r *http.Request) {
	q, limit, err := listQuery(r, 50, 10_000, "host", "interface", "limit")
	if err != nil {
		s.fail(w, err)
		return
	}
	all, types := map[string]*resolver{}, map[string]uint64{}
	var queries uint64
	picked := func(series *series) bool { return q.Get("interface") == "" || series.iface == q.Get("interface") }
	s.store.read(func(st *state) {
		st.each(byResolver, q.Get("host"), nothing, func(series *series) {
			if !picked(series) {
				return
			}
			var address, rcode string
			eachLabel(series.labels, func(name, v string) {
				switch name {
				case "resolver":
					address = v
				case "rcode":
					rcode = v
				}
			})
			one := all[address]
			if one == nil {
				one = &resolver{Resolver: address, Rcodes: map[string]uint64{}}
				all[address] = one
			}
			n := series.counts.n[dnsQueries]
			queries += n
			one.Queries += n
			one.Rcodes[rcode] += n
			if rcode == rcodeName(unanswered) {
				one.Unanswered += n
			}
			if h := series.counts.histograms; h != nil {
				one.times.add(h[dnsLatency].buckets, h[dnsLatency].seconds, h[dnsLatency].sum)
			}
		})
		st.each(byQuestion, q.Get("host"), nothing, func(series *series) {
			if picked(series) {
				eachLabel(series.labels, func(name, v string) {
					if name == "type" {
						types[v] += series.counts.n[dnsQueries]
					}
				})
			}
		})
	})
	resolvers := slices.SortedFunc(maps.Values(all), func(a, b *resolver) int {
		return cmp.Or(cmp.Compare(b.Queries, a.Queries), cmp.Compare(a.Resolver, b.Resolver))
	})
	total := len(resolvers)
	resolvers = resolvers[:min(limit, total)]
	for _, one := range resolvers {
		one.Latency = one.times.latency(latencyBounds())
	}
	s.answer(w, http.StatusOK, map[string]any{
		"resolvers": append([]*resolver{}, resolvers...), "count": len(resolvers), "total": total, "queries": queries, "types": types,
	})
}

func (h *histogram) latency(bounds bounds) *latency {
	var count uint64
	for _, n := range h.buckets {
		count += n
	}
	if count == 0 {
		return nil
	}
	return &latency{
		Count: count, Mean: (float64(h.seconds) + float64(h.sum)/1e9) / float64(count),
		P50: h.quantile(bounds, 0.5, count), P90: h.quantile(bounds, 0.9, count), P99: h.quantile(bounds, 0.99, count),
	}
}

func (h *histogram) quantile(bounds bounds, q float64, count uint64) float64 {
	rank, below, low := q*float64(count), 0.0, 0.0
	for i, text := range bounds {
		high, err := strconv.ParseFloat(text, 64)
		if err != nil || i >= len(h.buckets) {
			break
		}
		if n := float64(h.buckets[i]); n > 0 && below+n >= rank {
			return low + (high-low)*(rank-below)/n
		}
		below, low = below+float64(h.buckets[i]), high
	}
	return low
}
