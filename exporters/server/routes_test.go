package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/gzip"
)

func TestRoutes(t *testing.T) {
	s := testService(t, nil)
	mustTake(t, s, windowRequest(oneOfEach()))
	tests := []struct {
		method, path string
		status       int
		kind, holds  string
	}{
		{"GET", "/", 200, "text/html", `<a href="metrics">Metrics</a>`},
		{"GET", "/metrics", 200, "text/plain; version=0.0.4", "network_domains_accessed_total"},
		{"HEAD", "/metrics", 200, "text/plain; version=0.0.4", ""},
		{"GET", "/health", 200, "application/json", `"healthy"`},
		{"GET", "/ready", 200, "application/json", `"ready"`},
		{"GET", "/-/healthy", 200, "text/plain", "healthy"},
		{"GET", "/-/ready", 200, "text/plain", "ready"},
		{"GET", "/api/v1/agents", 200, "application/json", `"log_id":"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1","last_sequence":1`},
		{"GET", "/api/v1/agents", 200, "application/json", `"status":"online"`},
		{"GET", "/api/v1/status", 200, "application/json", `"storage":"memory"`},
		{"GET", "/api/v1/metrics", 405, "application/json", `"METHOD_NOT_ALLOWED"`},
		{"POST", "/metrics", 405, "application/json", `"METHOD_NOT_ALLOWED"`},
		{"GET", "/metrics/", 404, "application/json", `"NOT_FOUND"`},
		{"GET", "/debug/pprof/", 404, "application/json", `"NOT_FOUND"`},
		{"DELETE", "/nothing", 404, "application/json", `"NOT_FOUND"`},
	}
	for _, test := range tests {
		w := ask(s, test.method, test.path, nil, nil)
		if w.Code != test.status || !strings.HasPrefix(w.Header().Get("Content-Type"), test.kind) || !strings.Contains(w.Body.String(), test.holds) {
			t.Errorf("%s %s: %d %s\n%s", test.method, test.path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
	if got := ask(s, "PUT", "/metrics", nil, nil).Header().Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow is %q", got)
	}
}

func TestProbesAlone(t *testing.T) {
	s := testService(t, nil)
	for path, want := range map[string]int{"/health": 200, "/-/ready": 200, "/metrics": 404, "/api/v1/agents": 404, "/": 404} {
		w := httptest.NewRecorder()
		s.handler(true).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestNotReady(t *testing.T) {
	s := testService(t, nil)
	s.local = true
	s.draining.Store(true)
	w := ask(s, "GET", "/ready", nil, nil)
	var answer struct{ Reasons []string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 503 || len(answer.Reasons) != 2 {
		t.Errorf("%d %s %v", w.Code, w.Body, err)
	}
	if w := ask(s, "GET", "/-/ready", nil, nil); w.Code != 503 || !strings.Contains(w.Body.String(), "shutting down") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestNegotiation(t *testing.T) {
	s := testService(t, nil)
	mustTake(t, s, windowRequest(oneOfEach()))
	tests := []struct{ accept, encoding, kind, wantEncoding string }{
		{"", "", "text/plain; version=0.0.4", ""},
		{"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "gzip", "application/openmetrics-text; version=1.0.0", "gzip"},
		{"application/openmetrics-text;version=0.0.1", "deflate, gzip;q=0.5", "application/openmetrics-text; version=0.0.1", "gzip"},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;q=0.1", "gzip;q=0", "text/plain; version=0.0.4", ""},
		{"image/png", "identity", "text/plain; version=0.0.4", ""},
	}
	for _, test := range tests {
		w := ask(s, "GET", "/metrics", map[string]string{"Accept": test.accept, "Accept-Encoding": test.encoding}, nil)
		if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, test.kind) || w.Header().Get("Content-Encoding") != test.wantEncoding {
			t.Errorf("%q: %s, %q", test.accept, got, w.Header().Get("Content-Encoding"))
		}
		var body io.Reader = w.Body
		if test.wantEncoding == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		text, err := io.ReadAll(body)
		if err != nil || !bytes.Contains(text, []byte("network_domains_accessed_total{")) {
			t.Errorf("%q: %v, %d bytes", test.accept, err, len(text))
		}
	}
}

// TestPanicIsAnAnswer: one bad request is no reason to end the process.
func TestPanicIsAnAnswer(t *testing.T) {
	s := testService(t, nil)
	w := httptest.NewRecorder()
	s.logged(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errors.New("oops")) })).
		ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 || !strings.Contains(w.Body.String(), string(codeInternal)) || strings.Contains(w.Body.String(), "oops") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestSlogTo(t *testing.T) {
	var out bytes.Buffer
	logger := slogTo(hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: &out, DisableTime: true}))
	logger.With("a", 1).WithGroup("g").Warn("text", "b", 2)
	logger.Log(t.Context(), -8, "too fine")
	if got, want := strings.TrimSpace(out.String()), "[WARN]  text: a=1 g.b=2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
