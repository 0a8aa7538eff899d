package sensor

import (
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// health is what happened to the connection of a record.
func health(r *flow.Record) view.Health {
	if !connection(r) {
		return view.Health{}
	}
	return view.Health{
		Over: r.Over, Duration: r.Duration,
		SYNACK: r.SYNACK, ACK: r.ACK,
		Retransmitted: r.Retransmitted,
		Reset:         r.Reset, Refused: r.Refused, Unanswered: r.Unanswered,
	}
}

// active adds up the connections that shards have. It belongs to the join.
type active struct {
	shards [][]flow.Active        // of each by interface number, as of its last harvest
	shown  map[string]flow.Active // by interface name, in the last window
}

// take remembers what a shard says.
func (a *active) take(shard int, interfaces []flow.Active) {
	for shard >= len(a.shards) {
		a.shards = append(a.shards, nil)
	}
	a.shards[shard] = append(a.shards[shard][:0], interfaces...)
}

// show sets a gauge for each state in which there are connections. Where there are
// none any more it says so once. Numbers of interfaces may share a name, and names
// change.
func (a *active) show(v *view.Set, name func(uint16) string) {
	now := map[string]flow.Active{}
	for _, interfaces := range a.shards {
		for i := range interfaces {
			if interfaces[i] == (flow.Active{}) {
				continue
			}
			sum := now[name(uint16(i))]
			for s, n := range interfaces[i] {
				sum[s] += n
			}
			now[name(uint16(i))] = sum
		}
	}
	for name, was := range a.shown {
		for s, n := range was {
			if n > 0 && now[name][s] == 0 {
				v.Gauge(activeItem, name, 0, flow.State(s).String(), 0)
			}
		}
	}
	for name, is := range now {
		for s, n := range is {
			if n > 0 {
				v.Gauge(activeItem, name, 0, flow.State(s).String(), float64(n))
			}
		}
	}
	a.shown = now
}

const activeItem = "active_connections"
