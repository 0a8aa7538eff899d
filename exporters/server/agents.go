package server

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"net/http"
	"time"
)

// summary is the state of the sensors in small, copied out of the store.
type summary struct {
	sensors              []sensorSummary
	online, rows, series int
	overflowed, buried   uint64
	since                time.Time // when a sensor must have been heard of to be online
}

type sensorSummary struct {
	id, logID      string
	watermark, end uint64
	imbalance      uint64
	coverage       *float64 // of the interface where it is least; nil: not said
	rows, series   int
	seen           time.Time
	online         bool
	conflicting    bool
	about          about
}

func (s *service) summary() (out summary) {
	s.store.read(func(st *state) { out = s.summarize(st) })
	return out
}

func (s *service) summarize(st *state) summary {
	out := s.totals(st)
	for _, sensor := range st.sensors {
		out.add(sensor)
	}
	return out
}

// totals is a summary to which no sensor was added yet.
func (s *service) totals(st *state) summary {
	return summary{
		rows: st.rows, overflowed: st.overflowed, buried: st.buried,
		since: s.now().Add(-s.policy.Load().config.OfflineAfter),
	}
}

func (out *summary) add(sensor *sensor) {
	newest := sensor.logs[len(sensor.logs)-1]
	one := sensorSummary{
		id: sensor.id, logID: newest.id, watermark: newest.watermark, end: newest.end,
		series: sensor.series, seen: sensor.seen, online: !sensor.seen.Before(out.since),
	}
	if sensor.about != nil && json.Unmarshal(sensor.about, &one.about) != nil {
		one.about = about{} // written by another version
	}
	if one.online {
		out.online++
	}
	for _, l := range sensor.logs {
		one.imbalance = max(one.imbalance, l.imbalance())
		one.rows += len(l.rows)
		one.conflicting = one.conflicting || l.conflicting
	}
	if g := sensor.items["coverage_ratio"]; g != nil {
		for _, series := range g.series {
			if v := series.gauge; series.hasGauge && v >= 0 && v <= math.MaxFloat64 && (one.coverage == nil || v < *one.coverage) {
				one.coverage = &v
			}
		}
	}
	out.series += sensor.series
	out.sensors = append(out.sensors, one)
}

// agent is a sensor in the API; the word is that of the seed, whose paths are kept.
type agent struct {
	ID           string     `json:"id"`
	Status       string     `json:"status"`
	Version      string     `json:"version"`
	StartTime    *time.Time `json:"start_time"`
	Addresses    []string   `json:"addresses"`
	LastSeen     time.Time  `json:"last_seen"`
	LogID        string     `json:"log_id"`
	LastSequence uint64     `json:"last_sequence"`
	WindowEnd    time.Time  `json:"window_end"`
	LagSeconds   float64    `json:"lag_seconds"`
	LagWindows   *uint64    `json:"lag_windows"`
	Rows         int        `json:"rows"`
	Series       int        `json:"series"`
	Imbalance    uint64     `json:"imbalance_bytes"`
	Coverage     *float64   `json:"coverage_ratio"` // null: the sensor does not say
	Conflict     bool       `json:"conflict"`
}

func (s *service) agentOf(sum *sensorSummary) agent {
	end := time.Unix(0, int64(sum.end)).UTC()
	a := agent{
		ID: sum.id, Status: "offline", Version: sum.about.Version, Addresses: append([]string{}, sum.about.Addresses...),
		LastSeen: sum.seen.UTC(), LogID: hex.EncodeToString([]byte(sum.logID)), LastSequence: sum.watermark, WindowEnd: end,
		LagSeconds: max(0, s.now().Sub(end).Seconds()),
		Rows:       sum.rows, Series: sum.series, Imbalance: sum.imbalance, Coverage: sum.coverage, Conflict: sum.conflicting,
	}
	if sum.online {
		a.Status = "online"
	}
	if !sum.about.StartTime.IsZero() {
		a.StartTime = &sum.about.StartTime
	}
	if sum.about.Interval > 0 {
		n := uint64(a.LagSeconds / sum.about.Interval)
		a.LagWindows = &n
	}
	return a
}

func (s *service) agents(w http.ResponseWriter, r *http.Request) {
	if _, err := query(r); err != nil {
		s.fail(w, err)
		return
	}
	sum := s.summary()
	list := []agent{}
	for i := range sum.sensors {
		list = append(list, s.agentOf(&sum.sensors[i]))
	}
	s.answer(w, http.StatusOK, map[string]any{
		"agents": list, "count": len(list), "online": sum.online, "offline": len(list) - sum.online,
	})
}

func (s *service) agent(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	sum := s.summary()
	for i := range sum.sensors {
		if sum.sensors[i].id == id {
			s.answer(w, http.StatusOK, s.agentOf(&sum.sensors[i]))
			return
		}
	}
	s.fail(w, refuse(codeNotFound, "no sensor %s is known here", brief(id)))
}

// removeAgent is DELETE: the sensor and its series are gone in one step. One that
// goes on counting comes back with its next snapshot.
func (s *service) removeAgent(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	known, err := s.store.remove(r.Context(), id)
	switch {
	case err != nil:
		s.fail(w, err)
	case !known:
		s.fail(w, refuse(codeNotFound, "no sensor %s is known here", brief(id)))
	default:
		s.forget(id)
		s.logger.Info("sensor is removed", "sensor", brief(id), "by", whoOf(r).String())
		s.answer(w, http.StatusOK, map[string]string{"status": "deleted", "id": id})
	}
}
