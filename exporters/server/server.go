// Package server is the exporter `server`: it keeps what sensors count, and
// shows it to Prometheus. It runs as the plugin of one sensor, and then counts
// for that sensor, or on its own; in both cases other sensors may push to it.
//
// For every sensor and each of its logs it holds the effect of windows 1..w, and
// nothing else: window w+1 is applied in one step, what is older is held
// already, what is newer has to wait. So a repeat, a gap or a restart on either
// side changes no total.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Exporter is the server as a plugin of a sensor.
type Exporter struct {
	config  *Config
	version string
	running *running
}

// New returns an exporter that has not started.
func New(version string) *Exporter {
	return &Exporter{config: DefaultConfig(), version: version}
}

// Plugin describes the program netmon-exporter-server.
func Plugin(version string) plugins.Plugin {
	return plugins.Plugin{
		Type:       "server",
		Version:    version,
		Summary:    "shows what sensors count to Prometheus, and takes the windows of remote sensors",
		New:        func() plugins.Exporter { return New(version) },
		Standalone: func(args []string) int { return Main(args, version) },
		Flags:      new(options).define,
		About: `On its own, with -config FILE, it is the server that sensors elsewhere push to.
The file has a block server { ... } with the options below, and may have a block log { ... }
as netmon.hcl(5) tells of it. Without a word of storage it keeps its totals on disk then,
in /var/lib/netmon-server.

It answers Prometheus at /metrics, people at /, and programs at /api/v1. SIGHUP reads the
configuration again; SIGTERM ends it when requests that are under way are done.`,
	}
}

// Config returns a *Config with the defaults.
func (e *Exporter) Config() any { return e.config }

// Check implements plugins.Checker.
func (e *Exporter) Check(baseDir string) error { return e.config.check(baseDir) }

// Start binds every address and begins to answer.
func (e *Exporter) Start(_ context.Context, host plugins.Host) error {
	if err := e.config.check(host.BaseDir); err != nil {
		return err
	}
	r, err := start(e.config, host.BaseDir, e.version, true, nil, host.Logger)
	if err != nil {
		return err
	}
	e.running = r
	if host.Bound != nil {
		host.Bound(r.addresses()...)
	}
	return nil
}

// Export applies a window of the sensor beside us.
func (e *Exporter) Export(ctx context.Context, w *netmonpb.Window) error {
	return e.take(ctx, &netmonpb.PushRequest{Item: &netmonpb.PushRequest_Window{Window: w}})
}

// Install takes over its snapshot.
func (e *Exporter) Install(ctx context.Context, s *netmonpb.Snapshot) error {
	return e.take(ctx, &netmonpb.PushRequest{Item: &netmonpb.PushRequest_Snapshot{Snapshot: s}})
}

func (e *Exporter) take(ctx context.Context, r *netmonpb.PushRequest) error {
	_, err := e.running.service.take(ctx, r)
	var refused *refusal
	if errors.As(err, &refused) {
		switch refused.code {
		case codeUnknownLog:
			return &plugins.Rewind{After: 0, Cause: refused.message}
		case codeOutOfSequence:
			return &plugins.Rewind{After: refused.expected - 1, Cause: refused.message}
		}
	}
	if err == nil {
		e.running.service.heard.Store(true)
	}
	return err
}

// Stop answers what is under way, then closes the listeners.
func (e *Exporter) Stop(ctx context.Context) error { return e.running.stop(ctx) }

// bind opens the listeners of one option. A mistake names the address and says
// where it stands.
func bind(option string, addresses []string) ([]net.Listener, error) {
	var all []net.Listener
	var errs []error
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			errs = append(errs, &plugins.Problem{
				Path:    []string{option},
				Summary: fmt.Sprintf("Cannot listen on %s", address),
				Detail:  reason(err),
				Cause:   err,
			})
			continue
		}
		all = append(all, l)
	}
	if len(errs) > 0 {
		closeAll(all)
		return nil, errors.Join(errs...)
	}
	return all, nil
}

// reason is the innermost text of an error of net: the address was said already.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return err.Error()
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // nothing was served on it
	}
}

// sweepEvery is how often silent sensors are looked for.
const sweepEvery = time.Minute
