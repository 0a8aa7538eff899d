package server

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// sum adds up a family over all series.
func sum(t testing.TB, s *service, family string) uint64 {
	t.Helper()
	var total uint64
	for line := range strings.Lines(exposition(s, false)) {
		if !strings.HasPrefix(line, family+"{") {
			continue
		}
		var n uint64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n); err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

// shown returns the value of a series, and whether it is there.
func shown(s *service, series string) (value string, ok bool) {
	for line := range strings.Lines(exposition(s, false)) {
		if rest, found := strings.CutPrefix(line, series+" "); found {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}

func wantSeries(t *testing.T, s *service, series, want string) {
	t.Helper()
	if got, _ := shown(s, series); got != want {
		t.Errorf("%s is %q, want %q", series, got, want)
	}
}

func codeOf(err error) code {
	var r *refusal
	if errors.As(err, &r) {
		return r.code
	}
	return ""
}

func TestPrefixRule(t *testing.T) {
	s := testService(t, nil)
	window := func(n uint64) *netmonpb.Window {
		return next("h", aLog, n, chainOf(aLog, n-1), domainRow("a.test", n, 0))
	}
	foreign := window(3)
	foreign.PreviousChain = []byte("another history")
	clone := window(2)
	clone.Chain = []byte("another history")
	steps := []struct {
		name     string
		request  *netmonpb.PushRequest
		code     code
		expected uint64
		held     ack
		sum      uint64
	}{
		{"unknown log", windowRequest(window(2)), codeUnknownLog, 0, ack{}, 0},
		{"first window", windowRequest(window(1)), "", 0, ack{1, true}, 1},
		{"repeat", windowRequest(window(1)), "", 0, ack{1, false}, 1},
		{"gap", windowRequest(window(4)), codeOutOfSequence, 2, ack{}, 1},
		{"second", windowRequest(window(2)), "", 0, ack{2, true}, 3},
		{"older repeat", windowRequest(window(1)), "", 0, ack{2, false}, 3},
		{"other content under the same number", windowRequest(clone), codeConflict, 0, ack{}, 3},
		{"other history", windowRequest(foreign), codeConflict, 0, ack{}, 3},
		{"old snapshot", snapshotRequest(&netmonpb.Snapshot{LogId: aLog, SensorId: "h", Sequence: 1}), "", 0, ack{2, false}, 3},
		{"newer snapshot", snapshotRequest(&netmonpb.Snapshot{LogId: aLog, SensorId: "h", Sequence: 5, Chain: chainOf(aLog, 5),
			Rows: []*netmonpb.Row{domainRow("b.test", 15, 0)}}), "", 0, ack{5, true}, 15},
		{"window after it", windowRequest(window(6)), "", 0, ack{6, true}, 21},
	}
	for _, step := range steps {
		held, err := s.take(t.Context(), step.request)
		var r *refusal
		if errors.As(err, &r); codeOf(err) != step.code || (r != nil && r.expected != step.expected) || held != step.held {
			t.Errorf("%s: %v %v", step.name, held, err)
		}
		if got := sum(t, s, "network_domain_bytes_sent_total"); got != step.sum {
			t.Errorf("%s: sum is %d, want %d", step.name, got, step.sum)
		}
	}
	wantSeries(t, s, `network_domain_bytes_sent_total{host="h",interface="eth0",domain="a.test",direction="outbound"}`, "6")
	wantSeries(t, s, `network_domain_bytes_sent_total{host="h",interface="eth0",domain="b.test",direction="outbound"}`, "15")
}

// TestConflictIsSaidOnce: the log tells of a change of state, not of every post.
func TestConflictIsSaidOnce(t *testing.T) {
	s := testService(t, nil)
	mustTake(t, s, windowRequest(next("h", aLog, 1, nil)))
	bad := next("h", aLog, 2, []byte("x"))
	for i, again := range []bool{false, true, true} {
		_, err := s.take(t.Context(), windowRequest(bad))
		var r *refusal
		if !errors.As(err, &r) || r.again != again {
			t.Errorf("conflict %d: %+v", i, err)
		}
	}
	if n := s.counts[0][conflict].Load(); n != 3 {
		t.Errorf("%d conflicts were counted", n)
	}
}

// TestNewLog: a sensor that lost its log begins another; nothing it shows goes down.
func TestNewLog(t *testing.T) {
	s := testService(t, nil)
	gauge := 5.0
	flows := &netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Item: "flows"}, Gauge: &gauge}
	for i := range keptLogs + 20 {
		logID := bytes.Repeat([]byte{byte(i)}, 16)
		own := fmt.Sprintf("only-%d.test", i)
		mustTake(t, s, windowRequest(next("h", logID, 1, nil, domainRow("all.test", 10, 1), domainRow(own, 1, 1), flows)))
		if i > 0 {
			mustTake(t, s, windowRequest(next("h", logID, 2, chainOf(logID, 1), domainRow("all.test", 0, 0))))
		}
		wantSeries(t, s, `network_domain_bytes_sent_total{host="h",interface="eth0",domain="all.test",direction="outbound"}`, fmt.Sprint(10*(i+1)))
		wantSeries(t, s, `network_domain_bytes_sent_total{host="h",interface="eth0",domain="only-0.test",direction="outbound"}`, "1")
		wantSeries(t, s, `netmon_flows{host="h",interface="",shard="0",detail=""}`, "5")
	}
	s.store.read(func(st *state) {
		if n := len(st.sensors[0].logs); n != keptLogs {
			t.Errorf("%d logs are remembered, want %d", n, keptLogs)
		}
		if want := 2 * 3; st.rows != want {
			t.Errorf("%d rows are kept, want those of two logs: %d", st.rows, want)
		}
	})

	// A window of a folded log that comes late is applied once, a snapshot is not.
	late := bytes.Repeat([]byte{50}, 16)
	w := next("h", late, 3, chainOf(late, 2), domainRow("all.test", 7, 0))
	before := sum(t, s, "network_domain_bytes_sent_total")
	if held := mustTake(t, s, windowRequest(w)); held != (ack{3, true}) {
		t.Errorf("late window: %v", held)
	}
	if held := mustTake(t, s, windowRequest(w)); held != (ack{3, false}) {
		t.Errorf("late window again: %v", held)
	}
	if got := sum(t, s, "network_domain_bytes_sent_total"); got != before+7 {
		t.Errorf("sum is %d, want %d", got, before+7)
	}
	if _, err := s.take(t.Context(), snapshotRequest(&netmonpb.Snapshot{LogId: late, SensorId: "h", Sequence: 9})); codeOf(err) != codeConflict {
		t.Errorf("snapshot of a folded log: %v", err)
	}
}

// TestGaugesEndWithTheirLog: what a sensor said of itself is void once it restarts.
func TestGaugesEndWithTheirLog(t *testing.T) {
	s := testService(t, nil)
	v := 5.0
	mustTake(t, s, windowRequest(next("h", aLog, 1, nil,
		&netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Item: "flows"}, Gauge: &v})))
	other := bytes.Repeat([]byte{2}, 16)
	mustTake(t, s, windowRequest(next("h", other, 1, nil)))
	if got, ok := shown(s, `netmon_flows{host="h",interface="",shard="0",detail=""}`); ok {
		t.Errorf("the gauge of the log before is still shown: %s", got)
	}
}

// TestBudget: beyond it detail is lost, and totals are not.
func TestBudget(t *testing.T) {
	const budget = 100
	s := testService(t, func(c *Config) { c.MaxRowsPerSensor = budget })
	var want uint64
	for n := uint64(1); n <= 50; n++ {
		w := next("h", aLog, n, chainOf(aLog, n-1))
		for i := range 1000 {
			w.Rows = append(w.Rows, domainRow(fmt.Sprintf("d%d-%d.test", n, i), 3, 4))
			w.Rows[i].Key.Interface = fmt.Sprintf("veth%d", rand.N(100000))
			w.Rows[i].Retired = i%3 == 0
			want += 3
		}
		mustTake(t, s, windowRequest(w))
	}
	if got := sum(t, s, "network_domain_bytes_sent_total"); got != want {
		t.Errorf("sum is %d, want %d", got, want)
	}
	if got := sum(t, s, "network_attributed_bytes_total"); got != want/3*7 {
		t.Errorf("attributed bytes are %d, want %d", got, want/3*7)
	}
	// Each of 50 windows has 1000 new names, and there are 100 rows.
	page := whole(t, s, expfmt.NewFormat(expfmt.TypeTextPlain))
	var overflowed, givenUp float64
	for line := range strings.Lines(page) {
		fmt.Sscanf(line, "netmon_server_rows_overflowed_total %g", &overflowed)
		fmt.Sscanf(line, "netmon_server_series_given_up_total %g", &givenUp)
	}
	if overflowed < 40_000 || overflowed > 50_000 || givenUp == 0 {
		t.Errorf("%v rows overflowed, %v series gave up", overflowed, givenUp)
	}
	s.store.read(func(st *state) {
		if limit := budget + spareRows + 16; st.rows > limit {
			t.Errorf("%d rows, the bound is %d", st.rows, limit)
		}
		if limit := 2*budget + 4*(spareRows+16); st.sensors[0].series > limit {
			t.Errorf("%d series, the bound is %d", st.sensors[0].series, limit)
		}
	})
}

func TestSensorsAreBoundedAndForgotten(t *testing.T) {
	now := time.Unix(1700000000, 0)
	m := newMemory(limits{sensors: 2, rowsPerSensor: 100, rows: 1000, forgetAfter: time.Hour}, func() time.Time { return now })
	for i, want := range []code{"", "", codeConflict} {
		_, err := m.apply(t.Context(), next(fmt.Sprint("h", i), aLog, 1, nil, domainRow("a.test", 1, 1)))
		if codeOf(err) != want {
			t.Errorf("sensor %d: %v", i, err)
		}
	}
	now = now.Add(50 * time.Minute)
	if _, err := m.apply(t.Context(), next("h1", aLog, 2, chainOf(aLog, 1))); err != nil {
		t.Fatal(err)
	}
	now = now.Add(20 * time.Minute)
	if got, err := m.sweep(t.Context()); err != nil || len(got) != 1 || got[0] != "h0" {
		t.Errorf("forgotten: %v %v", got, err)
	}
	if _, err := m.apply(t.Context(), next("h0", aLog, 2, chainOf(aLog, 1))); codeOf(err) != codeUnknownLog {
		t.Errorf("a forgotten sensor: %v", err)
	}
	if m.state.rows != 1 {
		t.Errorf("%d rows are left, want 1", m.state.rows)
	}
}

func TestRemoveAndHeartbeat(t *testing.T) {
	now := time.Unix(1700000000, 0)
	m := newMemory(limits{sensors: 2, rowsPerSensor: 100, rows: 1000}, func() time.Time { return now })
	if _, err := m.apply(t.Context(), next("a", aLog, 1, nil, domainRow("a.test", 1, 1))); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	for id, want := range map[string]bool{"a": true, "b": false} {
		if known, err := m.heartbeat(t.Context(), id, []byte("it")); err != nil || known != want {
			t.Errorf("heartbeat of %s: %v %v", id, known, err)
		}
	}
	m.read(func(s *state) {
		if len(s.sensors) != 1 || !s.sensors[0].seen.Equal(now) || string(s.sensors[0].about) != "it" {
			t.Errorf("after the heartbeat: %+v", s.sensors)
		}
	})
	for _, want := range []bool{true, false} {
		if known, err := m.remove(t.Context(), "a"); err != nil || known != want {
			t.Errorf("remove: %v %v, want %v", known, err, want)
		}
	}
	if len(m.state.sensors) != 0 || m.state.rows != 0 {
		t.Errorf("%d sensors and %d rows are left", len(m.state.sensors), m.state.rows)
	}
	if _, err := m.apply(t.Context(), next("a", aLog, 2, chainOf(aLog, 1))); codeOf(err) != codeUnknownLog {
		t.Errorf("a removed sensor: %v", err)
	}
}

// TestRandomHistories holds the state against rows.Totals, which the sensors'
// logs are kept with: whatever comes in, in whatever order, each family sums to
// what the accepted windows say, and no counter that stays goes down.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(12) {
		s := testService(t, func(c *Config) { c.MaxRowsPerSensor = 100 })
		randomHistory(t, seed, 300, func(*rand.Rand) *service { return s })
	}
}

// randomHistory lets sensors talk to the servers that next returns.
func randomHistory(t *testing.T, seed uint64, steps int, next func(*rand.Rand) *service) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	var logs []*modelLog
	for step := range steps {
		s := next(rng)
		var l *modelLog
		if len(logs) == 0 || rng.IntN(60) == 0 && len(logs) < 20 {
			l = &modelLog{sensor: fmt.Sprint("h", rng.IntN(2)), id: binaryID(seed, len(logs))}
			logs = append(logs, l)
		} else {
			l = logs[max(0, len(logs)-1-rng.IntN(3))]
		}
		l.step(t, s, rng)
		var want uint64
		for _, l := range logs {
			want += l.held.BytesSent
		}
		for _, family := range []string{"network_domain_bytes_sent_total", "network_bytes_sent_total"} {
			if got := sum(t, s, family); got != want {
				t.Fatalf("seed %d, step %d: %s sums to %d, want %d", seed, step, family, got, want)
			}
		}
		for _, sensor := range s.summary().sensors {
			if sensor.imbalance != 0 {
				t.Fatalf("seed %d, step %d: imbalance of %d", seed, step, sensor.imbalance)
			}
		}
	}
}

func binaryID(seed uint64, i int) []byte {
	return []byte(fmt.Sprintf("%08d%08d", seed, i))
}

// modelLog is a sensor's log and what the server should hold of it.
type modelLog struct {
	sensor  string
	id      []byte
	totals  rows.Totals // of windows 1..last
	last    uint64
	ledger  netmonpb.Ledger
	windows []*netmonpb.Window
	held    netmonpb.Counters // of windows 1..watermark
	mark    uint64
	sums    []netmonpb.Counters // after each window
}

// step does something to the log or the server.
func (l *modelLog) step(t *testing.T, s *service, rng *rand.Rand) {
	t.Helper()
	for range 1 + rng.IntN(2) {
		l.write(rng)
	}
	switch rng.IntN(6) {
	case 0: // a snapshot
		snapshot := &netmonpb.Snapshot{
			LogId: l.id, SensorId: l.sensor, Sequence: l.last, Chain: chainOf(l.id, l.last), Ledger: proto.CloneOf(&l.ledger), Rows: l.totals.Rows(),
		}
		held, err := s.take(t.Context(), snapshotRequest(snapshot))
		if codeOf(err) == codeConflict { // of a folded log
			return
		}
		if err != nil || held.watermark != l.last {
			t.Fatalf("snapshot: %v %v", held, err)
		}
		l.accept(l.last)
	case 1: // any window at all
		l.post(t, s, l.windows[rng.IntN(len(l.windows))])
	default: // those that are missing
		for l.mark > 0 && l.mark < l.last || l.mark == 0 && l.last == 1 {
			l.post(t, s, l.windows[l.mark])
		}
	}
}

func (l *modelLog) post(t *testing.T, s *service, w *netmonpb.Window) {
	t.Helper()
	before := exposition(s, false)
	held, err := s.take(t.Context(), windowRequest(w))
	neverDown(t, before, exposition(s, false))
	switch {
	case w.Sequence <= l.mark:
		if err != nil || held != (ack{l.mark, false}) {
			t.Fatalf("repeat of %d at %d: %v %v", w.Sequence, l.mark, held, err)
		}
	case w.Sequence == l.mark+1:
		if err != nil || held != (ack{w.Sequence, true}) {
			t.Fatalf("window %d at %d: %v %v", w.Sequence, l.mark, held, err)
		}
		l.accept(w.Sequence)
	case l.mark == 0:
		if codeOf(err) != codeUnknownLog {
			t.Fatalf("window %d of an unknown log: %v %v", w.Sequence, held, err)
		}
	default:
		if codeOf(err) != codeOutOfSequence {
			t.Fatalf("window %d at %d: %v %v", w.Sequence, l.mark, held, err)
		}
	}
}

func (l *modelLog) accept(n uint64) {
	l.mark = n
	l.held = netmonpb.Counters{BytesSent: l.sums[n-1].BytesSent}
}

// write appends a window to the sensor's log; rows are few, so that they come
// back, are retired and come back again.
func (l *modelLog) write(rng *rand.Rand) {
	l.last++
	w := next(l.sensor, l.id, l.last, chainOf(l.id, l.last-1))
	if l.last == 1 {
		w.PreviousChain = nil
	}
	var bytesNow uint64
	for i := range 12 {
		if rng.IntN(2) > 0 {
			continue
		}
		n := rng.Uint64N(1000)
		bytesNow += 2 * n
		domain := rowOf(domainKey(fmt.Sprintf("d%d.test", i/2), netmonpb.NameSource(2+i%2)), func(c *netmonpb.Counters) { c.BytesSent, c.BytesReceived = n, n })
		domain.Retired = rng.IntN(4) == 0
		address := rowOf(&netmonpb.Key{View: netmonpb.View_VIEW_ADDRESSES, Address: []byte{10, 0, 0, byte(i)}}, func(c *netmonpb.Counters) { c.BytesSent, c.BytesReceived = n, n })
		address.Retired = rng.IntN(4) == 0
		protocol := rowOf(&netmonpb.Key{View: netmonpb.View_VIEW_PROTOCOLS, Protocol: uint32(i % 3), Application: fmt.Sprint("app", i%2)}, func(c *netmonpb.Counters) {
			c.BytesSent, c.BytesReceived = n, n
			c.Handshake = &netmonpb.Histogram{Buckets: []uint64{n, 1}, SumNs: n, SumS: n}
			c.RetransmittedBytes, c.Resets = n, 1
		})
		protocol.Retired = rng.IntN(4) == 0
		w.Rows = append(w.Rows, domain, address, protocol)
	}
	l.ledger.Bytes += bytesNow
	w.Ledger = proto.CloneOf(&l.ledger)
	l.totals.Apply(w.Rows)
	l.windows = append(l.windows, w)
	l.sums = append(l.sums, netmonpb.Counters{BytesSent: l.ledger.Bytes / 2})
}

// neverDown checks that what is in both expositions did not fall.
func neverDown(t *testing.T, before, after string) {
	t.Helper()
	values := map[string]uint64{}
	read := func(text string, f func(series string, n uint64)) {
		for line := range strings.Lines(text) {
			cut := strings.LastIndexByte(line, ' ')
			var n uint64
			if line[0] != '#' && !strings.Contains(line, "_seconds_sum") {
				fmt.Sscan(line[cut+1:], &n)
				f(line[:cut], n)
			}
		}
	}
	read(before, func(series string, n uint64) { values[series] = n })
	read(after, func(series string, n uint64) {
		if n < values[series] {
			t.Fatalf("%s went from %d to %d", series, values[series], n)
		}
	})
}

// TestReadersKeepTheirSensors has sensors come and go while a reader breathes: the
// list it goes through stays the one it began with.
func TestReadersKeepTheirSensors(t *testing.T) {
	s := testService(t, nil)
	for _, id := range []string{"b", "c", "d"} {
		mustTake(t, s, windowRequest(bigWindow(id, 1, 5)))
	}
	var seen []string
	s.store.read(func(st *state) {
		for i, sensor := range st.sensors {
			if sensor == nil {
				t.Fatalf("sensor %d of %d is gone from under the reader", i, len(st.sensors))
			}
			seen = append(seen, sensor.id)
			st.breathe(func() {
				switch i {
				case 0:
					mustTake(t, s, windowRequest(bigWindow("a", 1, 5)))
				case 1:
					for _, id := range []string{"a", "b", "c"} {
						if _, err := s.store.remove(t.Context(), id); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
	})
	if got := strings.Join(seen, " "); got != "b c d" {
		t.Errorf("saw %s", got)
	}
}
