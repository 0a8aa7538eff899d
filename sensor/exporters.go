package sensor

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// exporters are the sinks that run now. Only a reload changes the list.
type exporters struct {
	ctx   context.Context // of the sinks
	group *errgroup.Group

	mu   sync.Mutex // guards list, whose contents never change
	list []sink
}

func (e *exporters) begin(ctx context.Context, group *errgroup.Group) { e.ctx, e.group = ctx, group }

func (e *exporters) set(list []sink) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = slices.Clone(list)
}

// all are the sinks at this moment.
func (e *exporters) all() []sink {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.list
}

func (e *exporters) find(label string) (sink, bool) {
	for _, k := range e.all() {
		if k.label == label {
			return k, true
		}
	}
	return sink{}, false
}

// start starts a sink and lets it run.
func (e *exporters) start(k sink) error {
	if err := k.refused(k.Start(e.ctx)); err != nil {
		return err
	}
	e.group.Go(func() error { return k.Run(e.ctx) })
	return nil
}

// life is how a sink is ended while the others go on.
type life struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed once Run has returned
}

var errRemoved = errors.New("the exporter is not in the configuration any more")

func newLife() *life {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &life{ctx, cancel, make(chan struct{})}
}

// Run is export.Sink.Run, until remove.
func (k sink) Run(ctx context.Context) error {
	defer close(k.life.done)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(k.life.ctx, func() { cancel(errRemoved) })()
	err := k.Sink.Run(ctx)
	if errors.Is(err, errRemoved) {
		return nil
	}
	return err
}

// remove ends a sink that runs. Its cursor stays, for its return.
func (k sink) remove() {
	k.life.cancel(errRemoved)
	<-k.life.done
}
