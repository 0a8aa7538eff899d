// Package plugins is the exporter SDK: what a program needs to receive the
// windows of a netmon sensor. See examples/stdout-exporter for a complete one.
package plugins

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Exporter receives the windows of one sensor.
//
// The SDK calls Start once it has decoded the configuration into the value that
// Config returned, then Export for one window at a time in order, then Stop. It
// never calls two methods at once.
type Exporter interface {
	// Config returns a pointer to the struct that the exporter block is decoded
	// into. It holds the defaults; its tags are the schema (see Schema).
	Config() any

	// Start takes the decoded configuration into use. A *Problem (or several,
	// joined with errors.Join) is shown at its place in the user's file.
	Start(ctx context.Context, host Host) error

	// Export takes one window, read-only. When it returns nil the window is
	// acknowledged: it must be safe, for it is not sent again unless the
	// process dies. Any error is retried with the same window after a pause; a
	// *Rewind says where to go on instead.
	Export(ctx context.Context, w *netmonpb.Window) error

	// Stop releases what Start took. The process is killed when ctx ends.
	Stop(ctx context.Context) error
}

// SnapshotExporter is an Exporter that keeps cumulative state. It is sent a
// snapshot before the first window, and whenever its windows were folded away.
type SnapshotExporter interface {
	Exporter
	// Install replaces the state of the snapshot's log by the snapshot.
	Install(ctx context.Context, s *netmonpb.Snapshot) error
}

// Checker is an Exporter that can find mistakes the schema cannot express.
type Checker interface {
	// Check looks at the decoded configuration without using it: no sockets,
	// no files written. It returns a *Problem or several joined.
	Check() error
}

// Host is what an exporter learns of the sensor that runs it.
type Host struct {
	SensorID string
	LogID    []byte        // identity of the window log, 16 bytes
	Interval time.Duration // length of a window
	Name     string        // second label of the exporter block
	BaseDir  string        // directory of the config file, for relative paths
	Logger   hclog.Logger

	// Bound may be called with the addresses that were really bound.
	Bound func(addresses ...string)
}

// Rewind is returned by Export and Install to continue elsewhere.
type Rewind struct {
	// After is the sequence the exporter holds; 0 asks for a snapshot.
	After uint64
	Cause string
}

func (r *Rewind) Error() string {
	return fmt.Sprintf("rewind to %d: %s", r.After, r.Cause)
}

// Problem is a mistake in the configuration.
type Problem struct {
	// Path leads to the option from the top of the exporter block: names of
	// nested blocks and attributes, map keys, list indices in decimal.
	Path    []string
	Summary string // one line, no full stop
	Detail  string
	Warning bool // shown, but no reason not to start
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Summary
	}
	return p.Summary + ": " + p.Detail
}

// Plugin describes an exporter program.
type Plugin struct {
	Type    string // "push": the program is netmon-exporter-push
	Version string
	Summary string // one line
	New     func() Exporter

	// Standalone, where set, runs the program when it was not started by a
	// sensor; args are the arguments after the program's name. It returns the
	// exit code.
	Standalone func(args []string) int
}
