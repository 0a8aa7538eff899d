package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
)

// policy is the part of the configuration that can change while the server runs.
// It is replaced as a whole.
type policy struct {
	config *Config
	guard  *guard
	web    []byte // content of the web config file when the guard was made
}

// who is the identity of a request, put into its context by admit.
type whoKey struct{}

func whoOf(r *http.Request) *caller {
	if who, ok := r.Context().Value(whoKey{}).(*caller); ok {
		return who
	}
	return &caller{}
}

// admit answers those who may not do what the route asks for, and returns the
// request of the others with their identity in it.
func (s *service) admit(r *http.Request, what access) (*http.Request, error) {
	if what == forAll {
		return r, nil
	}
	g := s.policy.Load().guard
	who, err := g.identify(r)
	if err == nil {
		err = g.allow(who, what)
	}
	return r.WithContext(context.WithValue(r.Context(), whoKey{}, who)), err
}

// login stands before the toolkit's check of users and passwords, which is one
// lock for everybody and slow by design. Bearer tokens are checked by us, and a
// sensor that shows its certificate needs no password to push: so no number of
// wrong passwords keeps it waiting. What the toolkit refuses gets our envelope.
func (s *service) login(toolkit http.Handler, inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, bearer := bearerToken(r)
		certified := r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && r.Header.Get("Authorization") == ""
		if bearer || certified && s.pushes(r) {
			inner.ServeHTTP(w, r)
			return
		}
		if err := s.follow(); err != nil {
			s.logger.Error("the web config file has changed and cannot be used", "error", err)
		}
		toolkit.ServeHTTP(&outer{ResponseWriter: w, service: s}, r)
	})
}

// pushes tells whether a request goes to a route for pushing.
func (s *service) pushes(r *http.Request) bool {
	for _, route := range s.routes {
		if _, ok := match(route.path, r.URL.EscapedPath()); ok && route.access == forPush && route.method == r.Method {
			return true
		}
	}
	return false
}

// follow makes a new guard when the web config file has changed, which the
// toolkit reads for every request: both must agree on who has a password.
func (s *service) follow() error {
	p := s.policy.Load()
	file := at(s.baseDir, p.config.WebConfigFile)
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil || bytes.Equal(text, p.web) {
		return err
	}
	security, err := p.config.security(s.baseDir)
	if err != nil {
		return err
	}
	// Tokens change by reload alone.
	security.guard.tokens = p.guard.tokens
	security.guard.closed = security.guard.closed || len(p.guard.tokens) > 0
	s.policy.CompareAndSwap(p, &policy{p.config, security.guard, text})
	return nil
}

// outer is what the toolkit writes to. Its own refusals become envelopes; past
// its door, inner takes the wrapping off.
type outer struct {
	http.ResponseWriter
	service *service
	refused bool
}

func (o *outer) WriteHeader(status int) {
	o.refused = true
	code, message := codeInternal, "the web config file cannot be read, see the server's log"
	switch status {
	case http.StatusUnauthorized:
		code, message = codeUnauthenticated, "this takes a user and password, a bearer token or a client certificate"
	case http.StatusTooManyRequests:
		code, message = codeQuota, "too many requests, as rate_limit of the web config file says"
	}
	h := o.Header()
	h.Del("Content-Length")
	o.service.fail(o.ResponseWriter, refuse(code, "%s", message))
}

func (o *outer) Write(b []byte) (int, error) {
	if !o.refused {
		return 0, fmt.Errorf("the login page has no text of its own")
	}
	return len(b), nil // replaced by the envelope
}

// inside is the handler past the login.
func inside(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o, ok := w.(*outer); ok {
			w = o.ResponseWriter
		}
		next.ServeHTTP(w, r)
	})
}
