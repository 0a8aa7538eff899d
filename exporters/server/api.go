package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// parameters are those of a query, each known and given once.
type parameters struct{ url.Values }

// query reads the parameters of a request; others than known are a mistake that
// would otherwise go unseen.
func query(r *http.Request, known ...string) (parameters, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return parameters{}, refuse(codeInvalid, "the query cannot be read: %s", brief(err.Error()))
	}
	for name, all := range values {
		switch {
		case !slices.Contains(known, name):
			return parameters{}, refuse(codeInvalid, "there is no parameter %q here, only: %s", brief(name), strings.Join(known, ", "))
		case len(all) > 1:
			return parameters{}, refuse(codeInvalid, "parameter %s is there %d times", name, len(all))
		case !printable(all[0], maxText):
			return parameters{}, refuse(codeInvalid, "parameter %s is longer than %d bytes or not printable", name, maxText)
		}
	}
	return parameters{values}, nil
}

// listQuery is query where limit, one of known, says how many things are wanted.
func listQuery(r *http.Request, otherwise, most int, known ...string) (q parameters, limit int, err error) {
	if q, err = query(r, known...); err == nil {
		limit, err = q.number("limit", otherwise, 1, most)
	}
	return q, limit, err
}

func (p parameters) number(name string, otherwise, least, most int) (int, error) {
	if !p.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(p.Get(name))
	if err != nil || n < least || n > most {
		return 0, refuse(codeInvalid, "parameter %s must be a number from %d to %d", name, least, most)
	}
	return n, nil
}

func (p parameters) choice(name, otherwise string, choices ...string) (string, error) {
	if !p.Has(name) {
		return otherwise, nil
	}
	if c := p.Get(name); slices.Contains(choices, c) {
		return c, nil
	}
	return "", refuse(codeInvalid, "parameter %s must be one of %s", name, strings.Join(choices, ", "))
}

// reading bounds how many answers that walk through the store are made at a time.
func (s *service) reading(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := s.viewing.enter(r.Context()); err != nil {
			s.fail(w, err)
			return
		}
		defer s.viewing.leave()
		f(w, r)
	}
}

func (s *service) status(w http.ResponseWriter, r *http.Request) {
	if _, err := query(r); err != nil {
		s.fail(w, err)
		return
	}
	sum := s.summary()
	s.answer(w, http.StatusOK, map[string]any{
		"status":         "running",
		"timestamp":      s.now().UTC(),
		"version":        s.version,
		"started":        s.started.UTC(),
		"uptime_seconds": int64(s.now().Sub(s.started).Seconds()),
		"storage":        s.config.Storage.Type,
		"ready":          len(s.notReady()) == 0,
		"agent_count":    len(sum.sensors),
		"agents":         map[string]int{"online": sum.online, "offline": len(sum.sensors) - sum.online},
		"rows":           sum.rows,
		"series":         sum.series,
	})
}

func (s *service) health(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, map[string]any{"status": "healthy", "timestamp": s.now().UTC()})
}

func (s *service) readiness(w http.ResponseWriter, _ *http.Request) {
	answer := map[string]any{"status": "ready", "timestamp": s.now().UTC()}
	status := http.StatusOK
	if why := s.notReady(); len(why) > 0 {
		status = http.StatusServiceUnavailable
		answer["status"], answer["reasons"] = "not ready", why
	}
	s.answer(w, status, answer)
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
