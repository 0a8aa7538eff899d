package server

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// lookAtOnce is how many sensors are asked for in one round trip.
const lookAtOnce = 256

// follow keeps the memory like Redis until ctx ends.
func (r *shared) follow(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	inspected := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.flight.kick:
		}
		r.flight.Lock()
		done := r.flight.next
		r.flight.next = nil
		r.flight.Unlock()
		if r.poll(ctx) == nil && time.Since(inspected) > inspectEvery {
			r.inspect(ctx)
			inspected = time.Now()
		}
		if done != nil {
			close(done)
		}
	}
}

// refresh waits for a poll that begins after it was called, so that what others
// have acknowledged until now is shown. While Redis is away it does not wait.
func (r *shared) refresh() {
	if r.trouble.Load() != nil {
		return
	}
	r.flight.Lock()
	if r.flight.next == nil {
		r.flight.next = make(chan struct{})
	}
	done := r.flight.next
	r.flight.Unlock()
	select {
	case r.flight.kick <- struct{}{}:
	default: // it was kicked already
	}
	timer := time.NewTimer(scrapeWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

const notAsked = "redis: not asked yet"

// poll asks for what was added to any sensor.
func (r *shared) poll(ctx context.Context) error {
	err := r.pollAll(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		why := "redis: " + err.Error()
		if before := r.trouble.Swap(&why); before == nil || *before == notAsked {
			r.failures.Add(1)
			r.logger.Error("cannot use Redis: sensors are asked to wait, the last known state is shown", "error", err)
		}
	default:
		if r.trouble.Swap(nil) != nil {
			r.logger.Info("Redis can be used")
		}
	}
	return err
}

func (r *shared) pollAll(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	list, err := r.client.SMembers(short, r.listKey()).Result()
	if r.away.Store(err != nil); err != nil {
		return err
	}
	listed := make(map[string]bool, len(list))
	for _, id := range list {
		listed[id] = true
	}
	r.mu.RLock()
	for id, p := range r.places {
		if p.at.n > 0 && !listed[id] {
			list = append(list, id)
		}
	}
	r.mu.RUnlock()
	for chunk := range slices.Chunk(list, lookAtOnce) {
		if e := r.lookAt(ctx, chunk, listed); e != nil && err == nil {
			err = e // of one node, maybe: the others go on
		}
	}
	return err
}

// lookAt asks for some sensors in one round trip, and takes over what is new.
func (r *shared) lookAt(ctx context.Context, ids []string, listed map[string]bool) error {
	short, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	asked := make([]version, len(ids))
	r.mu.RLock()
	for i, id := range ids {
		if p := r.places[id]; p != nil {
			asked[i] = p.at
		}
	}
	r.mu.RUnlock()
	answers := make([]*redis.Cmd, len(ids))
	_, _ = r.client.Pipelined(short, func(pipe redis.Pipeliner) error {
		for i, id := range ids {
			answers[i] = pipe.EvalSha(short, r.scripts.look.Hash(), r.keys(id), number(asked[i].n), asked[i].hash)
		}
		return nil
	})
	var first error
	for i, id := range ids {
		answer, err := answers[i].Slice()
		if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
			answer, err = r.scripts.look.Run(short, r.client, r.keys(id), number(asked[i].n), asked[i].hash).Slice()
		}
		if err == nil {
			err = r.digest(ctx, id, asked[i], answer, listed[id])
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

// digest takes over an answer of look, if nobody was quicker.
func (r *shared) digest(ctx context.Context, id string, asked version, answer []any, listed bool) error {
	short, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	p := r.hold(id)
	defer r.release(p)
	if p.at != asked {
		return nil
	}
	if !listed && len(answer) > 1 {
		if err := r.client.SAdd(short, r.listKey(), id).Err(); err != nil {
			return err
		}
	}
	p.listed = true
	return r.integrate(short, p, answer)
}

// look asks for what was added to one sensor since a version, and takes it over.
func (r *shared) look(ctx context.Context, p *standing, since version) error {
	answer, err := r.scripts.look.Run(ctx, r.client, r.keys(p.id), number(since.n), since.hash).Slice()
	if err != nil {
		return err
	}
	return r.integrate(ctx, p, answer)
}

// news is an answer of look.
type news struct {
	at           version
	born         string
	seen         time.Time
	about        string
	moved        bool // what follows is there
	whole        bool // checkpoint and changes are everything, not what was added
	checkpoint   string
	changes      []string
	sinceRestart bool // Redis took the last change in this life
}

func parseNews(answer []any) (*news, error) {
	texts := make([]string, 5)
	for i := range texts {
		if len(answer) <= i {
			return nil, brokenAnswer(answer)
		}
		texts[i], _ = answer[i].(string)
	}
	n, err := strconv.ParseUint(texts[0], 10, 53)
	seen, err2 := strconv.ParseInt(texts[3], 10, 64)
	if err != nil || err2 != nil {
		return nil, brokenAnswer(answer[:5])
	}
	out := &news{at: version{n, texts[1]}, born: texts[2], seen: time.UnixMilli(seen), about: texts[4]}
	if len(answer) == 5 {
		return out, nil
	}
	if len(answer) != 9 {
		return nil, brokenAnswer(len(answer))
	}
	out.moved = true
	whole, _ := answer[5].(int64)
	current, _ := answer[8].(int64)
	out.whole, out.sinceRestart = whole == 1, current == 1
	out.checkpoint, _ = answer[6].(string)
	entries, _ := answer[7].([]any)
	for _, e := range entries {
		text, _ := e.(string)
		out.changes = append(out.changes, text)
	}
	return out, nil
}

// integrate makes the memory like Redis, or Redis like the memory where that knows
// more: each was shown to be what the same changes lead to.
func (r *shared) integrate(ctx context.Context, p *standing, answer []any) error {
	switch {
	case len(answer) <= 1 && p.at.n == 0:
		return nil // neither of us knows it
	case len(answer) == 1:
		r.lose(p)
		return nil
	case len(answer) == 0:
		return r.restore(ctx, p, version{})
	}
	n, err := parseNews(answer)
	if err != nil {
		return err
	}
	if n.moved && !n.whole {
		if done, err := r.advance(p, n); done || err != nil {
			return err
		}
		// The history there is another one.
		answer, err := r.scripts.look.Run(ctx, r.client, r.keys(p.id), "-1", "").Slice()
		if err != nil || len(answer) <= 1 {
			return err // it is looked for again soon
		}
		if n, err = parseNews(answer); err != nil {
			return err
		}
	}
	if n.moved {
		if err := r.takeOver(ctx, p, n); err != nil {
			return err
		}
	}
	r.mu.Lock()
	if s := r.state.sensor(p.id); s != nil {
		s.seen = n.seen
		s.about = nil
		if n.about != "" {
			s.about = []byte(n.about)
		}
	}
	r.mu.Unlock()
	return nil
}

// advance performs the changes that were added, if they follow those that are known.
func (r *shared) advance(p *standing, n *news) (done bool, err error) {
	at := p.at
	changes := make([]*change, len(n.changes))
	for i, entry := range n.changes {
		at = at.after([]byte(entry))
		if changes[i], err = r.codec.change([]byte(entry)); err != nil {
			return false, err
		}
	}
	if at != n.at || p.at.n > 0 && p.born != n.born {
		return false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range changes {
		if _, err := r.state.perform(c); err != nil {
			return false, err
		}
	}
	if p.at.n == 0 {
		p.unproven = !n.sinceRestart
	} else {
		p.unproven = false
	}
	p.at, p.born = n.at, n.born
	return true, nil
}

// takeOver replaces what is known of a sensor by what is in Redis. If that is less,
// and the same sensor, Redis gets it back.
func (r *shared) takeOver(ctx context.Context, p *standing, n *news) error {
	st := newState(r.state.limits, r.state.now)
	if n.checkpoint != "" {
		s, err := r.codec.sensor([]byte(n.checkpoint))
		if err != nil {
			return err
		}
		st.adopt(s)
	}
	for _, entry := range n.changes {
		c, err := r.codec.change([]byte(entry))
		if err != nil {
			return err
		}
		if _, err := st.perform(c); err != nil {
			return err
		}
	}
	one := st.sensor(p.id)
	if one == nil {
		return brokenAnswer("no sensor in it")
	}
	r.mu.RLock()
	old := r.state.sensor(p.id)
	r.mu.RUnlock()
	if old != nil && p.born == n.born && old.covers(one) && !one.covers(old) {
		return r.restore(ctx, p, n.at)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old != nil {
		for _, l := range old.logs {
			if p.marks == nil {
				p.marks = map[string]uint64{}
			}
			p.marks[l.id] = max(p.marks[l.id], l.watermark)
		}
		if one.covers(old) {
			p.marks = nil
		}
		p.unproven = false
	} else {
		p.unproven = !n.sinceRestart
	}
	r.state.adopt(one)
	p.at, p.born = n.at, n.born
	return nil
}

// covers tells whether s holds every log of the other at least as far.
func (s *sensor) covers(other *sensor) bool {
	for _, theirs := range other.logs {
		ours := slices.IndexFunc(s.logs, func(l *log) bool { return l.id == theirs.id })
		if ours < 0 || s.logs[ours].watermark < theirs.watermark {
			return false
		}
	}
	return true
}

// restore gives Redis back what it lost of a sensor and this server knows.
func (r *shared) restore(ctx context.Context, p *standing, there version) error {
	if err := r.client.SAdd(ctx, r.listKey(), p.id).Err(); err != nil {
		return err
	}
	by := version{max(there.n, p.at.n) + 1, randomText()}
	done, err := r.replace(ctx, p, there, by)
	if err != nil || !done {
		return err // not done: another server was quicker, the next look tells
	}
	r.restored.Add(1)
	r.mu.Lock()
	p.at, p.listed = by, true
	r.mu.Unlock()
	r.logger.Warn("Redis had lost what it held of a sensor, and got it back from this server", "sensor", p.id)
	return nil
}

// remarks is what is wrong with Redis' settings: 1 is right.
type remarks struct{ master, aof, noeviction float64 }

// inspect looks at the settings that what is acknowledged depends on.
func (r *shared) inspect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	now := remarks{1, 1, 1}
	look := func(ctx context.Context, c *redis.Client) error {
		info, err := c.Info(ctx).Result()
		if err != nil {
			return err
		}
		has := func(line string) float64 {
			if strings.Contains(info, "\n"+line+"\r\n") {
				return 1
			}
			return 0
		}
		now.master = min(now.master, has("role:master"))
		now.aof = min(now.aof, has("aof_enabled:1"))
		now.noeviction = min(now.noeviction, max(has("maxmemory_policy:noeviction"), has("maxmemory:0")))
		return nil
	}
	var one sync.Mutex
	var err error
	switch c := r.client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			one.Lock() // they are visited side by side
			defer one.Unlock()
			return look(ctx, c)
		})
	case *redis.Client:
		err = look(ctx, c)
	}
	if err != nil {
		r.failures.Add(1)
		r.logger.Debug("cannot look at Redis' settings", "error", err)
		return
	}
	before := r.remarks.Swap(&now)
	if before == nil {
		before = &remarks{1, 1, 1}
	}
	warn := func(before, now float64, text string) {
		if now < before {
			r.logger.Warn(text)
		}
	}
	warn(before.master, now.master, "Redis is a replica: it takes nothing")
	warn(before.aof, now.aof, "Redis keeps no append-only file: what it holds is lost when it ends, and sensors send it again (set appendonly yes)")
	warn(before.noeviction, now.noeviction, "Redis may evict what it holds when memory is short (set maxmemory-policy noeviction)")
}

func (r *shared) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, out) }

func (r *shared) Collect(out chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
		var names []string
		if len(labels) > 0 {
			names = []string{"check"}
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("netmon_server_store_"+name, help, names, nil), kind, v, labels...)
	}
	send(prometheus.CounterValue, "failures_total", "Times the store could not be read or written.", float64(r.failures.Load()))
	send(prometheus.CounterValue, "checkpoints_total", "Checkpoints made.", float64(r.compactions.Load()))
	send(prometheus.CounterValue, "restored_total", "Sensors that Redis had lost and this server gave back.", float64(r.restored.Load()))
	send(prometheus.GaugeValue, "withheld_sensors", "Sensors not shown, because more was shown of them before than is known now.", float64(r.withheldCount.Load()))
	if m := r.remarks.Load(); m != nil {
		const help = "1 where Redis is set up as it should be."
		send(prometheus.GaugeValue, "redis_check", help, m.master, "master")
		send(prometheus.GaugeValue, "redis_check", help, m.aof, "append_only_file")
		send(prometheus.GaugeValue, "redis_check", help, m.noeviction, "no_eviction")
	}
}
