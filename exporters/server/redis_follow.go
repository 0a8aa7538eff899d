package server

import (
	"context"
	"slices"
	"strings"
	"time"

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
