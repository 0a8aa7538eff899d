package server

import (
	"math"
	"slices"
	"strings"
)

// picture is what a scrape shows, copied out of the store, so that no window waits
// while it is rendered and sent. Each sensor is shown and summed up as of one
// moment; of two sensors one may be some windows ahead.
type picture struct {
	groups [numGroups]exhibit
	items  map[string]*exhibit // the view `sensor`
	sum    summary
	copied int // series since writers were let in
}

// exhibit is a group of all sensors: label sets, and what is shown of them.
type exhibit struct {
	layout
	labels     []string
	values     []uint64 // by label set and column; of gauges the bits
	histograms []*[numHistograms]histogram
	kept       int // label sets of sensors that are copied whole
}

// layout is what the families of a group show of a series.
type layout struct {
	columns    []family // those of counters
	gauge      bool
	histograms bool
}

func newPicture(families []family) *picture {
	p := &picture{items: map[string]*exhibit{}}
	for _, f := range families {
		switch l := &p.groups[f.group].layout; f.kind {
		case isGauge:
			l.gauge = true
		case isHistogram:
			l.histograms = true
		default:
			l.columns = append(l.columns, f)
		}
	}
	return p
}

func newItem(item string) *exhibit {
	if strings.HasSuffix(item, "_total") {
		return &exhibit{layout: layout{columns: []family{{value: value, plus: none}}}}
	}
	return &exhibit{layout: layout{gauge: true}}
}

// attempts to copy a sensor while writers are let in, before they wait for it.
const attempts = 3

// take copies what the store shows, a few series at a time.
func (p *picture) take(s *service) {
	s.store.read(func(st *state) {
		p.sum = s.totals(st)
		p.makeRoom(st)
		for _, sensor := range st.sensors {
			for try := 1; !p.copy(sensor, st, try < attempts); try++ {
				p.each(func(x *exhibit) { x.cut(x.kept) })
			}
			p.each(func(x *exhibit) { x.kept = len(x.labels) })
			p.sum.add(sensor)
		}
	})
}

func (p *picture) each(f func(*exhibit)) {
	for i := range p.groups {
		f(&p.groups[i])
	}
	for _, x := range p.items {
		f(x)
	}
}

// makeRoom makes it while writers are let in: it may be much.
func (p *picture) makeRoom(st *state) {
	var n [numGroups]int
	for _, sensor := range st.sensors {
		for i := range n {
			n[i] += len(sensor.groups[i].series)
		}
	}
	st.breathe(func() {
		for i := range n {
			x := &p.groups[i]
			x.labels = slices.Grow(x.labels, n[i])
			x.values = slices.Grow(x.values, n[i]*x.width())
		}
	})
}

// copy adds a sensor. It returns false where the sensor changed meanwhile, which can
// only be where writers are let in.
func (p *picture) copy(sensor *sensor, st *state, breathing bool) bool {
	steps := sensor.steps
	add := func(x *exhibit, g *group) bool {
		for i := 0; i < len(g.series); i += atATime {
			some := g.series[i:min(i+atATime, len(g.series))]
			x.add(some)
			if p.copied += len(some); breathing && p.copied >= atATime {
				p.copied = 0
				st.breathe(nothing)
				if sensor.steps != steps {
					return false
				}
			}
		}
		return true
	}
	for i := range sensor.groups {
		if x := &p.groups[i]; x.shows() && !add(x, &sensor.groups[i]) {
			return false
		}
	}
	for item, g := range sensor.items {
		x := p.items[item]
		if x == nil {
			x = newItem(item)
			p.items[item] = x
		}
		if !add(x, g) {
			return false
		}
	}
	return true
}

// shows tells whether there is a family of the group.
func (l *layout) shows() bool { return l.width() > 0 || l.histograms }

func (x *exhibit) add(some []*series) {
	for _, s := range some {
		if x.gauge {
			if !s.hasGauge {
				continue
			}
			x.values = append(x.values, math.Float64bits(s.gauge))
		}
		x.labels = append(x.labels, s.labels)
		for i := range x.columns {
			n := s.counts.n[x.columns[i].value]
			if plus := x.columns[i].plus; plus != none {
				n += s.counts.n[plus]
			}
			x.values = append(x.values, n)
		}
		if x.layout.histograms {
			x.histograms = append(x.histograms, s.counts.observations())
		}
	}
}

// cut leaves n label sets.
func (x *exhibit) cut(n int) {
	clear(x.labels[n:]) // for the collector
	x.labels = x.labels[:n]
	if x.layout.histograms {
		clear(x.histograms[n:])
		x.histograms = x.histograms[:n]
	}
	x.values = x.values[:n*x.width()]
}

// width is how many values a label set has.
func (l *layout) width() int {
	if l.gauge {
		return 1
	}
	return len(l.columns)
}

// forget makes the picture ready to be taken again. The room for groups is kept;
// items are few, and which there are says how they are shown.
func (p *picture) forget() {
	clear(p.items)
	p.each(func(x *exhibit) {
		x.kept = 0
		x.cut(0)
	})
	p.sum, p.copied = summary{}, 0
}
