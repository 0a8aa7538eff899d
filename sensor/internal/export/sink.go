package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Check starts the plugin to have the settings looked at, and stops it. Nothing
// is bound or written.
func (s *Sink) Check(ctx context.Context) error {
	p, err := launch(ctx, s.options, s.limits, s.logger)
	if err != nil {
		return s.named(err)
	}
	defer func() { _ = p.stop(ctx) }()
	body, err := s.settings.Evaluate(p.described.Schema)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.limits.validate, fmt.Errorf("%w to Validate within %v", ErrNoAnswer, s.limits.validate))
	defer cancel()
	answer, err := p.rpc.Validate(ctx, &netmonpb.ValidateRequest{
		Config: &netmonpb.Config{Name: s.options.Name, Json: body, BaseDir: s.options.BaseDir},
	})
	if err != nil {
		return s.named(fmt.Errorf("validate: %w", p.explain(ctx, err)))
	}
	if err := s.judge(s.settings, answer.Diagnostics); err != nil {
		return err
	}
	s.remember(p.described.Schema, body)
	return nil
}

func (s *Sink) named(err error) error {
	return fmt.Errorf("exporter %s: %w", s.options.Label, err)
}

// judge returns the errors among ds and logs mere warnings.
func (s *Sink) judge(settings Settings, ds []*netmonpb.Diagnostic) error {
	if len(ds) == 0 {
		return nil
	}
	err := settings.Explain(ds)
	for _, d := range ds {
		if d.Severity != netmonpb.Severity_SEVERITY_WARNING {
			if err == nil {
				err = s.named(errors.New(clean(d.Summary)))
			}
			return err
		}
	}
	if err != nil {
		s.logger.Warn("exporter has warnings for its settings", "warnings", err)
	}
	return nil
}

// Start starts the exporter, so that a mistake only it can find is known before
// anything else begins. Run then goes on with it.
func (s *Sink) Start(ctx context.Context) error {
	p, err := s.bringUp(ctx)
	s.live = p
	return err
}

// Close kills an exporter that was started and will not be run.
func (s *Sink) Close() {
	if s.live != nil {
		s.live.kill(errStopped)
		s.live = nil
	}
	s.enter(Stopped)
}

// bringUp starts the plugin and configures it.
func (s *Sink) bringUp(ctx context.Context) (*process, error) {
	s.enter(Starting)
	restarts := s.starts
	s.starts++
	s.update(func(st *Status) { st.Restarts = restarts })
	p, err := launch(ctx, s.options, s.limits, s.logger)
	if err != nil {
		return nil, s.named(err)
	}
	if err := s.configure(ctx, p, s.settings); err != nil {
		p.kill(err)
		return nil, err
	}
	if err := p.open(); err != nil {
		p.kill(err)
		return nil, s.named(err)
	}
	s.running(p)
	return p, nil
}

// running shows that p is up and configured.
func (s *Sink) running(p *process) {
	version := clean(p.described.Version)
	s.enter(Running)
	s.update(func(st *Status) {
		st.PID, st.Version, st.Listen = p.runner.processID(), version, p.listen
	})
	s.logger.Info("exporter is running", "pid", p.runner.ID(), "version", version, "listen", p.listen)
}

// configure hands settings to a running plugin.
func (s *Sink) configure(ctx context.Context, p *process, settings Settings) error {
	body, err := settings.Evaluate(p.described.Schema)
	if err != nil {
		return err
	}
	ds, err := p.configure(ctx, s.options, s.log.ID(), body)
	if err != nil {
		return s.named(fmt.Errorf("configure: %w", err))
	}
	if err := s.judge(settings, ds); err != nil {
		return err
	}
	s.remember(p.described.Schema, body)
	return nil
}

// Run delivers windows, and restarts the plugin whenever it fails, until the log
// is closed and everything in it acknowledged: then it returns nil. When ctx ends
// before, what is left waits for the next start of the sensor, and Run returns why.
func (s *Sink) Run(ctx context.Context) error {
	defer s.enter(Stopped)
	var pauses backoff
	for {
		began := time.Now()
		p, err := s.live, error(nil)
		s.live = nil
		if p == nil {
			p, err = s.bringUp(ctx)
		}
		if err == nil {
			if err = s.serve(ctx, p); err == nil {
				return s.finish(ctx, p)
			}
			if ctx.Err() != nil {
				s.abandon(p)
			} else {
				p.kill(err)
			}
		}
		if ctx.Err() != nil {
			return s.named(context.Cause(ctx))
		}
		pause := pauses.next(time.Since(began))
		s.enter(Waiting)
		s.update(func(st *Status) { st.LastError = err.Error() })
		s.logger.Error("exporter failed, it is started again", "in", pause.Round(time.Millisecond), "error", err)
		if s.wait(ctx, pause); ctx.Err() != nil {
			return s.named(context.Cause(ctx))
		}
	}
}

// serve delivers on one stream after another of a process: a new one after each
// rewind and reload.
func (s *Sink) serve(ctx context.Context, p *process) error {
	n, snapshot := s.position(p)
	var pauses backoff
	for {
		before := s.Status().Acknowledged
		err := s.deliverOrReload(ctx, p, n, snapshot)
		var r *rewound
		var change reload
		switch {
		case errors.As(err, &r):
			n, snapshot = s.goOn(p, r.after)
			if s.Status().Acknowledged != before {
				pauses.reset()
			} else if pauses.failures++; pauses.failures > 1 {
				// It asks again without having got further.
				if err := sleep(ctx, pauses.next(0)); err != nil {
					return err
				}
			}
		case errors.As(err, &change):
			if p.held > 0 {
				p.held = s.Status().Acknowledged
			}
			change.done <- s.apply(ctx, p, change.settings)
			n, snapshot = s.position(p)
		default:
			return err
		}
		if err := p.open(); err != nil {
			return err
		}
	}
}

// position is where a process that was just configured goes on: where it stands
// itself, if it keeps state; else with a snapshot, if it wants one; else at the
// cursor.
func (s *Sink) position(p *process) (n uint64, snapshot bool) {
	if p.held == 0 && !p.described.WantsSnapshot {
		return s.goOn(p, s.log.Cursor(s.options.Label))
	}
	return s.goOn(p, p.held)
}

// goOn is how to go on with an exporter that holds windows 1..n. One that holds
// more than the log has was sent windows that a crash then took from the log.
func (s *Sink) goOn(p *process, n uint64) (from uint64, snapshot bool) {
	last := s.log.Last()
	if p.described.WantsSnapshot && last > 0 && (n == 0 || n > last) {
		return 0, true
	}
	return min(n, last), false
}

// finish ends an exporter that has everything.
func (s *Sink) finish(ctx context.Context, p *process) error {
	flushing, cancel := context.WithTimeout(ctx, s.limits.flush)
	defer cancel()
	if _, err := p.rpc.Flush(flushing, &netmonpb.FlushRequest{}); err != nil {
		s.failed(failedFlush, 1)
		s.logger.Warn("exporter did not flush", "error", p.explain(flushing, err))
	}
	if err := p.stop(ctx); err != nil {
		s.failed(failedStop, 1)
		s.logger.Warn("exporter did not stop and was killed", "error", err)
		return nil
	}
	s.logger.Info("exporter stopped")
	return nil
}

// abandon ends an exporter that did not get everything before the deadline. It may
// still close its files and listeners, but the sensor is about to end.
func (s *Sink) abandon(p *process) {
	p.limits.exit = s.limits.abandon / 2
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.abandon)
	defer cancel()
	if err := p.stop(ctx); err != nil {
		s.failed(failedStop, 1)
		s.logger.Warn("exporter did not stop and was killed", "error", err)
	}
}
