// Package export is the sensor's half of an exporter: a Sink owns one plugin
// process and its cursor in the window log. Whatever the plugin does, dies,
// hangs, floods or lies, only that cursor waits.
package export

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Log is where a Sink reads its windows and keeps its cursor. Windows and
// snapshots are read-only.
type Log interface {
	// ID is the log's identity, 16 bytes.
	ID() []byte
	// Next waits for the window after sequence n. It returns io.EOF when the log
	// is closed and n its last, and an error for which Options.IsFolded is true
	// when the window is in the snapshot only.
	Next(ctx context.Context, n uint64) (*netmonpb.Window, error)
	// Snapshot is the effect of windows 1..s for an s at or after the newest
	// folded window.
	Snapshot() *netmonpb.Snapshot
	// Last is the newest sequence, 0 for none.
	Last() uint64
	// Cursor and SetCursor keep what an exporter acknowledged, by its label.
	Cursor(name string) uint64
	SetCursor(name string, n uint64) error
}

// Settings is the body of an exporter block, which only the plugin's schema makes
// sense of.
type Settings interface {
	// Evaluate returns the body as a JSON object by the schema.
	Evaluate(schema *netmonpb.Block) ([]byte, error)
	// Explain returns ds as one error that shows their places in the file.
	Explain(ds []*netmonpb.Diagnostic) error
}

// Options is what a Sink has to know besides the settings of the exporter.
type Options struct {
	Label    string            // "server" or "server.name": name of the cursor and in logs
	Type     string            // what the plugin must say it is
	Name     string            // second label of the block
	Path     string            // of the plugin, as Find returns it
	Checksum string            // "sha256:..." of the file; "" is not checked
	Env      map[string]string // added to the plugin's environment
	User     string            // to run the plugin as; "" for the sensor's own
	Launcher *Launcher         // starts it, as a user of its own; nil: the sensor does
	Memory   int64             // bytes that the Launcher lets it have; 0: no bound

	SensorID   string
	Interval   time.Duration // of a window
	BaseDir    string        // of the config file
	RuntimeDir string        // for the sockets; "" is the system's place for temporary files
	Version    string        // of the sensor

	Logger   hclog.Logger
	IsFolded func(error) bool // tells Log's error for a folded window; nil when it never folds

	failed func(reason string, n uint64) // counts failures
}

// State is what a Sink is doing.
type State string

const (
	Starting State = "starting"
	Running  State = "running"
	Waiting  State = "waiting" // to start the plugin again
	Stopped  State = "stopped"
)

// Status is a Sink at one moment.
type Status struct {
	State        State
	PID          int      // 0 without a process
	Version      string   // of the plugin, as it says
	Listen       []string // addresses the plugin bound
	Since        time.Time
	Restarts     uint64 // starts after the first
	Sent         uint64 // sequence of the newest window sent to this process
	Acknowledged uint64 // sequence through which the exporter has everything
	Snapshots    uint64 // sent since the sensor started
	Skipped      uint64 // folded windows that an exporter without snapshots did not get
	LastError    string
	Failures     map[string]uint64 // by reason, of all its processes; read-only
}

// Sink owns one exporter: its plugin process and its cursor. Start, then Run,
// belong to one goroutine; Status and Reload may be called from any.
type Sink struct {
	options  Options
	settings Settings
	log      Log
	logger   hclog.Logger
	limits   limits

	live        *process // started by Start for Run
	starts      uint64
	cursorFails bool
	reloads     chan reload

	mu      sync.Mutex // guards what follows
	status  Status
	schema  *netmonpb.Block // of the plugin that was last configured, or checked
	applied []byte          // what it was configured with
}

// New returns a Sink that has not started anything.
func New(o Options, s Settings, l Log) *Sink {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.IsFolded == nil {
		o.IsFolded = func(error) bool { return false }
	}
	sink := &Sink{
		settings: s,
		log:      l,
		logger:   o.Logger.Named(o.Label),
		limits:   defaultLimits(),
		reloads:  make(chan reload),
		status:   Status{State: Starting, Since: time.Now()},
	}
	sink.options = o
	sink.options.failed = sink.failed
	return sink
}

// Reasons of failures that the sensor sees itself; others are the exporter's own.
const (
	failedFlush  = "flush"
	failedStop   = "stop"
	failedCursor = "cursor"
	failedLines  = "log_lines"
)

// failed counts failures. What a plugin calls them is bounded for each process; for
// all together it is here.
func (s *Sink) failed(reason string, n uint64) {
	s.update(func(st *Status) {
		all := maps.Clone(st.Failures)
		if all == nil {
			all = map[string]uint64{}
		}
		if _, known := all[reason]; !known && len(all) >= 2*maxReasons {
			reason = "other"
		}
		all[reason] += n
		st.Failures = all
	})
}

// Status tells how the exporter is.
func (s *Sink) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Sink) update(f func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.status)
}

func (s *Sink) enter(state State) {
	s.update(func(st *Status) {
		st.State, st.Since = state, time.Now()
		if state != Running {
			st.PID, st.Listen = 0, nil
		}
	})
}
