package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	maxListeners  = 64
	eventEvery    = 2 * time.Second
	eventDeadline = 5 * time.Second // for a listener to take one
	eventHosts    = 20
)

// digest is what a listener is told every now and then.
type digest struct {
	Time                   time.Time    `json:"time"`
	Online                 int          `json:"online"`
	Offline                int          `json:"offline"`
	Rows                   int          `json:"rows"`
	Series                 int          `json:"series"`
	Windows                uint64       `json:"windows_applied"`
	SentBytesPerSecond     float64      `json:"sent_bytes_per_second"`
	ReceivedBytesPerSecond float64      `json:"received_bytes_per_second"`
	Agents                 []digestHost `json:"agents"`
}

type digestHost struct {
	ID                     string  `json:"id"`
	SentBytesPerSecond     float64 `json:"sent_bytes_per_second"`
	ReceivedBytesPerSecond float64 `json:"received_bytes_per_second"`
}

// digest sums up the last half minute.
func (s *service) digest() digest {
	const n = 3
	mean := func(values []float64) (sum float64) {
		for _, v := range values {
			sum += v / n
		}
		return sum
	}
	sum, now := s.summary(), s.now()
	total, each := s.recent.series(now, n, "")
	d := digest{
		Time: now.UTC(), Online: sum.online, Offline: len(sum.sensors) - sum.online, Rows: sum.rows, Series: sum.series,
		Windows:            s.counts[0][applied].Load(),
		SentBytesPerSecond: mean(total.Sent), ReceivedBytesPerSecond: mean(total.Received),
		Agents: []digestHost{},
	}
	for _, f := range each[:min(len(each), eventHosts)] {
		d.Agents = append(d.Agents, digestHost{f.ID, mean(f.Sent), mean(f.Received)})
	}
	return d
}

// events is GET /api/v1/events: server-sent events, one at once and then one
// every eventEvery. A listener that does not take one in time is cut off.
func (s *service) events(w http.ResponseWriter, r *http.Request) {
	if _, err := query(r); err != nil {
		s.fail(w, err)
		return
	}
	select {
	case s.listening <- struct{}{}:
		defer func() { <-s.listening }()
	default:
		s.fail(w, busy(fmt.Sprintf("%d listen already", maxListeners)))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead {
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // that of requests would end the stream; tests without a connection have none
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	for {
		text, err := json.Marshal(s.digest())
		if err != nil {
			s.fail(w, fmt.Errorf("encode event: %w", err))
			return
		}
		_ = control.SetWriteDeadline(time.Now().Add(eventDeadline)) // tests without a connection have none
		if _, err := fmt.Fprintf(w, "event: digest\ndata: %s\n\n", text); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-s.ending:
			return
		}
	}
}
