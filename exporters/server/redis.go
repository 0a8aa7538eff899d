package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

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
	// unproven: Redis has started again since it took the last change, and this
	// server cannot tell whether it lost some.
	unproven bool
	// marks are the watermarks shown once, of a state that was lost. The sensor is
	// not shown until they are reached again. nil: nothing was lost.
	marks map[string]uint64
}

func openRedis(c *Storage, security *tls.Config, l limits, now func() time.Time, logger hclog.Logger) (*shared, error) {
	enc, err := newCodec()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &shared{
		memory: memory{state: newState(l, now)},
		client: dialRedis(c, security), scripts: newScripts(), prefix: c.KeyPrefix, timeout: c.Timeout,
		codec: enc, logger: logger, places: map[string]*standing{}, quit: cancel,
	}
	r.state.listening = now()
	r.flight.kick = make(chan struct{}, 1)
	why := notAsked
	r.trouble.Store(&why)
	r.away.Store(true)
	if r.poll(ctx) == nil { // Redis may come later than we do
		r.inspect(ctx)
	}
	r.ended.Go(func() { r.follow(ctx) })
	return r, nil
}

// quiet keeps the library from writing to stderr: its logger is one for the whole
// process, and what it says comes back as an error, too.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func dialRedis(c *Storage, security *tls.Config) redis.UniversalClient {
	quiet()
	plain := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch c.Mode {
	case "sentinel":
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: c.MasterName, SentinelAddrs: c.Addresses,
			SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword,
			Username: c.Username, Password: c.Password, DB: c.DB, Protocol: 2, DisableIdentity: true,
			MaxRetries: 1, DialerRetries: 1, DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout,
			ContextTimeoutEnabled: true, PoolSize: c.PoolSize, TLSConfig: security,
		})
	case "cluster":
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: c.Addresses, Username: c.Username, Password: c.Password, Protocol: 2, DisableIdentity: true,
			MaxRetries: 1, DialerRetries: 1, DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout,
			ContextTimeoutEnabled: true, PoolSize: c.PoolSize, TLSConfig: security, MaintNotificationsConfig: plain,
		})
	}
	return redis.NewClient(&redis.Options{
		Addr: c.Addresses[0], Username: c.Username, Password: c.Password, DB: c.DB, Protocol: 2, DisableIdentity: true,
		MaxRetries: 1, DialerRetries: 1, DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout,
		ContextTimeoutEnabled: true, PoolSize: c.PoolSize, TLSConfig: security, MaintNotificationsConfig: plain,
	})
}

// keys of a sensor are in one slot: its id, without braces, is the hash tag.
func (r *shared) keys(id string) []string {
	tag := r.prefix + ":{" + url.QueryEscape(id) + "}:"
	return []string{tag + "sensor", tag + "journal", tag + "checkpoint", tag + "removed"}
}

// listKey is the set of all sensors, by which servers find them.
func (r *shared) listKey() string { return r.prefix + ":sensors" }

func randomText() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
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

// take adds a change to Redis, then to the memory.
func (r *shared) take(ctx context.Context, c *change) (ack, error) {
	body, err := r.codec.body(c)
	if err != nil {
		return ack{}, err
	}
	if r.away.Load() {
		return ack{}, r.unavailable(errAway)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*r.timeout)
	defer cancel()
	p := r.hold(c.sensorID())
	defer r.release(p)
	for asked := false; ; {
		r.mu.Lock()
		held, done, refused := r.state.prepare(c, 0, 0)
		r.mu.Unlock()
		switch {
		case done && asked:
			if refused == nil {
				_, refused = r.beat(ctx, p.id, nil)
				r.prove(p)
			}
			return held, refused
		case done: // others may have gone on
			if err := r.look(ctx, p, p.at); err != nil {
				return ack{}, r.unavailable(err)
			}
			asked = true
			continue
		}
		held, added, err := r.add(ctx, p, c, append(head(c), body...))
		if err != nil || added {
			return held, err
		}
		if err := r.look(ctx, p, p.at); err != nil {
			return ack{}, r.unavailable(err)
		}
		asked = true
		if err := ctx.Err(); err != nil {
			return ack{}, r.unavailable(err)
		}
	}
}

// add offers a change to Redis. It is not added if another server was quicker.
func (r *shared) add(ctx context.Context, p *standing, c *change, entry []byte) (held ack, added bool, err error) {
	if !p.listed {
		if err := r.client.SAdd(ctx, r.listKey(), p.id).Err(); err != nil {
			return ack{}, false, r.unavailable(err)
		}
		p.listed = true
	}
	next, born := p.at.after(entry), p.born
	if p.at.n == 0 {
		born = randomText()
	}
	answer, err := r.scripts.add.Run(ctx, r.client, r.keys(p.id),
		number(p.at.n), p.at.hash, next.hash, born, entry).Int64Slice()
	if err != nil {
		return ack{}, false, r.unavailable(err)
	}
	if answer[0] == 0 {
		return ack{}, false, nil
	}
	r.mu.Lock()
	held, err = r.state.perform(c)
	p.at, p.born, p.unproven = next, born, false
	r.mu.Unlock()
	if err == nil && answer[1] > max(minJournal, 2*answer[2]) {
		r.compact(ctx, p)
	}
	return held, true, err
}

// compact replaces a long journal by a checkpoint. If that fails the journal goes on.
func (r *shared) compact(ctx context.Context, p *standing) {
	if done, err := r.replace(ctx, p, p.at, p.at); err != nil {
		r.failures.Add(1)
		r.logger.Debug("cannot make a checkpoint, the journal goes on", "sensor", p.id, "error", err)
	} else if done {
		r.compactions.Add(1)
	}
}

// replace puts what the memory holds of a sensor in place of a version in Redis.
func (r *shared) replace(ctx context.Context, p *standing, there, by version) (done bool, err error) {
	r.mu.RLock()
	s := r.state.sensor(p.id)
	plain, seen, about := encodeSensor(s), s.seen, s.about
	r.mu.RUnlock()
	n, err := r.scripts.replace.Run(ctx, r.client, r.keys(p.id), number(there.n), there.hash,
		number(by.n), by.hash, p.born, r.codec.pack(plain), seen.UnixMilli(), about).Int()
	return n == 1, err
}

func (r *shared) remove(ctx context.Context, id string) (known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	p := r.hold(id)
	defer r.release(p)
	return r.drop(ctx, p, r.scripts.remove)
}

// drop lets a script remove a sensor from Redis, and follows it if it does.
func (r *shared) drop(ctx context.Context, p *standing, script *redis.Script, args ...any) (known bool, err error) {
	removed, err := script.Run(ctx, r.client, r.keys(p.id), args...).Int()
	if err != nil {
		return false, r.unavailable(err)
	}
	if removed == 0 && script == r.scripts.forget {
		return false, nil // another server has heard of it
	}
	if err := r.client.SRem(ctx, r.listKey(), p.id).Err(); err != nil {
		return false, r.unavailable(err)
	}
	return r.lose(p) || removed > 0, nil
}

// lose forgets a sensor that was removed.
func (r *shared) lose(p *standing) (known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.at, p.born, p.listed, p.marks, p.unproven = version{}, "", false, nil, false
	return r.state.remove(p.id)
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

// prove notes that a sensor said something that fits what is held.
func (r *shared) prove(p *standing) {
	r.mu.Lock()
	p.unproven = false
	r.mu.Unlock()
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
