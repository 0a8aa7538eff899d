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
func start(c *Config, baseDir, version string, local bool, logger hclog.Logger) (*running, error) {
	main, errMain := bind("listen", c.Listen)
	probes, errProbes := bind("probe_listen", c.ProbeListen)
	if err := errors.Join(errMain, errProbes); err != nil {
		closeAll(main)
		closeAll(probes)
		return nil, err
	}
	st := newMemory(limits{c.MaxSensors, c.MaxRowsPerSensor, c.MaxRows, c.ForgetAfter}, time.Now)
	r := &running{
		service:   newService(c, version, logger, st, time.Now),
		listeners: append(main, probes...),
		failed:    make(chan error, len(main)+len(probes)),
	}
	r.service.local = local
	for _, route := range r.service.routes {
		logger.Debug("route", "method", route.method, "path", route.path)
	}
	for i, l := range r.listeners {
		probesOnly := i >= len(main)
		webConfig := c.webConfig(baseDir)
		if probesOnly {
			webConfig = ""
		}
		r.serve(l, r.service.handler(probesOnly), webConfig)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done.Go(func() { r.service.sweep(ctx, sweepEvery) })
	return r, nil
}

// serve answers on one listener until stop. TLS and logins are the toolkit's:
// it reads its file again for every request and handshake.
func (r *running) serve(l net.Listener, handler http.Handler, webConfig string) {
	logger := r.service.logger
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	r.servers = append(r.servers, server)
	r.done.Go(func() {
		flags := &web.FlagConfig{WebConfigFile: &webConfig}
		err := web.Serve(l, server, flags, slogTo(logger))
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
	r.service.draining.Store(true)
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
