package server

import (
	"bytes"
	"slices"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// change is a window or snapshot, with all that its effect on its sensor depends
// on beside the sensor: the same changes in the same order make the same sensor,
// in this process or in another. Stores that keep a journal keep changes.
type change struct {
	at       time.Time
	room     room
	window   *netmonpb.Window
	snapshot *netmonpb.Snapshot
}

func (c *change) sensorID() string {
	if c.window != nil {
		return c.window.SensorId
	}
	return c.snapshot.SensorId
}

func (c *change) logID() []byte {
	if c.window != nil {
		return c.window.LogId
	}
	return c.snapshot.LogId
}

func (c *change) rows() []*netmonpb.Row {
	if c.window != nil {
		return c.window.Rows
	}
	return c.snapshot.Rows
}

// take is store.apply and store.install.
func (s *state) take(c *change) (ack, error) {
	if held, done, err := s.prepare(c, 0, 0); done {
		return held, err
	}
	return s.perform(c)
}

// prepare completes a change that can be performed now. If it cannot, done is
// true, and the answer is known. Rows and sensors that are about to be added count
// as there.
func (s *state) prepare(c *change, rows, sensors int) (held ack, done bool, err error) {
	sensor, log := s.find(c.sensorID(), c.logID())
	held, done, err = s.check(c, log)
	switch {
	case done && err == nil:
		sensor.seen = s.now() // it proves that the sensor lives
		return held, true, nil
	case done:
		return held, true, err
	case sensor == nil && len(s.sensors)+sensors >= s.limits.sensors:
		return ack{}, true, refuse(codeConflict, "there is no room for sensor %s: max_sensors is %d", c.sensorID(), s.limits.sensors)
	}
	var after sums
	own := 0
	if sensor != nil {
		after, own = sensor.sums, sensor.rows
	}
	if log != nil && c.snapshot != nil {
		after.subtract(&log.sums)
	}
	if !after.add(c.rows()) {
		return ack{}, true, refuse(codeInvalid, "a counter of sensor %s would reach 2^62", c.sensorID())
	}
	c.at = s.now()
	c.room = room{s.limits.rowsPerSensor, s.limits.rows - (s.rows - own) - rows}
	return ack{}, false, nil
}

// check holds a change against the prefix rule.
func (s *state) check(c *change, log *log) (held ack, done bool, err error) {
	switch w, p := c.window, c.snapshot; {
	case log == nil && w != nil && w.Sequence != 1:
		return ack{}, true, refuse(codeUnknownLog, "log %x of sensor %s is not known here: send its snapshot", w.LogId, w.SensorId)
	case log == nil:
		return ack{}, false, nil
	case w != nil && w.Sequence < log.watermark, p != nil && p.Sequence < log.watermark:
		return ack{log.watermark, false}, true, nil
	case w != nil && w.Sequence == log.watermark:
		if !bytes.Equal(w.Chain, log.chain) {
			return ack{}, true, log.conflict("window %d of log %x differs from the one held", w.Sequence, w.LogId)
		}
		return ack{log.watermark, false}, true, nil
	case w != nil && w.Sequence > log.watermark+1:
		r := refuse(codeOutOfSequence, "log %x is held through %d, not %d", w.LogId, log.watermark, w.Sequence-1)
		r.expected = log.watermark + 1
		return ack{}, true, r
	case w != nil && !bytes.Equal(w.PreviousChain, log.chain):
		return ack{}, true, log.conflict("window %d of log %x does not follow the one held", w.Sequence, w.LogId)
	case p != nil && p.Sequence == log.watermark:
		if !bytes.Equal(p.Chain, log.chain) {
			return ack{}, true, log.conflict("the snapshot at %d of log %x differs from what is held", p.Sequence, p.LogId)
		}
		return ack{log.watermark, false}, true, nil
	case p != nil && log.folded:
		return ack{}, true, log.conflict("log %x was folded into its sensor's base and takes no snapshot", p.LogId)
	}
	return ack{}, false, nil
}

// perform carries out a change that was prepared, here or elsewhere. What is held
// already changes nothing.
func (s *state) perform(c *change) (ack, error) {
	sensor, log := s.find(c.sensorID(), c.logID())
	if held, done, err := s.check(c, log); done {
		return held, err
	}
	s.room = c.room
	if log == nil {
		sensor, log = s.open(c.sensorID(), c.logID())
	} else if c.snapshot != nil {
		s.empty(sensor, log)
	}
	s.addAll(sensor, log, c.rows())
	log.sums.add(c.rows())
	sensor.sums.add(c.rows()) // prepare saw to it that it has room
	if w := c.window; w != nil {
		s.bury(sensor)
		log.advance(w.Sequence, w.Chain, w.Ledger, w.EndNs)
	} else {
		s.prune(sensor)
		s.bury(sensor)
		log.advance(c.snapshot.Sequence, c.snapshot.Chain, c.snapshot.Ledger, c.snapshot.EndNs)
	}
	sensor.steps++
	log.step = sensor.steps
	if c.at.After(sensor.seen) {
		sensor.seen = c.at
	}
	return ack{log.watermark, true}, nil
}

// advance ends a step: from here on windows 1..sequence are held.
func (l *log) advance(sequence uint64, chain []byte, ledger *netmonpb.Ledger, end uint64) {
	l.watermark = sequence
	l.chain = slices.Clone(chain)
	l.end = end
	l.conflicting = false
	if ledger != nil {
		total := ledger.Bytes // the message is not kept
		l.ledger = &total
	}
}

// conflict refuses a message that another sensor under the same identity must
// have written: a clone, or a disk that was set back.
func (l *log) conflict(format string, args ...any) *refusal {
	r := refuse(codeConflict, format, args...)
	r.again = l.conflicting
	l.conflicting = true
	return r
}
