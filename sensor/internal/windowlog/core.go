package windowlog

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// core is what the log in memory and the log on disk have in common: everything
// but where the encoded windows are kept, and who calls commit.
//
// A window is offered to exporters once its batch is committed, never before: what
// somebody has seen is in the store.
type core struct {
	id       []byte
	sensorID string
	created  time.Time

	// mu guards everything below. last changes under it and by commit's caller
	// only, so that one may read it without. The store has its own lock.
	mu       sync.Mutex
	store    store
	sizes    []int // of the encoded windows after folded
	bytes    int64 // their sum
	last     head
	newest   *netmonpb.Window // decoded, since exporters that keep up ask for no other; may be nil
	folded   uint64           // windows 1..folded are in the totals only
	totals   rows.Totals      // of windows 1..last.sequence
	cursors  map[string]uint64
	closed   bool
	more     chan struct{}      // closed, and replaced, when there is news for Next
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

// store keeps encoded windows. get may be called from any goroutine, put from one
// at a time.
type store interface {
	// put keeps the batch, all of it or nothing. On a disk it is there to stay
	// when put returns.
	put(*batch) error
	// get returns window n.
	get(n uint64) (encoded, error)
	// room is how many bytes of windows there is room for.
	room() int64
	// snapshotDue tells whether the batch should come with a snapshot, beside
	// one that folds, which does in any case.
	snapshotDue(*batch) bool
	// size is that of the files, in bytes.
	size() int64
	close() error
}

// batch is one step of a log.
type batch struct {
	first    uint64 // sequence of windows[0]
	windows  []encoded
	folded   uint64             // windows through this one may go
	snapshot *netmonpb.Snapshot // from which the totals are rebuilt; nil: that of an earlier batch
	cursors  map[string]uint64
	clean    bool // nothing follows
}

func (c *core) begin(id []byte, sensorID string, created time.Time, s store) {
	c.id, c.sensorID, c.created, c.store = id, sensorID, created, s
	c.cursors, c.more = make(map[string]uint64), make(chan struct{})
	c.totals, c.snapshot, c.last = rows.Totals{}, nil, head{ledger: &netmonpb.Ledger{}}
}

// ID implements Log.
func (c *core) ID() []byte { return slices.Clone(c.id) }

// pending is a window that has no sequence yet, with the totals of its rows.
type pending struct {
	window *netmonpb.Window
	sum    *netmonpb.Ledger
}

// audit refuses a window whose traffic views sum to different totals: whoever made
// it has a bug.
func audit(w *netmonpb.Window) (pending, error) {
	domains := rows.Sum(w.Rows, netmonpb.View_VIEW_DOMAINS)
	for _, v := range []netmonpb.View{netmonpb.View_VIEW_ADDRESSES, netmonpb.View_VIEW_PROTOCOLS} {
		if other := rows.Sum(w.Rows, v); !proto.Equal(domains, other) {
			return pending{}, fmt.Errorf("append window to %d: views disagree: domains sum to %v, %v to %v", w.EndNs, domains, v, other)
		}
	}
	return pending{w, domains}, nil
}

// seal gives a window its place after at and returns its encoding.
func (c *core) seal(p pending, at head) (encoded, head, error) {
	w := p.window
	w.LogId, w.SensorId, w.Sequence, w.PreviousChain = c.id, c.sensorID, at.sequence+1, at.chain
	w.Ledger = &netmonpb.Ledger{
		Packets:     at.ledger.Packets + p.sum.Packets,
		Bytes:       at.ledger.Bytes + p.sum.Bytes,
		Connections: at.ledger.Connections + p.sum.Connections,
	}
	wire, err := rows.Seal(w)
	return wire, head{sequence: w.Sequence, end: w.EndNs, chain: w.Chain, ledger: w.Ledger}, err
}

// commit puts windows into the store, in one step with the cursors and with the
// fold that makes room for them, and then offers them. It has one caller at a
// time. After an error nothing has changed, but for the sequences in ps, which
// mean nothing. clean says that nothing will follow.
func (c *core) commit(ps []pending, clean bool) error {
	b := &batch{first: c.last.sequence + 1, clean: clean}
	at, size := c.last, int64(0)
	for _, p := range ps {
		wire, next, err := c.seal(p, at)
		if err != nil {
			return err
		}
		b.windows, at, size = append(b.windows, wire), next, size+int64(len(wire))
	}
	c.mu.Lock()
	s := c.store
	b.cursors = maps.Clone(c.cursors)
	b.folded = c.foldable(size, s.room())
	folds := b.folded > c.folded
	c.mu.Unlock()
	if folds || s.snapshotDue(b) {
		b.snapshot = c.Snapshot()
	}
	if err := s.put(b); err != nil {
		return err
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.foldTo(b.folded)
	for i, p := range ps {
		c.sizes = append(c.sizes, len(b.windows[i]))
		c.bytes += int64(len(b.windows[i]))
		c.totals.Apply(p.window.Rows)
		c.newest = p.window
	}
	c.last = at
	if len(ps) > 0 {
		c.snapshot = nil
		c.wake()
	}
	return nil
}

// foldable is through which window to fold so that more bytes have room: not at
// all, or the older half. Half, because an exporter that has just installed the
// snapshot should find the windows after it still there. c.mu is held.
func (c *core) foldable(more, room int64) uint64 {
	folded, bytes := c.folded, c.bytes+more
	if bytes <= room {
		return folded
	}
	for _, size := range c.sizes {
		if bytes <= room/2 {
			break
		}
		folded++
		bytes -= int64(size)
	}
	return folded
}

// foldTo leaves the windows through n to the totals. c.mu is held.
func (c *core) foldTo(n uint64) {
	for ; c.folded < n && len(c.sizes) > 0; c.folded++ {
		c.bytes -= int64(c.sizes[0])
		c.sizes = c.sizes[1:]
	}
}

// wake lets every waiting Next look again. c.mu is held.
func (c *core) wake() {
	close(c.more)
	c.more = make(chan struct{})
}

// Next implements Log. A window that is there is returned even if ctx is done.
func (c *core) Next(ctx context.Context, n uint64) (*netmonpb.Window, error) {
	for {
		c.mu.Lock()
		folded, last, closed, more := c.folded, c.last.sequence, c.closed, c.more
		newest, s := c.newest, c.store
		c.mu.Unlock()

		switch {
		case n < folded:
			return nil, ErrFolded
		case n+1 == last && newest != nil:
			return newest, nil
		case n < last:
			w, err := read(s, n+1)
			if err == nil {
				return w, nil
			}
			c.unreadable(n+1, err)
			continue
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

// unreadable leaves a window that the store cannot give back, and those before it,
// to the totals, which have it. It may also have been folded a moment ago.
func (c *core) unreadable(n uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > c.folded {
		if s, ok := c.store.(interface{ damaged(uint64, error) }); ok {
			s.damaged(n, err)
		}
		c.foldTo(n)
	}
}

// Snapshot implements Log.
func (c *core) Snapshot() *netmonpb.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snapshot == nil {
		c.snapshot = &netmonpb.Snapshot{
			LogId: c.id, Sequence: c.last.sequence, SensorId: c.sensorID,
			EndNs: c.last.end, Chain: c.last.chain, Ledger: c.last.ledger,
			Rows: c.totals.Rows(), CreatedNs: uint64(c.created.UnixNano()),
		}
	}
	return c.snapshot
}

// Last implements Log.
func (c *core) Last() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.sequence
}

// Cursor implements Log.
func (c *core) Cursor(name string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursors[name]
}

// maxCursors bounds the exporters whose place is remembered, those that were
// removed from the configuration included.
const maxCursors = 256

// SetCursor implements Log. A cursor may go back, but not beyond the end. On disk
// it is stored with the next batch.
func (c *core) SetCursor(name string, n uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > c.last.sequence {
		return fmt.Errorf("set cursor of %s to %d: the log ends at %d", name, n, c.last.sequence)
	}
	if _, known := c.cursors[name]; !known && len(c.cursors) >= maxCursors {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(c.cursors)), func(a, b string) int {
			return int(min(c.cursors[a], 1<<62)) - int(min(c.cursors[b], 1<<62))
		})
		delete(c.cursors, oldest)
	}
	c.cursors[name] = n
	return nil
}

// end lets every Next come to its end.
func (c *core) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.wake()
	}
}

// Stats implements Log.
func (c *core) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Windows: len(c.sizes), Bytes: c.bytes, Folded: c.folded, Rows: c.totals.Len(), Size: c.store.size(),
	}
}

func read(s store, n uint64) (*netmonpb.Window, error) {
	wire, err := s.get(n)
	if err != nil {
		return nil, err
	}
	w := &netmonpb.Window{}
	if err := proto.Unmarshal(wire, w); err != nil {
		return nil, fmt.Errorf("decode window %d: %w", n, err)
	}
	if w.Sequence != n {
		return nil, fmt.Errorf("where window %d belongs there is %d", n, w.Sequence)
	}
	return w, nil
}
