package server

import (
	"context"
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
	return m.state.take(&change{window: w})
}

func (m *memory) install(_ context.Context, s *netmonpb.Snapshot) (ack, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.take(&change{snapshot: s})
}

func (m *memory) read(f func(*state)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	view := m.state
	view.breathe = m.breathe
	f(&view)
}

// breathe lets writers in that wait for a long reader, while that does something else.
func (m *memory) breathe(meanwhile func()) {
	m.mu.RUnlock()
	meanwhile()
	m.mu.RLock()
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
	forgotten = m.state.silent()
	for _, id := range forgotten {
		m.state.remove(id)
	}
	return forgotten, nil
}
