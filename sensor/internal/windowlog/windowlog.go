// Package windowlog keeps the windows that exporters have yet to be sent, a
// snapshot of them all, and where each exporter stands.
package windowlog

import (
	"context"
	"errors"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// ErrFolded is returned by Next for a window that is in the snapshot only.
var ErrFolded = errors.New("window is folded into the snapshot")

// DefaultMaxBytes bounds a log that sets no bound.
const DefaultMaxBytes = 64 << 20

// Log is the queue of all exporters: windows 1, 2, 3 ... without holes. When it
// is full its oldest windows are left to the snapshot alone; nothing is ever
// dropped, and nothing is deleted because somebody acknowledged it.
//
// Append has one caller. Everything else may be called from any goroutine.
// Windows and snapshots handed out are read-only.
type Log interface {
	// ID is 16 random bytes that live as long as the log.
	ID() []byte

	// Append takes a window. It belongs to the log from here on, which gives it
	// its log id, sequence, chain and ledger and may add rows to it; rows already
	// there do not change. Append does not wait for a disk. Its error is that of
	// whoever made the window: nothing of it was kept.
	Append(w *netmonpb.Window) error

	// Next returns the window after sequence n. It waits until there is one,
	// the log is closed (io.EOF) or ctx is done. It returns ErrFolded when
	// that window is in the snapshot only.
	Next(ctx context.Context, n uint64) (*netmonpb.Window, error)

	// Snapshot returns the effect of windows 1..Last. Were it older, an exporter
	// that lost its state would for a moment show less than it had shown before:
	// a counter reset.
	Snapshot() *netmonpb.Snapshot

	// Last is the newest sequence, 0 when there is none.
	Last() uint64

	// Cursor returns the sequence through which exporter name has
	// acknowledged; SetCursor stores it.
	Cursor(name string) uint64
	SetCursor(name string, n uint64) error

	// Close ends every Next once its cursor has reached the end. Append must
	// not be called any more. The error says what did not get into the log.
	Close() error

	// Release stores the cursors and frees what the log holds, a few seconds
	// after Close at the latest. Nothing may be called after it.
	Release() error

	// Stats returns the figures at this moment.
	Stats() Stats
}

// Stats says how full the log is and how it fares.
type Stats struct {
	Windows  int    // kept one by one
	Bytes    int64  // of their encoding
	Folded   uint64 // windows in the totals only
	Rows     int    // of the totals
	Size     int64  // of the files, bytes; 0 in memory
	Gathered int    // windows in memory that the disk has yet to take
	Refused  error  // why the disk does not take them; nil while it does
	Errors   uint64 // writes that failed, and damage found
}
