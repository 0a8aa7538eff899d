package server

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/common/expfmt"
)

var asJSON = map[string]string{"Content-Type": "application/json"}

// reportOf is the body of a report at a second after noon.
func reportOf(second int, metrics string) []byte {
	return fmt.Appendf(nil, `{"agent_id":"web-1-1700000000","hostname":"web-1","timestamp":"2023-11-14T12:00:%02d.5Z","metrics":%s}`, second, metrics)
}

func mustReport(t testing.TB, s *service, body []byte) (applied bool) {
	t.Helper()
	w := ask(s, "POST", "/api/v1/metrics", asJSON, body)
	var answer struct{ Success, Applied bool }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 || !answer.Success {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return answer.Applied
}

const aReport = `{"host_id":"h","hostname":"web-1","interface":"eth0",
	"total_connections":150,"total_bytes_sent":1000,"total_bytes_received":9000,"total_packets_sent":100,"total_packets_received":150,
	"domains_accessed":{"Example.com.":10,"github.com":5,"not a name":2},
	"domain_traffic":{"example.com":{"domain":"example.com","bytes_sent":300,"bytes_received":4000,"packets_sent":5,"packets_received":6,"connections":7,"last_access":"2023-11-14T12:00:00Z"},"gone.test":null},
	"ips_accessed":{"192.0.2.1":15,"::ffff:192.0.2.1":1,"2001:db8::1":8,"no address":4},
	"protocol_stats":{"tcp":120,"udp":30,"":1},
	"port_stats":{"443":70,"53":30,"http":9},
	"top_processes":[{"process_name":"nginx","pid":1,"connections":50,"bytes_sent":5,"bytes_received":6},{"process_name":"nginx","pid":2,"connections":1,"bytes_sent":0,"bytes_received":0},{"process_name":"a\nb"}],
	"events":[{"protocol":"tcp","anything":1},{}]}`

// TestReportFields: every field of a report is shown, or counted as having no place.
func TestReportFields(t *testing.T) {
	s := testService(t, nil)
	if !mustReport(t, s, reportOf(0, aReport)) {
		t.Error("not applied")
	}
	domain := func(name string) string {
		return `{host="web-1",interface="eth0",domain="` + name + `",direction="unknown"}`
	}
	for series, want := range map[string]string{
		"network_domains_accessed_total" + domain("example.com"):                                            "10",
		"network_domains_accessed_total" + domain("github.com"):                                             "5",
		"network_domains_accessed_total" + domain("(unattributed)"):                                         "2",
		"network_domain_bytes_sent_total" + domain("example.com"):                                           "300",
		"network_domain_bytes_received_total" + domain("example.com"):                                       "4000",
		"network_domain_connections_total" + domain("example.com"):                                          "7",
		"network_domain_bytes_sent_total" + domain("(unattributed)"):                                        "700",
		"network_domain_bytes_received_total" + domain("(unattributed)"):                                    "5000",
		"network_domain_connections_total" + domain("(unattributed)"):                                       "143",
		`network_ips_accessed_total{host="web-1",interface="eth0",ip="192.0.2.1"}`:                          "16",
		`network_ips_accessed_total{host="web-1",interface="eth0",ip="2001:db8::1"}`:                        "8",
		`network_ips_accessed_total{host="web-1",interface="eth0",ip="(other)"}`:                            "4",
		`network_connections_total{host="web-1",interface="eth0",protocol="(other)",direction="unknown"}`:   "150",
		`network_bytes_sent_total{host="web-1",interface="eth0",protocol="(other)"}`:                        "1000",
		`network_bytes_received_total{host="web-1",interface="eth0",protocol="(other)"}`:                    "9000",
		`network_packets_sent_total{host="web-1",interface="eth0",protocol="(other)"}`:                      "100",
		`network_packets_received_total{host="web-1",interface="eth0",protocol="(other)"}`:                  "150",
		`network_protocol_stats{host="web-1",interface="eth0",protocol="tcp"}`:                              "120",
		`network_protocol_stats{host="web-1",interface="eth0",protocol="(other)"}`:                          "100",
		`netmon_reported_ports_total{host="web-1",interface="eth0",shard="0",detail="443"}`:                 "70",
		`netmon_reported_process_connections_total{host="web-1",interface="eth0",shard="0",detail="nginx"}`: "51",
		`netmon_reported_totals_total{host="web-1",interface="eth0",shard="0",detail="bytes_received"}`:     "9000",
	} {
		wantSeries(t, s, series, want)
	}
	text := whole(t, s, expfmt.NewFormat(expfmt.TypeTextPlain))
	for field, want := range map[string]string{
		"domains_accessed": "1", "ips_accessed": "1", "protocol_stats": "1", "port_stats": "1", "top_processes": "1", "events": "2",
	} {
		if line := fmt.Sprintf("netmon_server_report_fields_unmapped_total{field=%q} %s\n", field, want); !strings.Contains(text, line) {
			t.Errorf("the scrape lacks %s", line)
		}
	}
	sum := s.summary()
	if len(sum.sensors) != 1 || sum.sensors[0].imbalance != 0 {
		t.Errorf("%+v", sum.sensors)
	}
	parse(t, text, expfmt.NewFormat(expfmt.TypeTextPlain))
}

// TestReportsAreCumulative: repeats and old ones change nothing, what an agent says
// nothing of stays, and a number that goes down is a restart.
func TestReportsAreCumulative(t *testing.T) {
	s := testService(t, nil)
	series := `network_domain_bytes_sent_total{host="web-1",interface="",domain="a.test",direction="unknown"}`
	accessed := `network_domains_accessed_total{host="web-1",interface="",domain="a.test",direction="unknown"}`
	total := `network_bytes_sent_total{host="web-1",interface="",protocol="(other)"}`
	traffic := func(n, all int) string {
		return fmt.Sprintf(`{"total_bytes_sent":%d,"domain_traffic":{"a.test":{"bytes_sent":%d}}}`, all, n)
	}
	steps := []struct {
		name           string
		second         int
		metrics        string
		applied        bool
		a, times, both string
	}{
		{"first", 10, traffic(100, 150), true, "100", "0", "150"},
		{"again", 10, traffic(100, 150), false, "100", "0", "150"},
		{"same time, other numbers", 10, traffic(500, 900), false, "100", "0", "150"},
		{"older", 9, traffic(90, 90), false, "100", "0", "150"},
		{"grown", 20, traffic(130, 200), true, "130", "0", "200"},
		{"nothing said", 21, `{}`, true, "130", "0", "200"},
		{"one thing said", 22, `{"domains_accessed":{"a.test":7}}`, true, "130", "7", "200"},
		{"restarted", 30, traffic(20, 50), true, "150", "7", "250"},
		{"grown again", 31, traffic(40, 80), true, "170", "7", "280"},
		{"the last of before, late", 23, traffic(135, 210), true, "175", "7", "290"},
		{"restarted, past the old values", 40, traffic(39, 5000), true, "214", "7", "5290"},
	}
	for _, step := range steps {
		if applied := mustReport(t, s, reportOf(step.second, step.metrics)); applied != step.applied {
			t.Errorf("%s: applied is %v", step.name, applied)
		}
		for series, want := range map[string]string{series: step.a, accessed: step.times, total: step.both} {
			wantSeries(t, s, series, want)
		}
		if t.Failed() {
			t.Fatal(step.name)
		}
	}
}

// TestReportsAtRandom: an agent that restarts now and then, whose reports are lost,
// doubled and late. What is shown is what it counted, in all its lives.
func TestReportsAtRandom(t *testing.T) {
	for seed := range uint64(4) {
		s := testService(t, nil)
		rng := rand.New(rand.NewPCG(seed, 7))
		var done, life [5]uint64
		at := s.now().Add(-time.Hour)
		for n := range 200 {
			if n%50 == 49 { // the last report of a life arrives, else nobody knows of it
				mustReport(t, s, randomReport(at.Add(time.Duration(n)*time.Second), n/50, &life))
				for i, v := range life {
					done[i] += v
				}
				life = [5]uint64{}
			}
			for range rng.IntN(4) {
				life[rng.IntN(5)] += rng.Uint64N(100)
			}
			body := randomReport(at.Add(time.Duration(n)*time.Second+time.Millisecond), (n+1)/50, &life)
			for range rng.IntN(3) {
				mustReport(t, s, body)
			}
		}
		mustReport(t, s, randomReport(at.Add(time.Hour), 4, &life))
		for i := range life {
			if want := done[i] + life[i]; want > 0 {
				wantSeries(t, s, fmt.Sprintf(`network_domain_bytes_sent_total{host="h",interface="",domain="d%d.test",direction="unknown"}`, i), fmt.Sprint(want))
			}
		}
	}
}

func randomReport(at time.Time, life int, n *[5]uint64) []byte {
	traffic := map[string]any{}
	for i, v := range n {
		if v > 0 {
			traffic[fmt.Sprintf("d%d.test", i)] = map[string]uint64{"bytes_sent": v}
		}
	}
	body, err := json.Marshal(map[string]any{
		"agent_id": fmt.Sprint("h-", life), "hostname": "h", "timestamp": at, "metrics": map[string]any{"domain_traffic": traffic},
	})
	if err != nil {
		panic(err)
	}
	return body
}

// hostile are bodies that must be refused, and change nothing.
func hostile() map[string]string {
	report := func(metrics string) string { return string(reportOf(1, metrics)) }
	return map[string]string{
		"empty":             ``,
		"no JSON":           `<html>`,
		"two values":        `{} {}`,
		"cut off":           `{"agent_id":"a"`,
		"a list":            `[]`,
		"NaN":               report(`{"total_bytes_sent":NaN}`),
		"infinite":          report(`{"total_bytes_sent":1e999}`),
		"negative":          report(`{"total_bytes_sent":-1}`),
		"a fraction":        report(`{"total_bytes_sent":1.5}`),
		"beyond 64 bits":    report(`{"total_bytes_sent":18446744073709551616}`),
		"beyond 2^60":       report(`{"domains_accessed":{"a.test":1152921504606846976}}`),
		"text for a number": report(`{"total_bytes_sent":"1"}`),
		"a name twice":      `{"agent_id":"a","agent_id":"b","metrics":{}}`,
		"a domain twice":    report(`{"domains_accessed":{"a.test":1,"a.test":2}}`),
		"deep":              report(strings.Repeat(`{"a":`, 100) + `1` + strings.Repeat(`}`, 100)),
		"deeper":            strings.Repeat(`[`, 100_000),
		"no agent":          `{"metrics":{}}`,
		"hostname of bells": `{"hostname":"\u0007","metrics":{}}`,
		"hostname too long": `{"hostname":"` + strings.Repeat("x", 300) + `","metrics":{}}`,
		"before 2000":       `{"hostname":"h","timestamp":"1970-01-01T00:00:00Z","metrics":{}}`,
		"in the future":     `{"hostname":"h","timestamp":"2123-01-01T00:00:00Z","metrics":{}}`,
		"no time":           `{"hostname":"h","timestamp":"noon","metrics":{}}`,
	}
}

func TestHostileReports(t *testing.T) {
	s := testService(t, nil)
	mustReport(t, s, reportOf(0, aReport))
	before := exposition(s, false)
	for name, body := range hostile() {
		w := ask(s, "POST", "/api/v1/metrics", asJSON, []byte(body))
		var e envelope
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != 400 || e.Error.Code == "" {
			t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
		}
	}
	w := ask(s, "POST", "/api/v1/metrics", map[string]string{"Content-Type": "application/json", "X-Agent-ID": "another"}, reportOf(5, `{}`))
	if w.Code != 400 {
		t.Errorf("another agent in the header: %d", w.Code)
	}
	if after := exposition(s, false); after != before {
		t.Errorf("the state has changed:\n%s", after)
	}
}

// TestFiguresAlone: some clients post the figures without a report around them.
func TestFiguresAlone(t *testing.T) {
	s := testService(t, nil)
	mustReport(t, s, []byte(`{"host_id":"host-001","hostname":"web-2","timestamp":"2023-11-14T12:00:00Z","total_bytes_sent":5}`))
	wantSeries(t, s, `network_bytes_sent_total{host="web-2",interface="",protocol="(other)"}`, "5")
}

func FuzzReport(f *testing.F) {
	f.Add(reportOf(0, aReport))
	f.Add([]byte(`{"id":"a","hostname":"h","version":"1","addresses":["::1"]}`))
	for _, body := range hostile() {
		if len(body) < 1<<12 {
			f.Add([]byte(body))
		}
	}
	s := testService(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		s.store = newMemory(limits{sensors: 10, rowsPerSensor: 100, rows: 1000}, s.now)
		mustReport(t, s, reportOf(0, aReport))
		before := exposition(s, false)
		w := ask(s, "POST", "/api/v1/metrics", asJSON, body)
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("internal error: %s", w.Body)
		}
		after := exposition(s, false)
		if w.Code != 200 && after != before {
			t.Fatalf("status %d and the state has changed", w.Code)
		}
		if w.Code == 200 {
			parse(t, after, expfmt.NewFormat(expfmt.TypeTextPlain))
			if w := ask(s, "POST", "/api/v1/metrics", asJSON, body); w.Code == 200 && strings.Contains(string(body), "timestamp") {
				if again := exposition(s, false); again != after && slices.Contains(body, '"') && strings.Contains(w.Body.String(), `"applied":false`) {
					t.Fatalf("the same report again changes:\n%s\nto\n%s", after, again)
				}
			}
		}
		if w := ask(s, "POST", "/api/v1/heartbeat", asJSON, body); w.Code == http.StatusInternalServerError {
			t.Fatalf("internal error: %s", w.Body)
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, q := range []string{"limit=5", "sort=bytes&search=a", "limit=-1", "host=%zz", "a=1;b=2", "sort=bytes&sort=bytes", "direction=outbound", "%00"} {
		f.Add("/api/v1/domains", q)
	}
	f.Add("/api/v1/domains/%2e%2e%2f", "")
	f.Add("/api/v1/agents/host-1", "x")
	s := testService(f, nil)
	mustTake(f, s, windowRequest(oneOfEach()))
	f.Fuzz(func(t *testing.T, path, q string) {
		r, err := http.NewRequest("GET", "http://h"+path+"?"+q, nil)
		if err != nil || strings.Contains(path, "events") {
			return
		}
		w := httptest.NewRecorder()
		s.handler(false).ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("%s?%s: %s", path, q, w.Body)
		}
	})
}

// TestReportsOnDisk: what agents report as JSON is there after a kill, and a report
// that was held is still known as such.
func TestReportsOnDisk(t *testing.T) {
	folder := t.TempDir()
	st := diskAt(t, folder, testLimits(), createFile)
	s := newService(DefaultConfig(), "test", hclog.NewNullLogger(), st, time.Now)
	mustReport(t, s, reportOf(10, aReport))
	mustReport(t, s, reportOf(11, `{"interface":"eth0","total_bytes_sent":1500,"domain_traffic":{"example.com":{"bytes_sent":700}}}`))
	before := exposition(s, false)
	st.die()
	st = diskAt(t, folder, testLimits(), createFile)
	defer func() { _ = st.close() }()
	s = newService(DefaultConfig(), "test", hclog.NewNullLogger(), st, time.Now)
	if after := exposition(s, false); sortedLines(after) != sortedLines(before) || !strings.Contains(before, `domain="example.com",direction="unknown"} 700`) {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if mustReport(t, s, reportOf(11, `{"interface":"eth0","total_bytes_sent":9999}`)) {
		t.Error("a report that is held was taken again")
	}
	if !mustReport(t, s, reportOf(12, `{"interface":"eth0","total_bytes_sent":1600,"domain_traffic":{"example.com":{"bytes_sent":750}}}`)) {
		t.Error("the next report was not taken")
	}
	wantSeries(t, s, `network_domain_bytes_sent_total{host="web-1",interface="eth0",domain="example.com",direction="unknown"}`, "750")
	// What a report leaves out of a domain's traffic stays as it was: absent is not 0.
	wantSeries(t, s, `network_domain_bytes_received_total{host="web-1",interface="eth0",domain="example.com",direction="unknown"}`, "4000")
	wantSeries(t, s, `network_bytes_sent_total{host="web-1",interface="eth0",protocol="(other)"}`, "1600")
}
