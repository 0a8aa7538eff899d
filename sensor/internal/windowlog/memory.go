package windowlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// ErrFolded is returned by Next for a window that is in the snapshot only.
var ErrFolded = errors.New("window is folded into the snapshot")

// DefaultMaxBytes bounds a log that sets no bound.
const DefaultMaxBytes = 64 << 20

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
// for the garbage collector to scan. Only the newest stays decoded as well, since
// exporters that keep up ask for no other.
type Memory struct {
	id       []byte
	sensorID string
	maxBytes int64
	created  time.Time

	// mu guards everything below. last changes under it and by Append's caller
	// only, so that one may read it without.
	mu      sync.Mutex
	windows []encoded // of the sequences after folded
	bytes   int64
	last    head
	newest  *netmonpb.Window
	folded  uint64      // windows 1..folded are in the totals only
	totals  rows.Totals // of windows 1..last.sequence
	cursors map[string]uint64
	closed  bool
	more    chan struct{} // closed, and replaced, when there is news for Next

	snapshot *netmonpb.Snapshot // of totals; nil: nobody has asked since it changed
}

type encoded []byte

// head is what a window leaves to the one after it.
type head struct {
	sequence uint64
	end      uint64
	chain    []byte
	ledger   *netmonpb.Ledger
}

// NewMemory returns an empty log with an ID of its own.
func NewMemory(o MemoryOptions) *Memory {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Memory{
		id: make([]byte, 16), sensorID: o.SensorID, maxBytes: o.MaxBytes, created: o.Now(),
		cursors: make(map[string]uint64), more: make(chan struct{}),
	}
	rand.Read(m.id) // never fails
	m.last.ledger = &netmonpb.Ledger{}
	return m
}

// ID implements Log.
func (m *Memory) ID() []byte { return slices.Clone(m.id) }

// Append implements Log. It refuses a window whose traffic views sum to
// different totals, and then keeps nothing of it: whoever made it has a bug.
func (m *Memory) Append(w *netmonpb.Window) error {
	sum, err := agree(w.Rows)
	if err != nil {
		return fmt.Errorf("append window %d: %w", m.last.sequence+1, err)
	}
	w.LogId, w.SensorId, w.Sequence, w.PreviousChain = m.id, m.sensorID, m.last.sequence+1, m.last.chain
	w.Ledger = &netmonpb.Ledger{
		Packets:     m.last.ledger.Packets + sum.Packets,
		Bytes:       m.last.ledger.Bytes + sum.Bytes,
		Connections: m.last.ledger.Connections + sum.Connections,
	}
	wire, err := rows.Seal(w)
	if err != nil {
		return err
	}
	return m.keep(w, wire)
}

func (m *Memory) keep(w *netmonpb.Window, wire []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("append window %d: the log is closed", w.Sequence)
	}
	m.windows = append(m.windows, wire)
	m.bytes += int64(len(wire))
	m.last = head{sequence: w.Sequence, end: w.EndNs, chain: w.Chain, ledger: w.Ledger}
	m.newest = w
	m.totals.Apply(w.Rows)
	m.snapshot = nil
	m.fold()
	m.wake()
	return nil
}

// wake lets every waiting Next look again. m.mu is held.
func (m *Memory) wake() {
	close(m.more)
	m.more = make(chan struct{})
}

// fold leaves the older half of the windows to the totals once they are too many.
// Half, because an exporter that has just installed the snapshot should find the
// windows after it still there. m.mu is held.
func (m *Memory) fold() {
	if m.bytes <= m.maxBytes {
		return
	}
	for m.bytes > m.maxBytes/2 && len(m.windows) > 1 {
		m.folded++
		m.bytes -= int64(len(m.windows[0]))
		m.windows[0], m.windows = nil, m.windows[1:]
	}
}

// Next implements Log. A window that is there is returned even if ctx is done.
func (m *Memory) Next(ctx context.Context, n uint64) (*netmonpb.Window, error) {
	for {
		m.mu.Lock()
		first, last, closed, more := m.folded+1, m.last.sequence, m.closed, m.more
		newest := m.newest
		var wire encoded
		if n+1 >= first && n < last {
			wire = m.windows[n+1-first]
		}
		m.mu.Unlock()

		switch {
		case n+1 < first:
			return nil, ErrFolded
		case n+1 == last:
			return newest, nil
		case wire != nil:
			return decode(wire)
		case closed:
			return nil, io.EOF
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Snapshot implements Log.
func (m *Memory) Snapshot() *netmonpb.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.snapshot == nil {
		m.snapshot = &netmonpb.Snapshot{
			LogId: m.id, Sequence: m.last.sequence, SensorId: m.sensorID,
			EndNs: m.last.end, Chain: m.last.chain, Ledger: m.last.ledger,
			Rows: m.totals.Rows(), CreatedNs: uint64(m.created.UnixNano()),
		}
	}
	return m.snapshot
}

// Last implements Log.
func (m *Memory) Last() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last.sequence
}

// Cursor implements Log.
func (m *Memory) Cursor(name string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursors[name]
}

// SetCursor implements Log. A cursor may go back, but not beyond the end.
func (m *Memory) SetCursor(name string, n uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > m.last.sequence {
		return fmt.Errorf("set cursor of %s to %d: the log ends at %d", name, n, m.last.sequence)
	}
	m.cursors[name] = n
	return nil
}

// Close implements Log. The windows stay readable.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		m.wake()
	}
	return nil
}

// Stats says how full the log is.
type Stats struct {
	Windows int    // kept one by one
	Bytes   int64  // of their encoding
	Folded  uint64 // windows in the totals only
	Rows    int    // of the totals
}

// Stats returns the figures at this moment.
func (m *Memory) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Stats{len(m.windows), m.bytes, m.folded, m.totals.Len()}
}

func decode(wire encoded) (*netmonpb.Window, error) {
	w := &netmonpb.Window{}
	if err := proto.Unmarshal(wire, w); err != nil {
		return nil, fmt.Errorf("decode window: %w", err)
	}
	return w, nil
}

// agree checks that the traffic views have the same totals and returns them.
func agree(rs []*netmonpb.Row) (*netmonpb.Ledger, error) {
	domains := rows.Sum(rs, netmonpb.View_VIEW_DOMAINS)
	for _, v := range []netmonpb.View{netmonpb.View_VIEW_ADDRESSES, netmonpb.View_VIEW_PROTOCOLS} {
		if other := rows.Sum(rs, v); !proto.Equal(domains, other) {
			return nil, fmt.Errorf("views disagree: domains sum to %v, %v to %v", domains, v, other)
		}
	}
	return domains, nil
}
