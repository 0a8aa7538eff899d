package plugins

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// service is the ExporterService over an Exporter. Whoever holds the turn owns
// running and may call a method of its exporter; nobody else may.
type service struct {
	netmonpb.UnimplementedExporterServiceServer

	plugin  Plugin
	logger  hclog.Logger
	abort   func(reason string)
	calling time.Duration // how long one Export or Install may take

	turn    chan struct{} // a token: capacity 1
	stream  chan struct{} // likewise, held by the open Export stream
	stopped context.Context
	stop    context.CancelFunc

	running *instance // nil before Configure and after Stop

	failures failures

	mu     sync.Mutex // guards idling
	idling time.Time  // since when a configured exporter has no stream; zero: it has, or needs none
}

// instance is an exporter that was started.
type instance struct {
	exporter Exporter
	config   *netmonpb.ConfigureRequest
	bound    []string
	warnings []*netmonpb.Diagnostic
}

func newService(p Plugin, logger hclog.Logger, abort func(reason string)) *service {
	s := &service{
		plugin:  p,
		logger:  logger,
		abort:   abort,
		calling: time.Minute,
		turn:    make(chan struct{}, 1),
		stream:  make(chan struct{}, 1),
	}
	s.stopped, s.stop = context.WithCancel(context.Background())
	return s
}

// take waits for a token; give returns it.
func take(ctx context.Context, token chan struct{}) error {
	select {
	case token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func give(token chan struct{}) { <-token }

func (s *service) Describe(context.Context, *netmonpb.DescribeRequest) (*netmonpb.DescribeResponse, error) {
	e := s.plugin.New()
	schema, err := Schema(e.Config())
	if err != nil {
		return nil, status.Errorf(codes.Internal, "schema of exporter %s: %v", s.plugin.Type, err)
	}
	_, wantsSnapshot := e.(SnapshotExporter)
	return &netmonpb.DescribeResponse{
		Type:          s.plugin.Type,
		Version:       s.plugin.Version,
		Summary:       s.plugin.Summary,
		Schema:        schema,
		WantsSnapshot: wantsSnapshot,
	}, nil
}

func (s *service) Validate(_ context.Context, r *netmonpb.ValidateRequest) (*netmonpb.ValidateResponse, error) {
	_, ds := s.prepare(r.GetConfig())
	return &netmonpb.ValidateResponse{Diagnostics: ds}, nil
}

// prepare makes an exporter with its configuration decoded and checked. It is
// not in use by anybody yet, so no turn is needed.
func (s *service) prepare(c *netmonpb.Config) (Exporter, []*netmonpb.Diagnostic) {
	e := s.plugin.New()
	if err := Decode(c.GetJson(), e.Config()); err != nil {
		return nil, diagnosticsOf(err)
	}
	if checker, ok := e.(Checker); ok {
		return e, diagnosticsOf(checker.Check(c.GetBaseDir()))
	}
	return e, nil
}

func (s *service) Configure(ctx context.Context, r *netmonpb.ConfigureRequest) (*netmonpb.ConfigureResponse, error) {
	if err := take(ctx, s.turn); err != nil {
		return nil, err
	}
	defer give(s.turn)
	if s.stopped.Err() != nil {
		return nil, status.Error(codes.FailedPrecondition, "the exporter was stopped")
	}

	next, ds := s.launch(ctx, r)
	if next != nil {
		s.replace(ctx, next)
		s.configured()
	}
	answer := &netmonpb.ConfigureResponse{Diagnostics: ds}
	if s.running != nil {
		answer.ListenAddresses = s.running.bound
		if k, ok := s.running.exporter.(Keeper); ok {
			answer.Held = k.Held(ctx, s.running.config.LogId)
		}
	}
	return answer, nil
}

// launch starts an exporter by r beside the one that runs or, where that stands
// in the way, after it. It returns nil where the new one will not do; then the
// old one runs.
func (s *service) launch(ctx context.Context, r *netmonpb.ConfigureRequest) (*instance, []*netmonpb.Diagnostic) {
	next, err := s.start(ctx, r)
	if s.running == nil || !inTheWay(err) {
		return next, s.verdict(next, err)
	}
	old := s.running
	s.retire(ctx, old)
	next, err = s.start(ctx, r)
	if next != nil {
		return next, s.verdict(next, err)
	}
	again, errAgain := s.start(ctx, old.config)
	s.running = again
	if errAgain != nil {
		s.logger.Error("the exporter that ran could not be started again", "error", errAgain)
		err = errors.Join(err, fmt.Errorf("start the exporter again as it was: %w", errAgain))
	}
	return nil, s.verdict(nil, err)
}

// inTheWay says whether err came of what the running exporter holds.
func inTheWay(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, ErrBusy)
}

// verdict is what the host is told of an attempt to start.
func (s *service) verdict(next *instance, err error) []*netmonpb.Diagnostic {
	if next != nil {
		return next.warnings
	}
	return diagnosticsOf(err)
}

// start makes and starts an exporter. Warnings are no error.
func (s *service) start(ctx context.Context, r *netmonpb.ConfigureRequest) (*instance, error) {
	e := s.plugin.New()
	if err := Decode(r.GetConfig().GetJson(), e.Config()); err != nil {
		return nil, err
	}
	i := &instance{exporter: e, config: r}
	if checker, ok := e.(Checker); ok {
		if err := i.warn(checker.Check(r.GetConfig().GetBaseDir())); err != nil {
			return nil, err
		}
	}
	if err := i.warn(e.Start(ctx, s.hostFor(i, r))); err != nil {
		return nil, err
	}
	return i, nil
}

// warn keeps the warnings of err and returns it if it is more than that.
func (i *instance) warn(err error) error {
	ds := diagnosticsOf(err)
	if refused(ds) {
		return err
	}
	i.warnings = append(i.warnings, ds...)
	return nil
}

func (s *service) hostFor(i *instance, r *netmonpb.ConfigureRequest) Host {
	return Host{
		SensorID: r.SensorId,
		LogID:    slices.Clone(r.LogId),
		Interval: r.GetInterval().AsDuration(),
		Name:     r.GetConfig().GetName(),
		BaseDir:  r.GetConfig().GetBaseDir(),
		Logger:   s.logger,
		Bound:    func(addresses ...string) { i.bound = append(i.bound, addresses...) },
		Failed:   s.failures.note,
	}
}

// replace makes next the running exporter and stops the one before it.
func (s *service) replace(ctx context.Context, next *instance) {
	if s.running != nil {
		s.retire(ctx, s.running)
	}
	s.running = next
}

// retire stops an exporter that gives way to another.
func (s *service) retire(ctx context.Context, old *instance) {
	s.running = nil
	if err := old.exporter.Stop(ctx); err != nil {
		s.logger.Warn("the exporter that was replaced did not stop well", "error", err)
	}
}

func (s *service) Flush(ctx context.Context, _ *netmonpb.FlushRequest) (*netmonpb.FlushResponse, error) {
	if err := take(ctx, s.turn); err != nil {
		return nil, err
	}
	defer give(s.turn)
	if s.running != nil {
		if f, ok := s.running.exporter.(Flusher); ok {
			if err := f.Flush(ctx); err != nil {
				return nil, err
			}
		}
	}
	return &netmonpb.FlushResponse{}, nil
}

func (s *service) Stop(ctx context.Context, _ *netmonpb.StopRequest) (*netmonpb.StopResponse, error) {
	return &netmonpb.StopResponse{}, s.shutdown(ctx)
}

// shutdown cancels what is being exported, then stops the exporter. Further
// calls change nothing.
func (s *service) shutdown(ctx context.Context) error {
	s.stop()
	if err := take(ctx, s.turn); err != nil {
		return fmt.Errorf("wait for the exporter: %w", err)
	}
	defer give(s.turn)
	if s.running == nil {
		return nil
	}
	e := s.running.exporter
	s.running = nil
	return e.Stop(ctx)
}

// configured, streaming and idle keep the time without a stream.
func (s *service) configured() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stream) == 0 && s.idling.IsZero() {
		s.idling = time.Now()
	}
}

func (s *service) streaming(open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idling = time.Time{}
	if !open {
		s.idling = time.Now()
	}
}

func (s *service) idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idling.IsZero() {
		return 0
	}
	return time.Since(s.idling)
}
