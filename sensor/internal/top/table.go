package top

import (
	"cmp"
	"slices"
	"strings"

	"github.com/netmon-sensor/netmon/proto/rows"
)

// A line is one row of a view as it is shown.
type line struct {
	name  string
	total rows.Volume
	rate  rate
}

// A column shows one figure of a line. Columns that do not fit are left out, the
// last ones first.
type column struct {
	key   string // sorts by it
	sort  string // what -sort calls it
	title string
	width int
	rate  func(*rate) float64 // nil: the column shows the total
	total func(*rows.Volume) uint64
}

func columns() []column {
	bytes, packets := func(v *rows.Volume) uint64 { return v.Bytes }, packets
	sent, received := func(v *rows.Volume) uint64 { return v.BytesSent }, func(v *rows.Volume) uint64 { return v.BytesReceived }
	connections, accesses := func(v *rows.Volume) uint64 { return v.Connections }, func(v *rows.Volume) uint64 { return v.Accesses }
	return []column{
		{"b", "bytes", "BYTES/s", 9, func(r *rate) float64 { return r.bytes }, bytes},
		{"s", "sent", "SENT/s", 8, func(r *rate) float64 { return r.bytesSent }, sent},
		{"r", "received", "RECV/s", 8, func(r *rate) float64 { return r.bytesReceived }, received},
		{"p", "packets", "PKTS/s", 8, func(r *rate) float64 { return r.packets }, packets},
		{"c", "connections", "CONNS/s", 9, func(r *rate) float64 { return r.connections }, connections},
		{"a", "accesses", "ACC/s", 7, func(r *rate) float64 { return r.accesses }, accesses},
		{"t", "total", "BYTES", 8, nil, bytes},
		{"", "", "PACKETS", 9, nil, packets},
		{"", "", "CONNS", 8, nil, connections},
		{"", "", "ACCESSES", 10, nil, accesses},
	}
}

// byName sorts by the name.
const byName = "name"

// orders are what lines may be sorted by.
func orders() []string {
	out := []string{}
	for _, c := range columns() {
		if c.sort != "" {
			out = append(out, c.sort)
		}
	}
	return append(out, byName)
}

// lines are the rows of the newest sample whose name contains the filter, in order.
// Where rates are equal, or not known yet, totals decide.
func (h *history) lines(order, filter string) []line {
	last := h.last()
	if last == nil {
		return nil
	}
	filter = strings.ToLower(filter)
	out := make([]line, 0, len(last.rows))
	for name, v := range last.rows {
		if filter == "" || strings.Contains(strings.ToLower(Clean(name)), filter) {
			out = append(out, line{name, v, h.of(name)})
		}
	}
	by := column{sort: byName}
	for _, c := range columns() {
		if c.sort == order {
			by = c
		}
	}
	slices.SortFunc(out, func(a, b line) int {
		return cmp.Or(by.compare(&a, &b), strings.Compare(a.name, b.name))
	})
	return out
}

// minName is the room that names keep beside columns, where half of the screen is
// not less.
const minName = 24

// fitting are the columns for which a width has room; those of rates only where
// there are rates.
func fitting(width int, rated bool) (shown []column, name int) {
	name = width
	for _, c := range columns() {
		if c.rate != nil && !rated {
			continue
		}
		if name-c.width < min(minName, width/2) {
			break
		}
		name -= c.width
		shown = append(shown, c)
	}
	return shown, name
}

// compare orders lines by the column, most first: by rate, where there are rates, then
// by total.
func (c *column) compare(a, b *line) int {
	if c.sort == byName {
		return 0
	}
	byRate := 0
	if c.rate != nil {
		byRate = cmp.Compare(c.rate(&b.rate), c.rate(&a.rate))
	}
	return cmp.Or(byRate, cmp.Compare(c.total(&b.total), c.total(&a.total)))
}

// cell is a column's figure of a line.
func (c *column) cell(l *line) string {
	switch {
	case c.rate == nil:
		return short(float64(c.total(&l.total)))
	case !l.rate.known:
		return "-"
	}
	return short(c.rate(&l.rate))
}
