package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// service is what a server does, whoever started it: it takes windows, from the
// sensor beside it or over HTTP, and shows what they add up to.
type service struct {
	config    *Config // as the server was started; what can change is in policy
	baseDir   string
	version   string
	logger    hclog.Logger
	store     store
	now       func() time.Time
	started   time.Time
	local     bool // a plugin: has a sensor of its own
	policy    atomic.Pointer[policy]
	loaded    reloads
	load      func() (*Config, error) // reads the configuration again; nil: only its files
	decoding  *gate                   // bodies that are decoded and applied
	scraping  *gate                   // scrapes that are rendered
	sending   *gate                   // scrapes that are rendered or sent
	viewing   *gate                   // answers of the API that are made
	listening chan struct{}
	bodies    ration
	quotas    quotas
	crowd     *crowd
	reporting sync.Mutex // one report at a time is compared with what is held
	recent    recent
	routes    []route
	scrape    *scrape

	counts    ingestCounts
	pushed    pushes
	requests  tally // by route and status
	refusals  tally // by code
	unmapped  fieldCounts
	impostors seldom

	heard    atomic.Bool // the sensor beside us has said something
	draining atomic.Bool
	ending   chan struct{} // closed when draining begins
}

// Requests of a kind at a time, and how many more may wait.
const (
	decoders, decodersQueue = 8, 512
	scrapers, scrapersQueue = 4, 16
	senders                 = 16
	viewers, viewersQueue   = 2, 64
)

func newService(c *Config, version string, logger hclog.Logger, st store, now func() time.Time) *service {
	s := &service{
		config: c, version: version, logger: logger, store: st, now: now, started: now(),
		decoding: newGate(decoders, decodersQueue), scraping: newGate(scrapers, scrapersQueue),
		sending: newGate(senders, 0), viewing: newGate(viewers, viewersQueue),
		listening: make(chan struct{}, maxListeners), ending: make(chan struct{}),
		bodies: ration{limit: maxBodies, peers: map[string]int64{}},
		quotas: quotas{sensors: map[string]*spent{}},
		crowd:  newCrowd(c.MaxConnections),
		recent: recent{sensors: map[string]*hour{}},
	}
	s.policy.Store(&policy{config: c, guard: &guard{}})
	s.loaded.at = s.started
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
	unavailable
	numOutcomes
)

func (o outcome) String() string {
	return [numOutcomes]string{"applied", "duplicate", "out_of_sequence", "unknown_log", "conflict", "invalid", "unavailable"}[o]
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
	s.pushed.note(sensorID(r), o)
	if o == applied && item == 0 {
		s.recent.add(r.GetWindow(), s.now())
	}
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
	case codeUnavailable:
		return unavailable, true
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
				s.forget(id)
				s.logger.Info("sensor is forgotten", "sensor", id, "silent_for", s.config.ForgetAfter)
			}
			if err != nil && ctx.Err() == nil {
				s.logger.Debug("cannot look for silent sensors", "error", err) // readiness says why
			}
		}
	}
}

// known tells whether the store holds a sensor. The store is asked only about those
// that nothing was taken of yet: Redis asks its server for every read.
func (s *service) known(id string) (known bool) {
	if _, known = s.pushed.of(id); known {
		return true
	}
	s.store.read(func(st *state) {
		_, known = slices.BinarySearchFunc(st.sensors, id, (*sensor).compare)
	})
	return known
}

// forget drops what is kept of a sensor beside the store.
func (s *service) forget(id string) {
	s.quotas.forget(id)
	s.recent.forget(id)
	s.pushed.forget(id)
}
