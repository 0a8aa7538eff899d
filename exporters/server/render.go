package server

import (
	"slices"
	"strconv"
	"strings"

	"github.com/netmon-sensor/netmon/proto/rows"
)

// renderer writes what the sensors told, straight from the series: each has its
// labels rendered once, so that a line is two copies and a number.
type renderer struct {
	families    []family
	openMetrics bool
}

// append writes every family that has series. The state must not change meanwhile.
func (r *renderer) append(b []byte, s *state) []byte {
	for i := range r.families {
		f := &r.families[i]
		head := len(b)
		b = r.header(b, f)
		body := len(b)
		for _, sensor := range s.sensors {
			b = r.samples(b, f, &sensor.groups[f.group])
		}
		if len(b) == body {
			b = b[:head]
		}
	}
	return r.items(b, s)
}

// items writes the view `sensor`: each item is a family.
func (r *renderer) items(b []byte, s *state) []byte {
	var names []string
	for _, sensor := range s.sensors {
		for item := range sensor.items {
			names = append(names, item)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, item := range names {
		f := family{name: "netmon_" + item, kind: isGauge, value: value, plus: none, help: rows.ItemHelp(item)}
		if base, total := strings.CutSuffix(item, "_total"); total {
			f.kind = isCounter
			if _, clash := slices.BinarySearch(names, base); clash && r.openMetrics {
				f.kind = isUntyped // there, a counter's family goes without _total, and that name is taken
			}
		}
		head := len(b)
		b = r.header(b, &f)
		body := len(b)
		for _, sensor := range s.sensors {
			if g := sensor.items[item]; g != nil {
				b = r.samples(b, &f, g)
			}
		}
		if len(b) == body {
			b = b[:head]
		}
	}
	return b
}

func (r *renderer) header(b []byte, f *family) []byte {
	name, kind := f.name, string(f.kind)
	if r.openMetrics {
		switch f.kind {
		case isCounter:
			name = strings.TrimSuffix(name, "_total")
		case isUntyped:
			kind = "unknown"
		}
	}
	b = append(append(append(b, "# HELP "...), name...), ' ')
	b = append(append(b, f.help...), "\n# TYPE "...)
	b = append(append(append(b, name...), ' '), kind...)
	return append(b, '\n')
}

func (r *renderer) samples(b []byte, f *family, g *group) []byte {
	switch f.kind {
	case isGauge:
		for _, s := range g.series {
			if s.hasGauge {
				b = append(append(b, f.name...), s.labels...)
				b = append(appendFloat(append(b, ' '), s.gauge), '\n')
			}
		}
	case isHistogram:
		for _, s := range g.series {
			for _, h := range f.histograms {
				if s.counts.histograms != nil && s.counts.histograms[h.histogramID].buckets != nil {
					b = r.histogram(b, f, h, s)
				}
			}
		}
	default:
		b = counters(b, f, g.series)
	}
	return b
}

// counters is the loop that a big scrape spends its time in.
func counters(b []byte, f *family, all []*series) []byte {
	for _, s := range all {
		n := s.counts.n[f.value]
		if f.plus != none {
			n += s.counts.n[f.plus]
		}
		b = append(b, f.name...)
		b = append(b, s.labels...)
		b = append(b, ' ')
		b = strconv.AppendUint(b, n, 10)
		b = append(b, '\n')
	}
	return b
}

// histogram writes cumulative buckets. Observations beyond the bounds known here
// are in +Inf.
func (r *renderer) histogram(b []byte, f *family, which observed, s *series) []byte {
	h := &s.counts.histograms[which.histogramID]
	open := s.labels[:len(s.labels)-1]
	if which.label != "" {
		open += "," + which.label
	}
	bucket := func(le string, n uint64) {
		b = append(append(append(b, f.name...), "_bucket"...), open...)
		b = append(append(append(b, `,le="`...), le...), `"} `...)
		b = append(strconv.AppendUint(b, n, 10), '\n')
	}
	var sum uint64
	for i, le := range f.bounds {
		if i < len(h.buckets) {
			sum += h.buckets[i]
		}
		if r.openMetrics && !strings.Contains(le, ".") {
			le += ".0" // the canonical form of a float there
		}
		bucket(le, sum)
	}
	for i := len(f.bounds); i < len(h.buckets); i++ {
		sum += h.buckets[i]
	}
	bucket("+Inf", sum)
	b = append(append(append(b, f.name...), "_sum"...), open...)
	b = append(appendFloat(append(b, "} "...), float64(h.seconds)+float64(h.sum)/1e9), '\n')
	b = append(append(append(b, f.name...), "_count"...), open...)
	return append(strconv.AppendUint(append(b, "} "...), sum, 10), '\n')
}

// appendFloat writes NaN, +Inf and -Inf as both formats want them.
func appendFloat(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'g', -1, 64) }
