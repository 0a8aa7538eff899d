// Package exporters_test lets the push exporter and the server exporter talk to
// each other, which neither may import.
package exporters_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/exporters/push"
	"github.com/netmon-sensor/netmon/exporters/server"
	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// TestDelivery: a sensor's log is pushed over a bad network to a server that
// loses its memory now and then. At rest, the server shows exactly what the log
// holds, whatever happened on the way.
func TestDelivery(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			to := &network{rng: rand.New(rand.NewPCG(seed, 2))}
			defer to.stop(t)
			to.restartServer(t)
			address := httptest.NewServer(to)
			defer address.Close()
			a, b := newSensor("a", 'a', address.URL), newSensor("b", 'b', address.URL)
			for range 60 {
				s := a
				if rng.IntN(2) == 0 {
					s = b
				}
				for range rng.IntN(4) {
					s.write(t, rng)
				}
				switch rng.IntN(12) {
				case 0:
					to.restartServer(t)
				case 1:
					s.restart(t)
				case 2:
					s.fold(rng.Uint64N(s.last + 1))
				}
				s.deliver(t)
			}
			to.perfect()
			for _, s := range []*sensor{a, b} {
				s.write(t, rng) // a server that forgot learns it when the next window comes
				s.deliver(t)
				s.compare(t, to.scrape(t))
				s.restart(t)
			}
		})
	}
}

// sensor is a model of a sensor's log with one cursor.
type sensor struct {
	id, url   string
	logID     []byte
	last      uint64
	windows   map[uint64]*netmonpb.Window
	folded    uint64
	snapshots map[uint64]*netmonpb.Snapshot // after each window
	totals    rows.Totals
	cursor    uint64
	snapshot  bool // is to be sent next
	push      *push.Exporter
}

func newSensor(id string, log byte, url string) *sensor {
	return &sensor{
		id: id, url: url, logID: bytes.Repeat([]byte{log}, 16),
		windows: map[uint64]*netmonpb.Window{}, snapshots: map[uint64]*netmonpb.Snapshot{},
	}
}

// write appends a window to the log.
func (s *sensor) write(t *testing.T, rng *rand.Rand) {
	t.Helper()
	s.last++
	w := &netmonpb.Window{LogId: s.logID, Sequence: s.last, SensorId: s.id}
	if before := s.snapshots[s.last-1]; before != nil {
		w.PreviousChain = before.Chain
	}
	for i := range rng.IntN(5) {
		n := rng.Uint64N(1 << 20)
		w.Rows = append(w.Rows, &netmonpb.Row{
			Key: &netmonpb.Key{
				View: netmonpb.View_VIEW_DOMAINS, Interface: "eth0", Direction: netmonpb.Direction_DIRECTION_OUTBOUND,
				Domain: fmt.Sprintf("d%d.test", rng.IntN(6)*5+i), NameSource: netmonpb.NameSource_NAME_SOURCE_SNI,
			},
			Counters: &netmonpb.Counters{BytesSent: n, Connections: 1},
			Retired:  rng.IntN(5) == 0,
		})
	}
	if _, err := rows.Seal(w); err != nil {
		t.Fatal(err)
	}
	s.totals.Apply(w.Rows)
	s.windows[s.last] = w
	s.snapshots[s.last] = &netmonpb.Snapshot{LogId: s.logID, Sequence: s.last, SensorId: s.id, Chain: w.Chain, Rows: s.totals.Rows()}
}

// fold gives up the windows through n: from then on only their sum is there.
func (s *sensor) fold(n uint64) {
	for i := s.folded + 1; i <= n; i++ {
		delete(s.windows, i)
		s.folded = i
	}
}

// restart is a new plugin process: it knows nothing.
func (s *sensor) restart(t *testing.T) {
	t.Helper()
	if s.push != nil {
		if err := s.push.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	s.push = nil
}

// deliver sends what is missing, as a sink does.
func (s *sensor) deliver(t *testing.T) {
	t.Helper()
	if s.push == nil {
		s.push = push.New("test")
		s.push.Config().(*push.Config).URL = s.url + "/api/v1/metrics"
		if err := s.push.Start(t.Context(), plugins.Host{SensorID: s.id, LogID: s.logID, Logger: hclog.NewNullLogger()}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s.cursor < s.last || s.snapshot {
		var err error
		sent := s.cursor + 1
		if s.snapshot || sent <= s.folded {
			sent = max(s.folded, s.cursor, 1)
			err = s.push.Install(ctx, s.snapshots[sent])
		} else {
			err = s.push.Export(ctx, s.windows[sent])
		}
		s.snapshot = false
		var rewind *plugins.Rewind
		switch {
		case err == nil:
			s.cursor = sent
		case errors.As(err, &rewind):
			s.cursor, s.snapshot = rewind.After, rewind.After == 0
		default:
			t.Fatal(err)
		}
	}
}

// compare holds the server's series against the log's rows.
func (s *sensor) compare(t *testing.T, metrics string) {
	t.Helper()
	got := map[string]string{}
	for line := range strings.Lines(metrics) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(series, fmt.Sprintf(`network_domain_bytes_sent_total{host=%q`, s.id)) {
			got[series] = value
		}
	}
	want := map[string]string{}
	for _, r := range s.totals.Rows() {
		want[fmt.Sprintf(`network_domain_bytes_sent_total{host=%q,interface="eth0",domain=%q,direction="outbound"}`, s.id, r.Key.Domain)] =
			fmt.Sprint(r.Counters.BytesSent)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the server shows\n%v\nthe log holds\n%v", got, want)
	}
}

// network stands between the pusher and the server, and loses things.
type network struct {
	mu      sync.Mutex // guards the rest
	rng     *rand.Rand
	good    bool
	server  *server.Exporter
	address string
}

func (n *network) perfect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.good = true
}

// restartServer ends the server, which forgets everything, and starts another.
func (n *network) restartServer(t *testing.T) {
	t.Helper()
	n.stop(t)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = server.New("test")
	n.server.Config().(*server.Config).Listen = []string{"127.0.0.1:0"}
	err := n.server.Start(t.Context(), plugins.Host{Logger: hclog.NewNullLogger(), Bound: func(a ...string) { n.address = a[0] }})
	if err != nil {
		t.Fatal(err)
	}
}

func (n *network) stop(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.server.Stop(ctx); err != nil {
		t.Error(err)
	}
	n.server = nil
}

// ServeHTTP passes a request on once, not at all or twice, and may lose the answer.
func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fault := 9
	if !n.good {
		fault = n.rng.IntN(20)
	}
	times := 1
	switch fault {
	case 0:
		times = 0
	case 1:
		times = 2
	}
	var answer *http.Response
	for range times {
		request, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+n.address+r.URL.Path, bytes.NewReader(body))
		if err != nil {
			return
		}
		request.Header = r.Header.Clone()
		if answer, err = http.DefaultTransport.RoundTrip(request); err != nil {
			return
		}
		if body, err := io.ReadAll(answer.Body); err == nil {
			answer.Body = io.NopCloser(bytes.NewReader(body))
		}
	}
	if answer == nil || fault == 2 {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

func (n *network) scrape(t *testing.T) string {
	t.Helper()
	r, err := http.Get("http://" + n.address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
