package server

import (
	"sync"
	"sync/atomic"
	"time"
)

// tally counts requests by what they were and how they ended. Both come from short
// lists of ours.
type tally struct {
	mu sync.Mutex // guards n
	n  map[tallied]uint64
}

type tallied struct {
	what   string
	status int
}

func (t *tally) note(what string, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[tallied]uint64{}
	}
	t.n[tallied{what, status}]++
}

func (t *tally) each(f func(tallied, uint64)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, n := range t.n {
		f(k, n)
	}
}

// fieldCounts counts what of reports has no place here, by field.
type fieldCounts struct {
	mu sync.Mutex // guards n
	n  map[string]uint64
}

func (c *fieldCounts) add(more map[string]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]uint64{}
	}
	for field, n := range more {
		c.n[field] += n
	}
}

func (c *fieldCounts) each(f func(string, uint64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for field, n := range c.n {
		f(field, n)
	}
}

// pushes counts by sensor what became of what it sent. Only what was applied
// makes a sensor known here, so that invented names take no memory.
type pushes struct {
	mu sync.Mutex // guards n
	n  map[string]*[numOutcomes]uint64
}

func (p *pushes) note(sensor string, o outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.n[sensor]
	if n == nil {
		if o != applied && o != duplicate {
			return
		}
		if p.n == nil {
			p.n = map[string]*[numOutcomes]uint64{}
		}
		n = &[numOutcomes]uint64{}
		p.n[sensor] = n
	}
	n[o]++
}

func (p *pushes) of(sensor string) (n [numOutcomes]uint64, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.n[sensor]; at != nil {
		return *at, true
	}
	return n, false
}

func (p *pushes) forget(sensor string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.n, sensor)
}

// seldom lets something be said once a minute.
type seldom struct{ last atomic.Int64 }

func (s *seldom) say(now time.Time, f func()) {
	last := s.last.Load()
	if now.UnixNano()-last >= int64(time.Minute) && s.last.CompareAndSwap(last, now.UnixNano()) {
		f()
	}
}
