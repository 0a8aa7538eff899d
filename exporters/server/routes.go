package server

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// route is a path and what answers it. A GET answers HEAD, too. A last element
// in braces stands for one name, which the handler finds with r.PathValue.
type route struct {
	method, path string
	handle       http.HandlerFunc
	access       access // forAll: also on the listeners for probes
}

// table is everything the server answers to.
func (s *service) table() []route {
	return []route{
		{"GET", "/", s.pageFile("index.html", "text/html; charset=utf-8"), forRead},
		{"GET", "/app.js", s.pageFile("app.js", "text/javascript; charset=utf-8"), forRead},
		{"GET", "/chart.js", s.pageFile("chart.js", "text/javascript; charset=utf-8"), forRead},
		{"GET", "/style.css", s.pageFile("style.css", "text/css; charset=utf-8"), forRead},
		{"GET", "/metrics", s.scrape.ServeHTTP, forRead},
		{"POST", "/api/v1/metrics", s.receive, forPush},
		{"POST", "/api/v1/heartbeat", s.heartbeat, forPush},
		{"POST", "/api/v1/metrics/heartbeat", s.heartbeat, forPush}, // where agents of other makes look for it
		{"GET", "/api/v1/agents", s.reading(s.agents), forRead},
		{"GET", "/api/v1/agents/{id}", s.reading(s.agent), forRead},
		{"DELETE", "/api/v1/agents/{id}", s.removeAgent, forWrite},
		{"GET", "/api/v1/stats", s.reading(s.stats), forRead},
		{"GET", "/api/v1/status", s.reading(s.status), forRead},
		{"GET", "/api/v1/domains", s.reading(s.top(byDomain)), forRead},
		{"GET", "/api/v1/domains/{name}", s.reading(s.domain), forRead},
		{"GET", "/api/v1/addresses", s.reading(s.top(byAddress)), forRead},
		{"GET", "/api/v1/protocols", s.reading(s.top(byApplication)), forRead},
		{"GET", "/api/v1/dns", s.reading(s.dns), forRead},
		{"GET", "/api/v1/traffic", s.reading(s.traffic), forRead},
		{"GET", "/api/v1/events", s.events, forRead},
		{"POST", "/-/reload", s.reload, forWrite},
		{"GET", "/health", s.health, forAll},
		{"GET", "/ready", s.readiness, forAll},
		{"GET", "/-/healthy", s.healthyText, forAll},
		{"GET", "/-/ready", s.readyText, forAll},
	}
}

// match compares a path as it was sent with that of a route.
func match(route, path string) (name string, ok bool) {
	prefix, _, named := strings.Cut(route, "{")
	if !named {
		return "", route == path
	}
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok || rest == "" || strings.Contains(rest, "/") {
		return "", false
	}
	name, err := url.PathUnescape(rest)
	return name, err == nil
}

// handler answers the routes, or those for probes alone. Paths match exactly.
func (s *service) handler(probesOnly bool) http.Handler {
	return s.logged(inside(s.dispatcher(probesOnly)))
}

func (s *service) dispatcher(probesOnly bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, route := range s.routes {
			name, ok := match(route.path, r.URL.EscapedPath())
			if !ok || probesOnly && route.access != forAll {
				continue
			}
			if route.method != r.Method && (route.method != http.MethodGet || r.Method != http.MethodHead) {
				if allowed = append(allowed, route.method); route.method == http.MethodGet {
					allowed = append(allowed, http.MethodHead)
				}
				continue
			}
			if watched, ok := w.(*watched); ok {
				watched.route = route.path
			}
			r, err := s.admit(r, route.access)
			if err != nil {
				s.fail(w, err)
				return
			}
			r.SetPathValue(strings.Trim(route.path[strings.LastIndex(route.path, "/")+1:], "{}"), name)
			route.handle(w, r)
			return
		}
		if allowed == nil {
			s.fail(w, refuse(codeNotFound, "there is nothing here; / lists what there is"))
			return
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.fail(w, refuse(codeMethodNotAllowed, "this path takes %s", strings.Join(allowed, ", ")))
	})
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
			s.requests.note(a.route, a.status)
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
	route  string // "" where none was found
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
