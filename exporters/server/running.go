package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/exporter-toolkit/web"
)

// Timeouts of every listener. They bound what a slow or silent peer can hold.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 60 * time.Second  // a push over a slow line
	writeTimeout  = 120 * time.Second // a big scrape over one
	idleTimeout   = 120 * time.Second
	maxHeader     = 16 << 10
	maxStreams    = 100 // requests of one HTTP/2 connection at a time
)

// running is a server with its listeners open.
type running struct {
	service   *service
	listeners []net.Listener
	servers   []*http.Server
	cancel    context.CancelFunc
	done      sync.WaitGroup
	failed    chan error // what ended a listener before stop was called
}

// start opens every listener or none, and begins to serve.
func start(c *Config, baseDir, version string, local bool, load func() (*Config, error), logger hclog.Logger) (*running, error) {
	rules, err := c.policy(baseDir)
	if err != nil {
		return nil, err
	}
	st, err := openStore(c, baseDir, logger)
	if err != nil {
		return nil, err
	}
	main, errMain := bind("listen", c.Listen)
	probes, errProbes := bind("probe_listen", c.ProbeListen)
	if err := errors.Join(errMain, errProbes); err != nil {
		closeAll(main)
		closeAll(probes)
		_ = st.close() // nothing was changed
		return nil, err
	}
	r := &running{
		service:   newService(c, version, logger, st, time.Now),
		listeners: append(main, probes...),
		failed:    make(chan error, len(main)+len(probes)),
	}
	r.service.local, r.service.baseDir, r.service.load = local, baseDir, load
	r.service.policy.Store(rules)
	for _, route := range r.service.routes {
		logger.Debug("route", "method", route.method, "path", route.path)
	}
	for i, l := range r.listeners {
		if i < len(main) {
			r.serve(l, inside(r.service.dispatcher(false)), at(baseDir, c.WebConfigFile))
		} else {
			r.serve(l, r.service.dispatcher(true), "")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done.Go(func() { r.service.sweep(ctx, sweepEvery) })
	return r, nil
}

// serve answers on one listener until stop. TLS and logins are the toolkit's:
// it reads its file again for every request and handshake. When it has put its
// login before our handler, ours goes before its login.
func (r *running) serve(l net.Listener, handler http.Handler, webConfig string) {
	logger := r.service.logger
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	guarded := &doorkeeper{Listener: l, crowd: r.service.crowd, begin: func() {
		if webConfig == "" {
			server.Handler = r.service.logged(handler)
		} else {
			server.Handler = r.service.logged(r.service.login(server.Handler, handler))
		}
	}}
	r.servers = append(r.servers, server)
	r.done.Go(func() {
		flags := &web.FlagConfig{WebConfigFile: &webConfig}
		err := web.Serve(guarded, server, flags, slogTo(logger))
		if err != nil && !errors.Is(err, http.ErrServerClosed) {
			_ = l.Close() // web.Serve may fail before it takes the listener
			err = fmt.Errorf("serve on %s: %w", l.Addr(), err)
			logger.Error("listener ended", "error", err)
			r.failed <- err
		}
	})
}

// addresses are those really bound, ":0" resolved.
func (r *running) addresses() []string {
	var all []string
	for _, l := range r.listeners {
		all = append(all, l.Addr().String())
	}
	return all
}

// stop lets requests that are under way finish until ctx ends.
func (r *running) stop(ctx context.Context) error {
	if !r.service.draining.Swap(true) {
		close(r.service.ending)
	}
	r.cancel()
	errs := make([]error, len(r.servers))
	var all sync.WaitGroup
	for i, server := range r.servers {
		all.Go(func() {
			if errs[i] = server.Shutdown(ctx); errs[i] != nil {
				_ = server.Close() // the first error says more
			}
		})
	}
	all.Wait()
	closeAll(r.listeners) // a server that was told to shut down before it began does not
	r.done.Wait()
	return errors.Join(append(errs, r.service.store.close())...)
}
