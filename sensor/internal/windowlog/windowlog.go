// Package windowlog keeps the windows that exporters have yet to be sent, a
// snapshot of them all, and where each exporter stands.
package windowlog

import (
	"context"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Log is the queue of all exporters: windows 1, 2, 3 ... without holes. When it
// is full its oldest windows are left to the snapshot alone; nothing is ever
// dropped, and nothing is deleted because somebody acknowledged it.
//
// Append has one caller. Everything else may be called from any goroutine.
// Windows and snapshots handed out are read-only.
type Log interface {
	// ID is 16 random bytes that live as long as the log.
	ID() []byte

	// Append gives w its log id, sequence, chain and ledger, and keeps it. w
	// belongs to the log from here on.
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
	// not be called any more.
	Close() error
}
