package server

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

func decodeSensor(b []byte) (*sensor, error) {
	r := &reader{rest: b}
	r.version()
	if have := r.uvarint(); r.err == nil && have != shape {
		r.err, r.rest = fmt.Errorf("it has the shape %x, and this server knows shape %x", have, shape), nil
	}
	s := newSensor(r.text())
	s.seen = time.Unix(0, r.varint())
	if about := r.text(); about != "" {
		s.about = []byte(about)
	}
	s.steps = r.uvarint()
	r.numbers(s.sums[:])
	var all []*series // by number
	for range r.count() {
		all = r.group(s.at(target{byItem, r.text()}), all)
	}
	for i := range s.groups {
		all = r.group(&s.groups[i], all)
	}
	for range r.count() {
		l := r.log(all)
		s.logs = append(s.logs, l)
		s.rows += len(l.rows)
	}
	if r.err == nil && (len(r.rest) != 0 || s.id == "" || len(s.logs) == 0) {
		r.err = errEncoding
	}
	return s, r.err
}

func (r *reader) group(g *group, all []*series) []*series {
	for range r.count() {
		x := &series{
			labels: r.text(), group: g, position: len(g.series),
			view: view(r.uvarint()), iface: r.text(), direction: netmonpb.Direction(r.uvarint()),
		}
		if r.flag() {
			x.sum = &netmonpb.Key{Domain: r.text(), NameSource: netmonpb.NameSource(r.uvarint()), Detail: r.text()}
		}
		if x.hasGauge = r.flag(); x.hasGauge {
			x.gauge = math.Float64frombits(r.fixed64())
		}
		r.counts(&x.counts)
		g.owner.series++
		g.series = append(g.series, x)
		g.byLabels[x.labels] = x
		all = append(all, x)
	}
	return all
}

func (r *reader) log(all []*series) *log {
	l := &log{id: r.text(), watermark: r.uvarint(), chain: []byte(r.text()), bytes: map[view]uint64{}}
	if r.flag() {
		total := r.uvarint()
		l.ledger = &total
	}
	l.end, l.step = r.uvarint(), r.uvarint()
	r.numbers(l.sums[:])
	l.folded = r.flag()
	for range r.count() {
		l.bytes[view(r.uvarint())] = r.uvarint()
	}
	n := r.count()
	l.parts = make(map[*series]*part, n)
	byNumber := make([]*part, len(all))
	for range n {
		i := r.index(len(all))
		if r.err != nil {
			return l
		}
		p := &part{series: all[i]}
		r.counts(&p.counts)
		l.parts[p.series], byNumber[i] = p, p
	}
	n = r.count()
	l.rows = make(map[string]*row, n)
	for range n {
		to := &row{key: r.text()}
		for i := range min(r.count(), maxFeeds) {
			at := r.index(len(all))
			if r.err != nil || byNumber[at] == nil {
				r.spoil()
				return l
			}
			to.parts[i] = byNumber[at]
			to.parts[i].rows++
			to.parts[i].series.rows++
		}
		l.rows[to.key] = to
	}
	return l
}

func (r *reader) counts(c *counts) {
	mask := r.uvarint()
	for i := range c.n {
		if mask&(1<<i) != 0 {
			c.n[i] = r.uvarint()
		}
	}
	if mask&(1<<numCounters) == 0 {
		return
	}
	c.histograms = &[numHistograms]histogram{}
	for i := range c.histograms {
		h := &c.histograms[i]
		if n := r.count(); n > 0 {
			h.buckets = make([]uint64, n)
			r.numbers(h.buckets)
		}
		h.seconds, h.sum = r.uvarint(), r.uvarint()
	}
}

// reader takes an encoding apart. At the first thing that makes no sense it keeps
// the error and yields zeros from then on.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) spoil() {
	if r.err == nil {
		r.err = errEncoding
	}
	r.rest = nil
}

// take returns the next n bytes, zeros where they are missing.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.spoil()
		return make([]byte, min(n, 8))
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) version() {
	if v := r.take(1)[0]; r.err == nil && v != codecVersion {
		r.err, r.rest = fmt.Errorf("it is of version %d, and this server knows version %d", v, codecVersion), nil
	}
}

func (r *reader) flag() bool      { return r.take(1)[0] != 0 }
func (r *reader) fixed64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) text() string    { return string(r.take(r.uvarint())) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.spoil()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.spoil()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count is the number of things that follow; each takes a byte at least.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.spoil()
		return 0
	}
	return int(n)
}

// index is a number below n.
func (r *reader) index(n int) int {
	i := r.uvarint()
	if i >= uint64(n) {
		r.spoil()
		return 0
	}
	return int(i)
}

func (r *reader) numbers(into []uint64) {
	for i := range into {
		into[i] = r.uvarint()
	}
}
