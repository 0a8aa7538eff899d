package server

import (
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/netmon-sensor/netmon/proto/rows"
)

// renderer writes what the sensors told: each label set was rendered once, when it
// came, so that a line is two copies and a number.
type renderer struct {
	families    []family
	openMetrics bool
}

// output passes what is rendered on in big pieces.
type output struct {
	to  io.Writer
	b   []byte // a piece; its room is used again
	err error  // of the first piece that was not taken; those after it are not tried
}

// pieceSize is when a piece is passed on.
const pieceSize = 64 << 10

// piece passes b on if it is big enough, and returns what to go on with.
func (o *output) piece(b []byte) []byte {
	if len(b) < pieceSize {
		return b
	}
	return o.pass(b)
}

func (o *output) pass(b []byte) []byte {
	if o.err == nil {
		_, o.err = o.to.Write(b)
	}
	return b[:0]
}

// render writes every family that has series.
func (r *renderer) render(o *output, p *picture) error {
	for i := range r.families {
		r.family(o, &r.families[i], &p.groups[r.families[i].group])
	}
	r.items(o, p)
	o.b = o.pass(o.b)
	return o.err
}

// items writes the view `sensor`: each item is a family.
func (r *renderer) items(o *output, p *picture) {
	names := slices.Sorted(maps.Keys(p.items))
	for _, item := range names {
		f := family{name: "netmon_" + item, kind: isGauge, value: value, plus: none, help: rows.ItemHelp(item)}
		if base, total := strings.CutSuffix(item, "_total"); total {
			f.kind = isCounter
			if _, clash := slices.BinarySearch(names, base); clash && r.openMetrics {
				f.kind = isUntyped // there, a counter's family goes without _total, and that name is taken
			}
		}
		r.family(o, &f, p.items[item])
	}
}

func (r *renderer) family(o *output, f *family, x *exhibit) {
	if f.kind == isHistogram && !slices.ContainsFunc(x.histograms, f.observes) || len(x.labels) == 0 {
		return
	}
	o.b = r.header(o.b, f)
	switch f.kind {
	case isGauge:
		for i, labels := range x.labels {
			b := append(append(o.b, f.name...), labels...)
			b = append(appendFloat(append(b, ' '), math.Float64frombits(x.values[i])), '\n')
			o.b = o.piece(b)
		}
	case isHistogram:
		for i, labels := range x.labels {
			for _, h := range f.histograms {
				if all := x.histograms[i]; all != nil && all[h.histogramID].buckets != nil {
					o.b = o.piece(r.histogram(o.b, f, h.label, labels, &all[h.histogramID]))
				}
			}
		}
	default:
		o.counters(f, x)
	}
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

// counters is the loop that a big scrape spends its time in.
func (o *output) counters(f *family, x *exhibit) {
	b, width := o.b, len(x.columns)
	for i, labels := range x.labels {
		b = append(b, f.name...)
		b = append(b, labels...)
		b = append(b, ' ')
		b = strconv.AppendUint(b, x.values[i*width+f.column], 10)
		b = o.piece(append(b, '\n'))
	}
	o.b = b
}

// observes tells whether the family shows any of the histograms of a series.
func (f *family) observes(all *[numHistograms]histogram) bool {
	return all != nil && slices.ContainsFunc(f.histograms, func(h observed) bool { return all[h.histogramID].buckets != nil })
}

// histogram writes cumulative buckets. Observations beyond the bounds known here
// are in +Inf.
func (r *renderer) histogram(b []byte, f *family, label, labels string, h *histogram) []byte {
	open := labels[:len(labels)-1]
	if label != "" {
		open += "," + label
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
