package server

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// summary is the state of the sensors in small, copied out of the store.
type summary struct {
	sensors              []sensorSummary
	online, rows, series int
}

type sensorSummary struct {
	id, logID      string
	watermark, end uint64
	imbalance      uint64
	series         int
	seen           time.Time
	online         bool
}

func (s *service) summary() (out summary) {
	s.store.read(func(st *state) { out = s.summarize(st) })
	return out
}

func (s *service) summarize(st *state) summary {
	out := summary{rows: st.rows}
	limit := s.now().Add(-s.config.OfflineAfter)
	for _, sensor := range st.sensors {
		newest := sensor.logs[len(sensor.logs)-1]
		one := sensorSummary{
			id: sensor.id, logID: newest.id, watermark: newest.watermark, end: newest.end,
			series: sensor.series, seen: sensor.seen, online: !sensor.seen.Before(limit),
		}
		if one.online {
			out.online++
		}
		for _, l := range sensor.logs {
			one.imbalance = max(one.imbalance, l.imbalance())
		}
		out.series += sensor.series
		out.sensors = append(out.sensors, one)
	}
	return out
}

// agent is a sensor as the API shows it.
type agent struct {
	ID        string    `json:"id"`
	LogID     string    `json:"log_id"`
	Watermark uint64    `json:"watermark"`
	Series    int       `json:"series"`
	WindowEnd time.Time `json:"window_end"`
	LastSeen  time.Time `json:"last_seen"`
	State     string    `json:"state"`
}

func (s *service) agents(w http.ResponseWriter, _ *http.Request) {
	list := []agent{}
	for _, sensor := range s.summary().sensors {
		state := "offline"
		if sensor.online {
			state = "online"
		}
		list = append(list, agent{
			ID: sensor.id, LogID: hex.EncodeToString([]byte(sensor.logID)), Watermark: sensor.watermark,
			Series: sensor.series, WindowEnd: time.Unix(0, int64(sensor.end)).UTC(), LastSeen: sensor.seen.UTC(), State: state,
		})
	}
	s.answer(w, http.StatusOK, map[string]any{"agents": list})
}

func (s *service) status(w http.ResponseWriter, _ *http.Request) {
	sum := s.summary()
	s.answer(w, http.StatusOK, map[string]any{
		"version":        s.version,
		"started":        s.started.UTC(),
		"uptime_seconds": int64(s.now().Sub(s.started).Seconds()),
		"storage":        s.config.Storage.Type,
		"ready":          len(s.notReady()) == 0,
		"agents":         map[string]int{"online": sum.online, "offline": len(sum.sensors) - sum.online},
		"rows":           sum.rows,
		"series":         sum.series,
	})
}

func (s *service) health(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, map[string]string{"status": "healthy"})
}

func (s *service) readiness(w http.ResponseWriter, _ *http.Request) {
	if why := s.notReady(); len(why) > 0 {
		s.answer(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "reasons": why})
		return
	}
	s.answer(w, http.StatusOK, map[string]string{"status": "ready"})
}

// healthyText and readyText are the same for who reads text, as in Prometheus.
func (s *service) healthyText(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "healthy")
}

func (s *service) readyText(w http.ResponseWriter, _ *http.Request) {
	if why := s.notReady(); len(why) > 0 {
		http.Error(w, "not ready: "+strings.Join(why, "; "), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
