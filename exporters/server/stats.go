package server

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/netmon-sensor/netmon/proto/rows"
)

// stats is GET /api/v1/stats: what all sensors have counted together.
func (s *service) stats(w http.ResponseWriter, r *http.Request) {
	if _, err := query(r); err != nil {
		s.fail(w, err)
		return
	}
	var total rows.Volume
	var named, unnamed, queries uint64
	sensors := []ranked{}
	var sum summary
	s.store.read(func(st *state) {
		sum = s.summarize(st)
		for _, sensor := range st.sensors {
			own := ranked{ID: sensor.id}
			for _, series := range sensor.groups[byInterface].series {
				one := volumeOf(&series.counts)
				own.Add(&one)
			}
			own.Accesses = 0 // they are counted where the names are
			for _, series := range sensor.groups[byDomain].series {
				own.Accesses += series.counts.n[accesses]
				switch n := series.counts.n[bytesSent] + series.counts.n[bytesReceived]; {
				case series.sum == nil:
					named += n
				case series.sum.Domain == unattributed:
					unnamed += n
				}
			}
			for _, series := range sensor.groups[byRcode].series {
				queries += series.counts.n[dnsQueries]
			}
			total.Add(&own.Volume)
			sensors = append(sensors, own)
			st.breathe(func() {})
		}
	})
	protocols, _ := s.gather(byProtocol, parameters{})
	for _, list := range [...][]ranked{protocols, sensors} {
		slices.SortFunc(list, func(a, b ranked) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.name(), b.name())) })
	}
	var share *float64 // null: nothing was counted, or nothing of which that is known
	if named+unnamed > 0 {
		ratio := float64(named) / float64(named+unnamed)
		share = &ratio
	}
	s.answer(w, http.StatusOK, map[string]any{
		"agents":          map[string]int{"total": len(sum.sensors), "online": sum.online, "offline": len(sum.sensors) - sum.online},
		"uptime_seconds":  int64(s.now().Sub(s.started).Seconds()),
		"windows_applied": s.counts[0][applied].Load(),
		"total":           total,
		"named_ratio":     share,
		"dns_queries":     queries,
		"by_protocol":     protocols,
		"by_agent":        sensors,
	})
}
