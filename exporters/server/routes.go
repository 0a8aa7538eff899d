package server

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
)

// route is a path and what answers it. A GET answers HEAD, too.
type route struct {
	method, path string
	handle       http.HandlerFunc
	probe        bool // also on the listeners for probes
}

// table is everything the server answers to.
func (s *service) table() []route {
	return []route{
		{"GET", "/", s.landing(), false},
		{"GET", "/metrics", s.scrape.ServeHTTP, false},
		{"POST", "/api/v1/metrics", s.receive, false},
		{"GET", "/api/v1/agents", s.agents, false},
		{"GET", "/api/v1/status", s.status, false},
		{"GET", "/health", s.health, true},
		{"GET", "/ready", s.readiness, true},
		{"GET", "/-/healthy", s.healthyText, true},
		{"GET", "/-/ready", s.readyText, true},
	}
}

// handler answers the routes, or those for probes alone. Paths match exactly.
func (s *service) handler(probesOnly bool) http.Handler {
	paths := map[string]map[string]http.HandlerFunc{}
	for _, r := range s.routes {
		if probesOnly && !r.probe {
			continue
		}
		if paths[r.path] == nil {
			paths[r.path] = map[string]http.HandlerFunc{}
		}
		paths[r.path][r.method] = r.handle
		if r.method == http.MethodGet {
			paths[r.path][http.MethodHead] = r.handle
		}
	}
	return s.logged(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods := paths[r.URL.Path]
		if handle := methods[r.Method]; handle != nil {
			handle(w, r)
			return
		}
		if methods == nil {
			s.fail(w, refuse(codeNotFound, "there is nothing here; / lists what there is"))
			return
		}
		var allowed []string
		for m := range methods {
			allowed = append(allowed, m)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.fail(w, refuse(codeMethodNotAllowed, "this path takes %s", strings.Join(allowed, ", ")))
	}))
}

// logged tells of every request in debug mode, and turns a panic into an answer.
func (s *service) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &watched{ResponseWriter: w, status: http.StatusOK}
		start := time.Now()
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler {
					panic(cause)
				}
				s.logger.Error("request panicked", "path", brief(r.URL.Path), "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
				if !a.begun {
					s.fail(a, fmt.Errorf("panic in %s", brief(r.URL.Path)))
				}
			}
			if s.logger.IsDebug() {
				s.logger.Debug("request", "method", brief(r.Method), "path", brief(r.URL.Path), "status", a.status,
					"bytes", a.bytes, "duration", time.Since(start).Round(time.Microsecond), "peer", r.RemoteAddr)
			}
		}()
		next.ServeHTTP(a, r)
	})
}

// brief cuts what a stranger wrote to what a log line has room for.
func brief(text string) string {
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// watched notes what is answered.
type watched struct {
	http.ResponseWriter
	status int
	bytes  int64
	begun  bool
}

func (w *watched) WriteHeader(status int) {
	if !w.begun {
		w.status, w.begun = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(b []byte) (int, error) {
	w.begun = true
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// landing is a page for who comes with a browser.
func (s *service) landing() http.HandlerFunc {
	page, err := web.NewLandingPage(web.LandingConfig{
		Name:        "netmon server",
		Description: "What the netmon sensors count, by domain name, for Prometheus.",
		Version:     s.version,
		Profiling:   "false",
		Links: []web.LandingLinks{
			{Address: "/metrics", Text: "Metrics", Description: "for Prometheus: text, OpenMetrics, gzip"},
			{Address: "/api/v1/agents", Text: "Sensors", Description: "who reports here, and when last"},
			{Address: "/api/v1/status", Text: "Status", Description: "version, storage, sizes"},
			{Address: "/-/healthy", Text: "Healthy", Description: "the process answers"},
			{Address: "/-/ready", Text: "Ready", Description: "or why not"},
		},
	})
	if err != nil { // the template is part of the toolkit
		return func(w http.ResponseWriter, _ *http.Request) { s.fail(w, fmt.Errorf("landing page: %w", err)) }
	}
	return page.ServeHTTP
}
