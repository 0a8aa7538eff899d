package export

import (
	"context"
	"fmt"
	"sync"
)

// maxInFlight is how many windows are under way to a plugin unacknowledged.
const maxInFlight = 4

// flight is what was sent on one stream and not yet acknowledged. The goroutine
// that sends and the one that receives share it.
type flight struct {
	room chan struct{} // one token for each window under way

	mu     sync.Mutex // guards what follows
	sent   []uint64   // under way, ascending
	newest uint64     // highest sequence sent, or where the stream began
	acked  uint64
	ended  bool // nothing more will be sent
}

func newFlight(after uint64) *flight {
	return &flight{room: make(chan struct{}, maxInFlight), newest: after, acked: after}
}

// reserve waits for room for one more.
func (f *flight) reserve(ctx context.Context) error {
	select {
	case f.room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// depart notes that sequence n is being sent.
func (f *flight) depart(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, n)
	f.newest = n
}

// arrive takes an acknowledgement through n.
func (f *flight) arrive(n uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case n > f.newest:
		return fmt.Errorf("the plugin acknowledged window %d, but only %d were sent", n, f.newest)
	case n < f.acked:
		return fmt.Errorf("the plugin acknowledged window %d after %d", n, f.acked)
	}
	f.acked = n
	for len(f.sent) > 0 && f.sent[0] <= n {
		f.sent = f.sent[1:]
		<-f.room
	}
	return nil
}

// end says that nothing more will be sent.
func (f *flight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
}

// landed is nil when everything was sent and acknowledged.
func (f *flight) landed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended || len(f.sent) > 0 {
		return fmt.Errorf("the plugin ended its stream after window %d of %d", f.acked, f.newest)
	}
	return nil
}
