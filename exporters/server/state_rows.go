package server

import (
	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// addAll applies the rows of a window or snapshot. Rows end after all were
// added, so that a series whose one row ends and whose other row begins goes on.
func (s *state) addAll(sensor *sensor, l *log, all []*netmonpb.Row) {
	var ending []*row
	for _, r := range all {
		to, own := s.add(sensor, l, r)
		if r.Retired && own && !reserved(r.Key) {
			ending = append(ending, to)
		}
	}
	for _, r := range ending {
		s.retire(sensor, l, r)
	}
}

// add adds one row, and says which row of the log took it and whether that is
// its own.
func (s *state) add(sensor *sensor, l *log, r *netmonpb.Row) (to *row, own bool) {
	to, own = s.at(sensor, l, r.Key)
	if c := r.Counters; c != nil {
		l.bytes[r.Key.View] += c.BytesSent + c.BytesReceived
		for _, p := range to.parts {
			if p != nil {
				p.counts.add(c)
				p.series.counts.add(c)
			}
		}
	}
	if r.Gauge != nil && l == sensor.logs[len(sensor.logs)-1] {
		for _, p := range to.parts {
			if p != nil {
				p.series.gauge, p.series.hasGauge = *r.Gauge, true
			}
		}
	}
	return to, own
}

// at returns the row of a key, a new one if need be. Beyond the budget that is
// the row (other) of the same view, interface and direction, and own is false.
func (s *state) at(sensor *sensor, l *log, k *netmonpb.Key) (r *row, own bool) {
	s.scratch = rows.AppendKey(s.scratch[:0], k)
	if r := l.rows[string(s.scratch)]; r != nil {
		return r, true
	}
	own = true
	if excess := max(len(l.rows)-s.room.log, sensor.rows-s.room.sensor); excess >= 0 {
		if k, own = otherKey(k, excess >= spareRows); !own {
			s.overflowed++
		}
		s.scratch = rows.AppendKey(s.scratch[:0], k)
		if r := l.rows[string(s.scratch)]; r != nil {
			return r, own
		}
	}
	r = &row{key: string(s.scratch)}
	targets, n := feeds(k)
	for i, to := range targets[:n] {
		r.parts[i] = s.part(sensor, l, to, k)
		r.parts[i].rows++
		r.parts[i].series.rows++
	}
	l.rows[r.key] = r
	s.count(sensor, 1)
	return r, own
}

// part connects a log with a series.
func (s *state) part(sensor *sensor, l *log, to target, k *netmonpb.Key) *part {
	s.scratch = appendLabels(s.scratch[:0], sensor.id, to.group, k)
	series := sensor.at(to).at(s.scratch, k)
	p := l.parts[series]
	if p == nil {
		p = &part{series: series}
		l.parts[series] = p
	}
	return p
}

// retire ends a row. A series that no other row leads to ends with it, and its
// value moves to its heir; where another does, the series goes on and keeps the
// value, for a counter that is shown never goes down.
func (s *state) retire(sensor *sensor, l *log, r *row) {
	if l.rows[r.key] != r {
		return // ended twice in one window
	}
	delete(l.rows, r.key)
	s.count(sensor, -1)
	for _, p := range r.parts {
		if p == nil {
			break
		}
		p.rows--
		if p.series.rows--; p.series.rows == 0 && p.series.sum == nil {
			s.bequeath(sensor, p.series)
		}
	}
}

// bequeath ends a series. Its value moves to its heir, log by log, so that a
// snapshot can still replace what its log added.
func (s *state) bequeath(sensor *sensor, from *series) {
	if k := from.heir(); k != nil && !from.counts.zero() {
		s.scratch = appendLabels(s.scratch[:0], sensor.id, from.group.id, k)
		heir := from.group.at(s.scratch, k)
		if heir == from {
			return
		}
		heir.counts.merge(&from.counts)
		for _, l := range sensor.logs {
			p := l.parts[from]
			if p == nil {
				continue
			}
			to := l.parts[heir]
			if to == nil {
				to = &part{series: heir}
				l.parts[heir] = to
			}
			to.counts.merge(&p.counts)
		}
	}
	for _, l := range sensor.logs {
		delete(l.parts, from)
	}
	from.group.remove(from)
}
