// Package view sums named flows into the rows of a window: a list of views, each
// a set of key fields with a budget. It is pure.
package view

import (
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Names of rows that stand for many keys. No valid domain name has a parenthesis.
const (
	Unattributed = "(unattributed)" // no name known
	Other        = "(other)"        // keys beyond the budget
	Retired      = "(retired)"      // keys that were idle
	Excluded     = "(excluded)"     // what the name filters exclude
)

// Flow is what one flow did in the window, named. Sent is from our side.
type Flow struct {
	Interface   string
	Direction   netmonpb.Direction
	Domain      string // a valid name, Unattributed or Excluded
	Source      netmonpb.NameSource
	Remote      [16]byte // IPv4 in mapped form
	Protocol    uint8
	Application string

	BytesSent, BytesReceived     uint64
	PacketsSent, PacketsReceived uint64
	Connections, Accesses        uint64
}

// Options bounds a Set.
type Options struct {
	MaxRows     int           // per view, not counting the rows of sums
	IdleTimeout time.Duration // after which a row is retired
}
