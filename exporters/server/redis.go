package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	// pollEvery is how often a server asks for what others have added. A scrape asks
	// for itself.
	pollEvery = time.Second

	// scrapeWait is how long a scrape waits for that, before it shows what is known.
	scrapeWait = time.Second

	// inspectEvery is how often Redis' settings are looked at.
	inspectEvery = 30 * time.Second

	// A journal is replaced by a checkpoint once it is longer than this, and than
	// twice the checkpoint before.
	minJournal = 256 << 10
)

// shared is the store that several servers have in common. Redis holds a journal
// and a checkpoint of each sensor; each server has in memory what they lead to.
type shared struct {
	memory
	client  redis.UniversalClient
	scripts scripts
	prefix  string
	timeout time.Duration
	codec   *codec
	logger  hclog.Logger

	places map[string]*standing // by sensor; guarded by memory.mu

	flight struct {
		sync.Mutex
		next chan struct{} // closed when the poll that is to begin next has ended; nil: none is wanted
		kick chan struct{}
	}
	quit  context.CancelFunc
	ended sync.WaitGroup

	trouble atomic.Pointer[string] // why Redis cannot be used; nil: it can
	away    atomic.Bool            // it did not answer at all: nobody has to wait to be told
	remarks atomic.Pointer[remarks]

	failures, compactions, restored, withheldCount atomic.Uint64
}

// version is a place in the history of a sensor: the number of its changes and the
// hash over all of them.
type version struct {
	n    uint64
	hash string
}

// after is the version that a change leads to.
func (v version) after(entry []byte) version {
	h := sha256.New()
	h.Write([]byte(v.hash))
	h.Write(entry)
	return version{v.n + 1, hex.EncodeToString(h.Sum(nil)[:16])}
}

// standing is where this server stands with a sensor. It moves with mu held, which
// is taken before memory.mu; the fields change with both.
type standing struct {
	id string
	mu sync.Mutex
	at version
	// born tells a sensor that was removed and came back from the one before.
	born string
	// listed: Redis' list of sensors has it. Of who holds mu.
	listed bool
	// unproven: since it took the last change Redis has started again or got the
	// sensor back, and this server cannot tell whether it lost some.
	unproven bool
	// marks are the watermarks shown once, of a state that was lost. The sensor is
	// not shown until they are reached again. nil: nothing was lost.
	marks map[string]uint64
}

// hold returns the place of a sensor with its lock taken.
func (r *shared) hold(id string) *standing {
	for {
		r.mu.Lock()
		p := r.places[id]
		if p == nil {
			p = &standing{id: strings.Clone(id)}
			r.places[p.id] = p
		}
		r.mu.Unlock()
		p.mu.Lock()
		r.mu.RLock()
		current := r.places[id] == p
		r.mu.RUnlock()
		if current {
			return p
		}
		p.mu.Unlock() // it was given up meanwhile
	}
}

// release gives back a place, and gives it up if nothing is known of its sensor.
func (r *shared) release(p *standing) {
	if p.at.n == 0 {
		r.mu.Lock()
		delete(r.places, p.id)
		r.mu.Unlock()
	}
	p.mu.Unlock()
}

func (r *shared) apply(ctx context.Context, w *netmonpb.Window) (ack, error) {
	return r.take(ctx, &change{window: w})
}

func (r *shared) install(ctx context.Context, s *netmonpb.Snapshot) (ack, error) {
	return r.take(ctx, &change{snapshot: s})
}

func (r *shared) heartbeat(ctx context.Context, id string, about []byte) (known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return r.beat(ctx, id, about)
}

func (r *shared) beat(ctx context.Context, id string, about []byte) (known bool, err error) {
	given := "0"
	if about != nil {
		given = "1"
	}
	n, err := r.scripts.beat.Run(ctx, r.client, r.keys(id)[:1], given, about).Int()
	if err != nil {
		return false, r.unavailable(err)
	}
	if n == 1 {
		_, _ = r.memory.heartbeat(ctx, id, about) // follow tells of one that is new here
	}
	return n == 1, nil
}

func (r *shared) sweep(ctx context.Context) (forgotten []string, err error) {
	var silent []string
	r.memory.read(func(s *state) { silent = s.silent() })
	for _, id := range silent {
		p := r.hold(id)
		known, err := r.drop(ctx, p, r.scripts.forget, r.state.limits.forgetAfter.Milliseconds())
		r.release(p)
		if err != nil {
			return forgotten, err
		}
		if known {
			forgotten = append(forgotten, id)
		}
	}
	return forgotten, nil
}

// read shows nothing of a sensor of which more was shown before than is known.
func (r *shared) read(f func(*state)) {
	r.refresh()
	r.mu.RLock()
	defer r.mu.RUnlock()
	hidden := map[string]bool{}
	for _, p := range r.places {
		if s := r.state.sensor(p.id); s != nil && p.hidden(s) {
			hidden[p.id] = true
		}
	}
	view := r.state
	view.breathe = r.breathe
	if len(hidden) > 0 {
		view.sensors = nil
		for _, s := range r.state.sensors {
			if !hidden[s.id] {
				view.sensors = append(view.sensors, s)
			}
		}
	}
	r.withheldCount.Store(uint64(len(hidden)))
	f(&view)
}

func (p *standing) hidden(s *sensor) bool {
	if p.unproven {
		return true
	}
	for _, l := range s.logs {
		if l.watermark < p.marks[l.id] {
			return true
		}
	}
	return false
}

func (r *shared) unavailable(cause error) error {
	r.failures.Add(1)
	refused := refuse(codeUnavailable, "storage: redis: %v", cause)
	refused.after = retryAfter
	return refused
}

func (r *shared) ready() error {
	if why := r.trouble.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

func (r *shared) close() error {
	r.quit()
	r.ended.Wait()
	r.codec.close()
	return r.client.Close()
}

var errAway = errors.New("it did not answer when it was asked last")

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func brokenAnswer(v any) error { return fmt.Errorf("answer of an unknown shape: %.100v", v) }
