package view

import (
	"cmp"
	"slices"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// minCandidates is how many new keys of a window are counted exactly at least,
// however small the budget.
const minCandidates = 1024

// table is one view: at most maxRows keys have a row of their own, everything
// else is in the row Other of its interface and direction.
//
// A key without a row is a candidate until the window is cut; then the heaviest
// candidates get the free rows and those of rows that are lighter than they. What
// a row says is exact from the window of its admission on.
//
// A window with more than twice limit new keys keeps the limit of them that the
// sketch of the windows before ranks highest, and adds the rest to Other and to
// the sketch. A key that is kept at the end was kept from its first flow on, since
// the bar only rises: so the order of flows does not matter here either. A heavy
// key that is refused in one window ranks high in the next, and gets its row then.
type table struct {
	definition
	interfaces *interfaces
	maxRows    int
	limit      int   // of candidates, at a cut
	idle       int64 // nanoseconds; 0: never

	rows       map[key]*row // of every state
	candidates []*row
	bar        *row    // the lowest ranked candidate that was kept when others were not; nil: none was refused
	sketch     *sketch // what refused keys weigh; nil: none was refused lately

	admitted            int
	overflowed, retired uint64
}

// row is one key.
type row struct {
	key   key
	state state
	sum   counters // of the open window
	adds  uint64   // that sum is made of

	// weight is the most that any window added, less a little for every window
	// since: what a candidate has to exceed.
	weight uint64
	active int64 // end of the latest window that added something

	estimate, hash uint64 // a candidate's rank
}

type state uint8

const (
	candidate state = iota
	admitted
	reserved // stands for many keys: outside the budget, never retired
	leaving  // retired with this window
)

func newTable(d definition, o Options, in *interfaces) *table {
	return &table{
		definition: d, interfaces: in,
		maxRows: o.MaxRows, limit: max(o.MaxRows, minCandidates), idle: int64(o.IdleTimeout),
		rows: make(map[key]*row),
	}
}

// add sums delta into the row of k.
func (t *table) add(k *key, delta *counters) {
	r := t.rows[*k]
	if r == nil {
		r = t.meet(k, delta)
	}
	r.sum.add(delta)
	r.adds++
}

// meet returns a row for a key that has none: its own as a candidate, or Other.
func (t *table) meet(k *key, delta *counters) *row {
	if k.reserved() {
		return t.insert(k, reserved)
	}
	if len(t.candidates) >= 2*t.limit {
		t.prune()
	}
	if t.bar != nil {
		newcomer := row{key: *k}
		t.rank(&newcomer)
		if t.compareRank(&newcomer, t.bar) < 0 {
			t.sketch.add(newcomer.hash, delta.weight())
			t.overflowed++
			return t.other(k)
		}
	}
	r := t.insert(k, candidate)
	t.candidates = append(t.candidates, r)
	return r
}

func (t *table) insert(k *key, s state) *row {
	r := &row{key: *k, state: s}
	// The caller's strings may be parts of something large.
	r.key.domain, r.key.application, r.key.reason = strings.Clone(k.domain), strings.Clone(k.application), strings.Clone(k.reason)
	t.rows[r.key] = r
	return r
}

// other returns the row for what k has none for.
func (t *table) other(k *key) *row {
	o := k.other()
	if r := t.rows[o]; r != nil {
		return r
	}
	return t.insert(&o, reserved)
}

// prune refuses all candidates but the limit that rank highest.
func (t *table) prune() {
	for _, r := range t.candidates {
		t.rank(r)
	}
	slices.SortFunc(t.candidates, func(a, b *row) int { return t.compareRank(b, a) })
	if t.sketch == nil {
		t.sketch = newSketch(t.limit)
	}
	for _, r := range t.candidates[t.limit:] {
		t.refuse(r)
	}
	clear(t.candidates[t.limit:])
	t.candidates = t.candidates[:t.limit]
	t.bar = t.candidates[t.limit-1]
}

func (t *table) rank(r *row) {
	r.hash = t.interfaces.hash(&r.key)
	r.estimate = 0
	if t.sketch != nil {
		r.estimate = t.sketch.estimate(r.hash)
	}
}

func (t *table) compareRank(a, b *row) int {
	return cmp.Or(
		cmp.Compare(a.estimate, b.estimate),
		cmp.Compare(a.hash, b.hash),
		t.interfaces.compare(&a.key, &b.key),
	)
}

// refuse moves what a candidate has counted to Other.
func (t *table) refuse(r *row) {
	if t.sketch != nil {
		t.sketch.add(t.interfaces.hash(&r.key), r.sum.weight())
	}
	o := t.other(&r.key)
	o.sum.add(&r.sum)
	o.adds += r.adds
	t.overflowed += r.adds
	delete(t.rows, r.key)
}

// cut closes the window: it decides who has a row, then returns the rows of
// all that counted something or end.
func (t *table) cut(now int64) []*netmonpb.Row {
	refusing := t.bar != nil
	if refusing && len(t.candidates) > t.limit {
		t.prune()
	}
	t.age(now)
	t.admit()

	clear(t.candidates)
	t.candidates, t.bar = t.candidates[:0], nil
	if refusing {
		t.sketch.turn()
	} else {
		t.sketch = nil
	}
	return t.emit(now)
}

// age brings the weights up to date and retires idle rows.
func (t *table) age(now int64) {
	for _, r := range t.rows {
		r.weight = max(r.weight-(r.weight+255)/256, r.sum.weight())
		if r.adds > 0 {
			r.active = now
		} else if r.state == admitted && t.idle > 0 && now-r.active >= t.idle {
			t.retire(r)
		}
	}
}

func (t *table) retire(r *row) {
	r.state = leaving
	t.admitted--
	t.retired++
}

// admit gives rows to the heaviest candidates: free ones first, then those of
// lighter keys, the lightest first. The rest is refused.
func (t *table) admit() {
	byWeight := func(a, b *row) int {
		return cmp.Or(cmp.Compare(a.weight, b.weight), t.interfaces.compare(&a.key, &b.key))
	}
	slices.SortFunc(t.candidates, func(a, b *row) int { return byWeight(b, a) })
	free := min(t.maxRows-t.admitted, len(t.candidates))
	var lighter []*row // than the heaviest candidate that found no free row
	if free < len(t.candidates) {
		for _, r := range t.rows {
			if r.state == admitted && r.weight < t.candidates[free].weight {
				lighter = append(lighter, r)
			}
		}
		slices.SortFunc(lighter, byWeight)
	}
	for i, r := range t.candidates {
		switch taken := i - free; {
		case i < free:
		case taken < len(lighter) && lighter[taken].weight < r.weight:
			t.retire(lighter[taken])
		default:
			t.refuse(r)
			continue
		}
		r.state = admitted
		t.admitted++
	}
}

// emit returns the window's rows, sorted by key, and resets them.
func (t *table) emit(now int64) []*netmonpb.Row {
	var changed []*row
	for _, r := range t.rows {
		if r.adds > 0 || r.state == leaving {
			changed = append(changed, r)
		}
	}
	slices.SortFunc(changed, func(a, b *row) int { return t.interfaces.compare(&a.key, &b.key) })

	// One piece of memory: a window is kept and dropped as a whole.
	wire := make([]struct {
		row      netmonpb.Row
		key      netmonpb.Key
		counters netmonpb.Counters
		address  [16]byte
	}, len(changed))
	out := make([]*netmonpb.Row, len(changed))
	for i, r := range changed {
		w := &wire[i]
		w.key.View = t.view
		t.fields.fill(&r.key, t.interfaces, &w.key, &w.address)
		r.sum.fill(&w.counters)
		w.row.Key, w.row.Counters, w.row.Retired = &w.key, &w.counters, r.state == leaving
		out[i] = &w.row
		if r.state == leaving {
			delete(t.rows, r.key)
		}
		r.sum, r.adds = counters{}, 0
	}
	return out
}
