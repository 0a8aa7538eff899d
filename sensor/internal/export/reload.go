package export

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// reload asks the goroutine of Run to take other settings into use.
type reload struct {
	settings Settings
	done     chan<- error // with room for one
}

func (reload) Error() string { return "settings have changed" }

// Reload takes other settings into use while Run goes on. After an error the
// exporter runs as it did. For other Options make another Sink.
func (s *Sink) Reload(ctx context.Context, settings Settings) error {
	done := make(chan error, 1)
	select {
	case s.reloads <- reload{settings, done}:
	case <-ctx.Done():
		return s.named(context.Cause(ctx))
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return s.named(context.Cause(ctx))
	}
}

// Differs says whether settings are others than those that the exporter runs with:
// by their values, so that a file that an option reads counts, and comments do not.
// An exporter that has not run yet differs from everything.
func (s *Sink) Differs(settings Settings) (bool, error) {
	s.mu.Lock()
	schema, applied := s.schema, s.applied
	s.mu.Unlock()
	if schema == nil {
		return true, nil
	}
	body, err := settings.Evaluate(schema)
	return err == nil && !bytes.Equal(body, applied), err
}

// Settings are those that the exporter was last configured with, or that Check
// found fine, as JSON by its schema; nil before.
func (s *Sink) Settings() (schema *netmonpb.Block, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.schema, s.applied
}

// remember keeps what Differs compares with.
func (s *Sink) remember(schema *netmonpb.Block, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schema, s.applied = schema, body
}

// deliverOrReload delivers, but a reload ends the stream and is returned.
func (s *Sink) deliverOrReload(ctx context.Context, p *process, n uint64, snapshot bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case r := <-s.reloads:
			cancel(r)
		case <-ctx.Done():
		}
	}()
	err := s.deliver(ctx, p, n, snapshot)
	cancel(err)
	<-watched
	var r reload
	if errors.As(context.Cause(ctx), &r) && !errors.As(err, &r) {
		// The stream failed by itself just then.
		r.done <- s.named(errors.Join(errors.New("the exporter failed during the reload"), err))
	}
	return err
}

// apply hands settings to a process whose stream is closed.
func (s *Sink) apply(ctx context.Context, p *process, settings Settings) error {
	if err := s.configure(ctx, p, settings); err != nil {
		return err
	}
	s.settings = settings
	s.running(p)
	return nil
}

// wait waits to start the plugin again. Settings that come meanwhile are tried at
// once; they stay only if the exporter starts with them.
func (s *Sink) wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case r := <-s.reloads:
			old := s.settings
			s.settings = r.settings
			p, err := s.bringUp(ctx)
			r.done <- err
			if err == nil {
				s.live = p
				return
			}
			s.settings = old
			s.enter(Waiting)
		}
	}
}
