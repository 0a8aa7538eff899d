package windowlog

import (
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// MemoryOptions configure a Memory.
type MemoryOptions struct {
	SensorID string
	// MaxBytes bounds the encoded windows kept; DefaultMaxBytes where 0. The
	// newest window is kept whatever its size. The totals come on top: they have
	// a row for each row of the sensor's views, so their budget bounds them.
	MaxBytes int64
	Now      func() time.Time // default time.Now
}

var _ Log = (*Memory)(nil)

// Memory is a Log that ends with the process: its successor has another ID and
// starts at sequence 1, and exporters keep the two apart.
//
// Windows are kept encoded, which takes a fifth of the memory and leaves nothing
// for the garbage collector to scan.
type Memory struct{ core }

// NewMemory returns an empty log with an ID of its own.
func NewMemory(o MemoryOptions) *Memory {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Memory{}
	m.begin(newID(), o.SensorID, o.Now(), &memoryStore{maxBytes: o.MaxBytes})
	return m
}

func newID() []byte {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return id
}

// Append implements Log.
func (m *Memory) Append(w *netmonpb.Window) error {
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return fmt.Errorf("append window %d: the log is closed", m.last.sequence+1)
	}
	p, err := audit(w)
	if err != nil {
		return err
	}
	return m.commit([]pending{p}, false)
}

// Close implements Log. The windows stay readable.
func (m *Memory) Close() error {
	m.end()
	return nil
}

// Release implements Log.
func (m *Memory) Release() error { return nil }

// memoryStore keeps windows as they are.
type memoryStore struct {
	maxBytes int64

	mu      sync.Mutex // guards what follows
	first   uint64     // sequence of windows[0]
	windows []encoded
}

func (s *memoryStore) put(b *batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.windows) == 0 {
		s.first = b.first
	}
	s.windows = append(s.windows, b.windows...)
	for s.first <= b.folded && len(s.windows) > 0 {
		s.windows[0], s.windows = nil, s.windows[1:]
		s.first++
	}
	return nil
}

func (s *memoryStore) get(n uint64) (encoded, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < s.first || n >= s.first+uint64(len(s.windows)) {
		return nil, fmt.Errorf("no window %d", n)
	}
	return s.windows[n-s.first], nil
}

func (s *memoryStore) room() int64             { return s.maxBytes }
func (s *memoryStore) snapshotDue(*batch) bool { return false }
func (s *memoryStore) size() int64             { return 0 }
func (s *memoryStore) close() error            { return nil }
