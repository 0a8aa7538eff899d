package server

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// service is what a server does, whoever started it: it takes windows, from the
// sensor beside it or over HTTP, and shows what they add up to.
type service struct {
	config   *Config
	version  string
	logger   hclog.Logger
	store    store
	now      func() time.Time
	started  time.Time
	local    bool          // a plugin: has a sensor of its own
	decoding chan struct{} // a slot for each body that is decoded
	scraping chan struct{} // a slot for each scrape that is rendered
	routes   []route
	scrape   *scrape
	counts   ingestCounts

	heard    atomic.Bool // the sensor beside us has said something
	draining atomic.Bool
}

const (
	decoders = 4
	scrapers = 4
)

func newService(c *Config, version string, logger hclog.Logger, st store, now func() time.Time) *service {
	s := &service{
		config: c, version: version, logger: logger, store: st, now: now, started: now(),
		decoding: make(chan struct{}, decoders), scraping: make(chan struct{}, scrapers),
	}
	s.scrape = newScrape(s)
	s.routes = s.table()
	return s
}

// outcome is what became of a window or snapshot that came in.
type outcome int

const (
	applied outcome = iota
	duplicate
	outOfSequence
	unknownLog
	conflict
	invalid
	numOutcomes
)

func (o outcome) String() string {
	return [numOutcomes]string{"applied", "duplicate", "out_of_sequence", "unknown_log", "conflict", "invalid"}[o]
}

// ingestCounts is indexed by item (0 window, 1 snapshot) and outcome.
type ingestCounts [2][numOutcomes]atomic.Uint64

// take validates and applies one window or snapshot. Its errors are a *refusal,
// unless the store failed.
func (s *service) take(ctx context.Context, r *netmonpb.PushRequest) (ack, error) {
	var item int
	var err error
	var held ack
	switch {
	case r.GetWindow() != nil:
		if err = checkWindow(r.GetWindow()); err == nil {
			held, err = s.store.apply(ctx, r.GetWindow())
		} else {
			err = refuse(codeInvalid, "window: %v", err)
		}
	case r.GetSnapshot() != nil:
		item = 1
		if err = checkSnapshot(r.GetSnapshot()); err == nil {
			held, err = s.store.install(ctx, r.GetSnapshot())
		} else {
			err = refuse(codeInvalid, "snapshot: %v", err)
		}
	default:
		return ack{}, refuse(codeInvalid, "the request has neither a window nor a snapshot")
	}
	o, known := outcomeOf(held, err)
	if !known {
		return held, fmt.Errorf("store: %w", err)
	}
	s.counts[item][o].Add(1)
	var refused *refusal
	if errors.As(err, &refused) && refused.code == codeConflict && !refused.again {
		s.logger.Error("conflict: two sensors under one identity, or a disk that was set back", "sensor", sensorID(r), "cause", refused.message)
	}
	return held, err
}

func outcomeOf(held ack, err error) (o outcome, known bool) {
	if err == nil {
		if held.applied {
			return applied, true
		}
		return duplicate, true
	}
	var r *refusal
	if !errors.As(err, &r) {
		return 0, false
	}
	switch r.code {
	case codeOutOfSequence:
		return outOfSequence, true
	case codeUnknownLog:
		return unknownLog, true
	case codeConflict:
		return conflict, true
	}
	return invalid, true
}

func sensorID(r *netmonpb.PushRequest) string {
	if snapshot := r.GetSnapshot(); snapshot != nil {
		return snapshot.SensorId
	}
	return r.GetWindow().GetSensorId()
}

// notReady lists why the server should not be relied on yet, or any more.
func (s *service) notReady() []string {
	var why []string
	if s.draining.Load() {
		why = append(why, "shutting down")
	}
	if err := s.store.ready(); err != nil {
		why = append(why, err.Error())
	}
	if s.local && !s.heard.Load() {
		why = append(why, "nothing has come from the sensor yet")
	}
	return why
}

// sweep forgets silent sensors until ctx ends.
func (s *service) sweep(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			forgotten, err := s.store.sweep(ctx)
			for _, id := range forgotten {
				s.logger.Info("sensor is forgotten", "sensor", id, "silent_for", s.config.ForgetAfter)
			}
			if err != nil && ctx.Err() == nil {
				s.logger.Debug("cannot look for silent sensors", "error", err) // readiness says why
			}
		}
	}
}
