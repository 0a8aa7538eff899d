package server

import (
	"context"

	"github.com/redis/go-redis/v9"
)

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
				_, refused = r.beat(ctx, p.id, nil) // it may be late, and proves nothing
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
