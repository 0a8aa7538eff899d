package server

import (
	"cmp"
	"math/bits"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	// resolution of the traffic of the last hour, and how many steps that is.
	resolution = 10 * time.Second
	steps      = int64(time.Hour / resolution)
)

// recent is the traffic of the last hour, by sensor, as the windows told that were
// applied here. It is of this server alone, and begins anew with it; snapshots say
// nothing of when. Where a sensor's clock is off by more than the hour, the time
// of arrival counts.
type recent struct {
	mu      sync.Mutex // guards sensors
	sensors map[string]*hour
}

// hour is a ring of steps; each remembers which one it is.
type hour [steps + 1]struct {
	step           int64 // since 1970
	sent, received uint64
}

func stepOf(t time.Time) int64 { return t.UnixNano() / int64(resolution) }

// add spreads the bytes of a window evenly over the time that it covers.
func (r *recent) add(w *netmonpb.Window, now time.Time) {
	var sent, received uint64
	for _, row := range w.Rows {
		if row.Key.View == netmonpb.View_VIEW_DOMAINS {
			sent += row.GetCounters().GetBytesSent()
			received += row.GetCounters().GetBytesReceived()
		}
	}
	if sent|received == 0 {
		return
	}
	start, end := int64(w.StartNs), int64(w.EndNs)
	if now := now.UnixNano(); end > now+int64(resolution) || start < now-int64(time.Hour) || start >= end {
		start, end = now, now+1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.sensors[w.SensorId]
	if h == nil {
		h = &hour{}
		r.sensors[w.SensorId] = h
	}
	var sentBefore, receivedBefore uint64
	for step := start / int64(resolution); step*int64(resolution) < end; step++ {
		through := uint64(min(end, (step+1)*int64(resolution)) - start)
		a, b := share(sent, through, uint64(end-start)), share(received, through, uint64(end-start))
		at := &h[step%int64(len(h))]
		if at.step != step {
			at.step, at.sent, at.received = step, 0, 0
		}
		at.sent += a - sentBefore
		at.received += b - receivedBefore
		sentBefore, receivedBefore = a, b
	}
}

// share is n * part / whole without overflow; part is at most whole.
func share(n, part, whole uint64) uint64 {
	high, low := bits.Mul64(n, part)
	quotient, _ := bits.Div64(high, low, whole)
	return quotient
}

func (r *recent) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sensors, id)
}

// flow is traffic in bytes per second, the oldest step first.
type flow struct {
	ID       string    `json:"id,omitempty"`
	Sent     []float64 `json:"sent"`
	Received []float64 `json:"received"`

	sum uint64
}

// series returns the last n whole steps before now, of all sensors together and
// of each, the one with the most traffic first.
func (r *recent) series(now time.Time, n int64, host string) (total flow, each []flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := stepOf(now)
	empty := func(id string) flow {
		return flow{ID: id, Sent: make([]float64, n), Received: make([]float64, n)}
	}
	total = empty("")
	for id, h := range r.sensors {
		if host != "" && id != host {
			continue
		}
		one := empty(id)
		for i := range n {
			step := end - n + i
			if at := &h[step%int64(len(h))]; at.step == step {
				one.Sent[i] = float64(at.sent) / resolution.Seconds()
				one.Received[i] = float64(at.received) / resolution.Seconds()
				total.Sent[i] += one.Sent[i]
				total.Received[i] += one.Received[i]
				one.sum += at.sent + at.received
			}
		}
		each = append(each, one)
	}
	slices.SortFunc(each, func(a, b flow) int { return cmp.Or(cmp.Compare(b.sum, a.sum), cmp.Compare(a.ID, b.ID)) })
	return total, each
}

// traffic is GET /api/v1/traffic.
func (s *service) traffic(w http.ResponseWriter, r *http.Request) {
	q, limit, err := listQuery(r, 20, 1000, "host", "limit")
	if err != nil {
		s.fail(w, err)
		return
	}
	now := s.now()
	total, each := s.recent.series(now, steps, q.Get("host"))
	s.answer(w, http.StatusOK, map[string]any{
		"resolution_seconds": int(resolution / time.Second),
		"end":                time.Unix(0, stepOf(now)*int64(resolution)).UTC(),
		"total":              total,
		"agents":             append([]flow{}, each[:min(len(each), limit)]...),
	})
}
