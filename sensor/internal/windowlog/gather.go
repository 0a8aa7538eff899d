package windowlog

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// maxWaiting is how many windows wait for the disk one by one. More are added up
// into one, which costs resolution in time and no byte.
const maxWaiting = 8

// gather is the windows that are not on disk yet. Nobody has seen them, so they
// have no sequence and may still be added up.
type gather struct {
	// known tells whether the totals of the log have a row.
	known func(key string) bool

	mu      sync.Mutex // guards what follows
	waiting []pending
	flying  []pending // being written: not to be touched
	count   int       // of the windows in both that were appended
	flyers  int       // of these, in flying
	wakes   chan struct{}
}

// add takes a window.
func (g *gather) add(p pending) {
	g.mu.Lock()
	if g.waiting = append(g.waiting, p); len(g.waiting) > maxWaiting {
		g.waiting = append(g.waiting[:0], g.merge())
	}
	g.count++
	g.mu.Unlock()
	select {
	case g.wakes <- struct{}{}:
	default:
	}
}

// take returns what waits. It is followed by landed or failed.
func (g *gather) take() []pending {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flying, g.waiting, g.flyers = g.waiting, nil, g.count
	return g.flying
}

// landed ends the flight: the windows are on disk.
func (g *gather) landed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count -= g.flyers
	g.flying, g.flyers = nil, 0
}

// failed ends the flight: the windows wait again.
func (g *gather) failed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.flying, g.waiting...)
	g.flying, g.flyers = nil, 0
}

// gathered is how many windows are not on disk.
func (g *gather) gathered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// merge adds up what waits. g.mu is held.
//
// A row that retires and comes back does not retire: it simply goes on. One that
// comes and retires within what is added up leaves nothing but its value in the
// row of the retired; so the sum has no more rows than the log's totals and the
// sensor's views together, however long it grows.
func (g *gather) merge() pending {
	first := g.waiting[0].window
	sum := pending{&netmonpb.Window{StartNs: first.StartNs}, &netmonpb.Ledger{}}
	rest := map[string]*netmonpb.Row{}
	var order []string
	at := func(k *netmonpb.Key) *netmonpb.Row {
		key := rows.Key(k)
		r := rest[key]
		if r == nil {
			r = &netmonpb.Row{Key: k}
			rest[key] = r
			order = append(order, key)
		}
		return r
	}
	add := func(r *netmonpb.Row, c *netmonpb.Counters) {
		if c == nil {
			return
		}
		if r.Counters == nil {
			r.Counters = &netmonpb.Counters{}
		}
		rows.Add(r.Counters, c)
	}
	for _, p := range g.waiting {
		sum.window.EndNs = p.window.EndNs
		sum.sum.Packets += p.sum.Packets
		sum.sum.Bytes += p.sum.Bytes
		sum.sum.Connections += p.sum.Connections
		for _, r := range p.window.Rows {
			to := at(r.Key)
			add(to, r.Counters)
			if to.Retired = r.Retired; r.Gauge != nil {
				to.Gauge = r.Gauge
			}
		}
	}
	flying := g.flyingKeys()
	for _, key := range slices.Clone(order) {
		if r := rest[key]; r.Retired && !flying[key] && !g.known(key) {
			if heir := rows.RetiredKey(r.Key); rows.Compare(heir, r.Key) != 0 {
				delete(rest, key)
				if proto.Size(r.Counters) > 0 {
					add(at(heir), r.Counters)
				}
			}
		}
	}
	for _, key := range order {
		if r := rest[key]; r != nil {
			sum.window.Rows = append(sum.window.Rows, r)
		}
	}
	return sum
}

func (g *gather) flyingKeys() map[string]bool {
	keys := map[string]bool{}
	for _, p := range g.flying {
		for _, r := range p.window.Rows {
			keys[rows.Key(r.Key)] = true
		}
	}
	return keys
}
