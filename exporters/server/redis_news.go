package server

import (
	"context"
	"slices"
	"strconv"
	"time"
)

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
