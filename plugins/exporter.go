// Package plugins is the exporter SDK: what a program needs to receive the
// windows of a netmon sensor. See examples/stdout-exporter for a complete one.
package plugins

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Exporter receives the windows of one sensor.
//
// The SDK calls Start once it has decoded the configuration into the value that
// Config returned, then Export for one window at a time in order, then Stop. It
// never calls two methods at once. On reload it starts another Exporter before
// it stops this one.
type Exporter interface {
	// Config returns a pointer to the struct that the exporter block is decoded
	// into. It holds the defaults; its tags are the schema (see Schema).
	Config() any

	// Start takes the decoded configuration into use. A *Problem (or several,
	// joined with errors.Join) is shown at its place in the user's file. An
	// address in use or an error that wraps ErrBusy on reload makes the SDK stop
	// the Exporter that runs, then try again. After an error Stop is not called.
	// ctx bounds the start alone.
	Start(ctx context.Context, host Host) error

	// Export takes one window, read-only. When it returns nil the window is
	// acknowledged: it must be safe, for it is not sent again unless the
	// process dies. Any error is retried with the same window after a pause; a
	// *Rewind says where to go on instead. ctx ends after a minute, or when the
	// window is not wanted any more; a call that ignores it for another minute
	// is taken for hung, and the process ends.
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

// Keeper is an Exporter whose state outlives its process.
type Keeper interface {
	Exporter
	// Held is asked after Start: windows 1..n of this log are here from an
	// earlier life, so that the sensor goes on after n. 0 is nothing: a
	// SnapshotExporter is sent a snapshot, any other goes on after the last
	// window it acknowledged.
	Held(ctx context.Context, logID []byte) (n uint64)
}

// Flusher is an Exporter that acknowledges a window before it has arrived
// where it goes, for instance in a file that was not synced.
type Flusher interface {
	Exporter
	// Flush returns when all that was acknowledged has arrived.
	Flush(ctx context.Context) error
}

// Checker is an Exporter that can find mistakes the schema cannot express.
type Checker interface {
	// Check looks at the decoded configuration without using it: no sockets,
	// no files written. Relative paths begin at baseDir. It returns a *Problem
	// or several joined.
	Check(baseDir string) error
}

// Host is what an exporter learns of the sensor that runs it.
type Host struct {
	SensorID string
	LogID    []byte        // identity of the window log, 16 bytes
	Interval time.Duration // length of a window
	Name     string        // second label of the exporter block
	BaseDir  string        // directory of the config file, for relative paths
	Logger   hclog.Logger

	// Bound may be called in Start with the addresses that were really bound.
	Bound func(addresses ...string)

	// Failed counts an attempt to deliver that failed and will be made again, by its
	// reason: one of a few words of a-z and _, at most 32 bytes long. What is none is
	// counted as "other", and so is what comes when there are 32. The sensor shows the
	// counts. It may be called from any goroutine. An Export that returns an error
	// counts by itself, as "export".
	Failed func(reason string)
}

// Path resolves a path of the configuration: a relative one starts at BaseDir.
func (h Host) Path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(h.BaseDir, path)
}

// ErrBusy is wrapped by an error of Start that says: what I need is held by the
// Exporter that still runs, a lock or a file.
var ErrBusy = errors.New("in use by the exporter that still runs")

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
	Cause   error
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Summary
	}
	return p.Summary + ": " + p.Detail
}

// Unwrap returns what caused the problem, or nil.
func (p *Problem) Unwrap() error { return p.Cause }

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

	// For the manual, which the program prints with -man: the flags of Standalone,
	// and paragraphs about it. Both may be left out.
	Flags func(*flag.FlagSet)
	About string
}
