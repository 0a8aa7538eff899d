package view

import (
	"slices"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// minFigures is how many figures there is room for, however small the budget:
// it is meant for traffic.
const minFigures = 4096

// figures is VIEW_SENSOR: what the sensor says of itself. Counters are never
// retired, for somebody alerts on them; beyond the budget they add to one row
// per item with the detail Other, and there are as many items as words in the
// sensor's code. Gauges beyond the budget are left out.
type figures struct {
	rows                map[figure]*figureRow
	maxRows             int
	idle                int64
	overflowed, retired uint64
}

// figure is the key of a row.
type figure struct {
	item, iface, detail string
	shard               uint32
}

type figureRow struct {
	delta   uint64
	value   float64
	isGauge bool
	changed bool
	active  int64
}

func newFigures(o Options) figures {
	return figures{rows: make(map[figure]*figureRow), maxRows: max(o.MaxRows, minFigures), idle: int64(o.IdleTimeout)}
}

func (s *figures) count(k figure, delta uint64) {
	r := s.rows[k]
	if r == nil {
		if len(s.rows) >= s.maxRows {
			s.overflowed++
			k = figure{item: k.item, detail: Other}
		}
		r = s.insert(k)
		r.changed = true
	}
	r.delta += delta
	r.changed = r.changed || delta > 0
}

func (s *figures) gauge(k figure, value float64) {
	r := s.rows[k]
	if r == nil {
		if len(s.rows) >= s.maxRows {
			s.overflowed++
			return
		}
		r = s.insert(k)
	}
	r.value, r.isGauge, r.changed = value, true, true
}

// insert returns the row of k, a new one if there is none.
func (s *figures) insert(k figure) *figureRow {
	if r := s.rows[k]; r != nil {
		return r
	}
	r := &figureRow{}
	s.rows[figure{strings.Clone(k.item), strings.Clone(k.iface), strings.Clone(k.detail), k.shard}] = r
	return r
}

func (s *figures) cut(now int64) []*netmonpb.Row {
	var out []*netmonpb.Row
	for k, r := range s.rows {
		idle := r.isGauge && !r.changed && s.idle > 0 && now-r.active >= s.idle
		if !r.changed && !idle {
			continue
		}
		row := &netmonpb.Row{Retired: idle, Key: &netmonpb.Key{
			View: netmonpb.View_VIEW_SENSOR, Interface: k.iface, Shard: k.shard, Item: k.item, Detail: k.detail,
		}}
		if r.isGauge {
			value := r.value
			row.Gauge = &value
		} else {
			row.Counters = &netmonpb.Counters{Value: r.delta}
		}
		out = append(out, row)
		r.delta, r.changed, r.active = 0, false, now
		if idle {
			delete(s.rows, k)
			s.retired++
		}
	}
	slices.SortFunc(out, func(a, b *netmonpb.Row) int { return rows.Compare(a.Key, b.Key) })
	return out
}
