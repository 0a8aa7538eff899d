package sensor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
)

// reloads is what a sensor needs to change its configuration while it runs, and how
// often it did.
type reloads struct {
	load  func() (*config.Config, error) // nil: it was not read from a file
	asked <-chan os.Signal               // each asks for one
	level func(*config.Config) hclog.Level
	host  pluginHost

	ctx context.Context // of the capture; set by begin

	mu    sync.Mutex // one reload at a time; guards ready and ended
	ready bool
	ended bool

	count reloadCount
}

// reloadCount is how reloads went.
type reloadCount struct {
	mu        sync.Mutex // guards what follows
	refused   bool       // the last one
	last      time.Time  // of success, the start among them
	good, bad uint64
}

func (c *reloadCount) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
}

func (c *reloadCount) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused = err != nil; c.refused {
		c.bad++
		return
	}
	c.good++
	c.last = time.Now()
}

// beginReloads lets reloads happen until ctx is done.
func (s *Sensor) beginReloads(ctx context.Context) {
	r := &s.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.ready = ctx, true
	r.count.start()
	go func() {
		for {
			select {
			case <-r.asked:
				_ = s.Reload() // which says how it went
			case <-ctx.Done():
				return
			}
		}
	}()
}

// end waits for a reload, which ctx ends, and lets no other begin.
func (r *reloads) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

var errNoReload = errors.New("the sensor cannot reload now: it is starting or stopping")

// Reload reads the configuration again and takes the difference into use, all of it
// or, after an error, none. What did not change goes on undisturbed.
func (s *Sensor) Reload() error {
	r := &s.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.load == nil || !r.ready || r.ended {
		return errNoReload
	}
	changed, err := s.reload()
	r.count.add(err)
	if err != nil {
		s.logger.Error("the configuration was not taken into use, everything goes on as it was", "error", "\n"+err.Error())
		return err
	}
	s.logger.Info("the configuration was read again", "changed", changed)
	return nil
}

// reload works in two steps: all that can be wrong is found before anything is
// changed; then what may still fail comes first, and is undone where it does.
func (s *Sensor) reload() (changed []string, err error) {
	next, err := s.reloads.load()
	if err != nil {
		return nil, err
	}
	if changed, err = s.cfg.Changed(next); err != nil {
		return nil, configError{err}
	}
	filter, err := newNameFilter(next.Filter.OnlyDomains, next.Filter.IgnoreDomains)
	if err != nil {
		return nil, err
	}
	e, err := s.planExporters(next)
	if err != nil {
		return nil, err
	}
	if err := e.carryOut(); err != nil {
		return nil, errors.Join(err, e.undo())
	}
	packets := captureFilter(next)
	if err := s.rings.Change(capture.Change{Interfaces: next.Capture.Interfaces, Filter: packets, FullPackets: next.Capture.Snap == "full"}); err != nil {
		return nil, errors.Join(err, e.undo())
	}
	// From here on nothing fails.
	for _, sh := range s.shards {
		sh.next.Store(s.rules(next, packets))
	}
	select {
	case s.join.changes <- func() { s.join.filter = filter }:
	case <-s.reloads.ctx.Done():
	}
	s.logger.SetLevel(s.reloads.level(next))
	s.exporters.set(e.after)
	for _, k := range e.removed {
		k.remove()
	}
	s.cfg = next
	return append(changed, e.changes...), nil
}

// rules are what a configuration says to a shard.
func (s *Sensor) rules(cfg *config.Config, filter *capture.Filter) *shardRules {
	r := &shardRules{home: cfg.Capture.HomeNetworks}
	if filter.NeedsUserCheck() {
		r.check = filter
	}
	if filter.Count && filter.IgnoreLocalhost {
		r.loopback = s.rings.Loopback
	}
	return r
}

// exporterPlan is how to come from the exporters that run to those that should.
type exporterPlan struct {
	s        *Sensor
	added    []sink
	removed  []sink            // once all else is done
	replaced []pair            // another program, or environment, of the same exporter
	settings []changedSettings // of exporters that go on
	after    []sink            // all, in the order of the configuration
	changes  []string          // in words
	undoing  []func() error    // newest last
}

type pair struct{ old, new sink }

type changedSettings struct {
	sink     sink
	was, are *config.Exporter
}

// planExporters compares, and has each exporter that is new or has other settings
// check them in a process of its own.
func (s *Sensor) planExporters(next *config.Config) (*exporterPlan, error) {
	fresh, err := openSinks(next, s.status.version, s.logger, s.log, s.reloads.host)
	if err != nil {
		return nil, err
	}
	plan := &exporterPlan{s: s}
	var errs []error
	kept := map[string]bool{}
	for _, k := range fresh {
		kept[k.label] = true
		old, runs := s.exporters.find(k.label)
		differs := true
		if runs && sameProgram(old.block, k.block) {
			var err error
			if differs, err = old.Differs(k.block); err != nil {
				errs = append(errs, k.refused(err))
				continue
			}
		}
		if differs {
			errs = append(errs, k.refused(k.Check(s.reloads.ctx)))
		}
		switch {
		case !runs:
			plan.added = append(plan.added, k)
		case !sameProgram(old.block, k.block):
			plan.replaced = append(plan.replaced, pair{old, k})
		case differs:
			plan.settings = append(plan.settings, changedSettings{old, old.block, k.block})
			k.Sink, k.life = old.Sink, old.life
		default:
			k = old
		}
		plan.after = append(plan.after, k)
	}
	for _, old := range s.exporters.all() {
		if !kept[old.label] {
			plan.removed = append(plan.removed, old)
		}
	}
	return plan, errors.Join(errs...)
}

func sameProgram(a, b *config.Exporter) bool {
	return a.Command == b.Command && a.Checksum == b.Checksum && maps.Equal(a.Env, b.Env)
}

// carryOut does what may fail. What it did can be undone.
func (p *exporterPlan) carryOut() error {
	for _, c := range p.settings {
		if err := c.sink.refused(c.sink.Reload(p.s.reloads.ctx, c.are)); err != nil {
			return err
		}
		p.undoing = append(p.undoing, func() error { return c.sink.Reload(p.s.reloads.ctx, c.was) })
		p.changes = append(p.changes, "exporter "+c.sink.label)
	}
	for _, k := range p.added {
		if err := p.s.exporters.start(k); err != nil {
			return err
		}
		p.undoing = append(p.undoing, func() error { k.remove(); return nil })
		p.changes = append(p.changes, "exporter "+k.label+" added")
	}
	for i := range p.replaced {
		r := p.replaced[i]
		r.old.remove() // it may hold what the new one needs
		p.undoing = append(p.undoing, func() error { return p.bringBack(r.old) })
		if err := p.s.exporters.start(r.new); err != nil {
			return err
		}
		p.undoing = append(p.undoing, func() error { r.new.remove(); return nil })
		p.changes = append(p.changes, "exporter "+r.old.label+" replaced")
	}
	for _, k := range p.removed {
		p.changes = append(p.changes, "exporter "+k.label+" removed")
	}
	return nil
}

// bringBack runs an exporter again that was ended.
func (p *exporterPlan) bringBack(old sink) error {
	old.life = newLife()
	list := slices.Clone(p.s.exporters.all())
	for i := range list {
		if list[i].label == old.label {
			list[i] = old
		}
	}
	p.s.exporters.set(list)
	p.s.exporters.group.Go(func() error { return old.Run(p.s.exporters.ctx) }) // which starts it, until it runs
	return nil
}

// undo takes carryOut back.
func (p *exporterPlan) undo() error {
	var errs []error
	for _, f := range slices.Backward(p.undoing) {
		if err := f(); err != nil {
			errs = append(errs, fmt.Errorf("as it was: %w", err))
		}
	}
	return errors.Join(errs...)
}
