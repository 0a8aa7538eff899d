package server

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// memory is the store that forgets everything with its process. The sensors'
// snapshots fill it again.
type memory struct {
	mu    sync.RWMutex // guards state
	state state
}

func newMemory(l limits, now func() time.Time) *memory {
	return &memory{state: newState(l, now)}
}

func (m *memory) apply(_ context.Context, w *netmonpb.Window) (ack, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.apply(w)
}

func (m *memory) install(_ context.Context, s *netmonpb.Snapshot) (ack, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.install(s)
}

func (m *memory) read(f func(*state)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	f(&m.state)
}

func (m *memory) ready() error { return nil }

func (m *memory) close() error { return nil }

func (m *memory) remove(_ context.Context, id string) (known bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.remove(id), nil
}

func (m *memory) heartbeat(_ context.Context, id string, about []byte) (known bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.heartbeat(id, about), nil
}

func (m *memory) sweep(context.Context) (forgotten []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.sweep(), nil
}

// apply is store.apply.
func (s *state) apply(w *netmonpb.Window) (ack, error) {
	sensor, log := s.find(w.SensorId, w.LogId)
	if log == nil && w.Sequence != 1 {
		return ack{}, refuse(codeUnknownLog, "log %x of sensor %s is not known here: send its snapshot", w.LogId, w.SensorId)
	}
	if log != nil {
		switch {
		case w.Sequence < log.watermark:
			return s.duplicate(sensor, log), nil
		case w.Sequence == log.watermark:
			if !bytes.Equal(w.Chain, log.chain) {
				return ack{}, log.conflict("window %d of log %x differs from the one held", w.Sequence, w.LogId)
			}
			return s.duplicate(sensor, log), nil
		case w.Sequence > log.watermark+1:
			r := refuse(codeOutOfSequence, "log %x is held through %d, not %d", w.LogId, log.watermark, w.Sequence-1)
			r.expected = log.watermark + 1
			return ack{}, r
		case !bytes.Equal(w.PreviousChain, log.chain):
			return ack{}, log.conflict("window %d of log %x does not follow the one held", w.Sequence, w.LogId)
		}
	}
	if log == nil {
		var err error
		if sensor, log, err = s.open(w.SensorId, w.LogId); err != nil {
			return ack{}, err
		}
	}
	s.addAll(sensor, log, w.Rows)
	s.bury(sensor)
	s.advance(sensor, log, w.Sequence, w.Chain, w.Ledger, w.EndNs)
	return ack{log.watermark, true}, nil
}

// install is store.install.
func (s *state) install(p *netmonpb.Snapshot) (ack, error) {
	sensor, log := s.find(p.SensorId, p.LogId)
	if log != nil {
		switch {
		case p.Sequence < log.watermark:
			return s.duplicate(sensor, log), nil
		case p.Sequence == log.watermark:
			if !bytes.Equal(p.Chain, log.chain) {
				return ack{}, log.conflict("the snapshot at %d of log %x differs from what is held", p.Sequence, p.LogId)
			}
			return s.duplicate(sensor, log), nil
		case log.folded:
			return ack{}, log.conflict("log %x was folded into its sensor's base and takes no snapshot", p.LogId)
		}
		s.empty(log)
	} else {
		var err error
		if sensor, log, err = s.open(p.SensorId, p.LogId); err != nil {
			return ack{}, err
		}
	}
	s.addAll(sensor, log, p.Rows)
	s.prune(sensor)
	s.bury(sensor)
	s.advance(sensor, log, p.Sequence, p.Chain, p.Ledger, p.EndNs)
	return ack{log.watermark, true}, nil
}

// duplicate acknowledges what is held already; it proves that the sensor lives.
func (s *state) duplicate(sensor *sensor, log *log) ack {
	log.seen = s.now()
	sensor.seen = log.seen
	return ack{log.watermark, false}
}

// advance ends a step: from here on windows 1..sequence are held.
func (s *state) advance(sensor *sensor, log *log, sequence uint64, chain []byte, ledger *netmonpb.Ledger, end uint64) {
	log.watermark = sequence
	log.chain = slices.Clone(chain)
	log.end = end
	log.conflicting = false
	if ledger != nil {
		total := ledger.Bytes // the message is not kept
		log.ledger = &total
	}
	s.duplicate(sensor, log)
}

// conflict refuses a message that another sensor under the same identity must
// have written: a clone, or a disk that was set back.
func (l *log) conflict(format string, args ...any) *refusal {
	r := refuse(codeConflict, format, args...)
	r.again = l.conflicting
	l.conflicting = true
	return r
}
