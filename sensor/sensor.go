// Package sensor is the program netmon-sensor: rings feed shards, shards feed
// the join, the join appends windows to the log, and one sink per exporter
// reads the log. Nothing downstream calls back upstream.
package sensor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/export"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/windowlog"
)

// drainTimeout is how long, once a sensor was told to stop, its exporters have to
// take what is in the log. Ending them and closing the log comes on top; with all of
// it the sensor is gone within ten seconds.
const drainTimeout = 5500 * time.Millisecond

// holdTime is how long the counters of a flow wait for the flow's own name. A
// flow that shows one later is counted under what DNS knows until then.
const holdTime = 10 * time.Second

// Sensor is one live sensor. New wires it, Run runs it.
type Sensor struct {
	cfg    *config.Config
	logger hclog.Logger

	rings  *capture.Rings
	shards []*shard
	join   *join
	in     chan *harvest
	log    windowlog.Log
	sinks  []sink // when Run began; later see exporters
	status *status

	exporters exporters
	reloads   reloads
}

// New opens the rings and puts the parts together. No packet is read before
// Run. The error is capture.ErrPrivilege or *capture.NoInterfaceError where
// those are the cause.
func New(cfg *config.Config, version string, logger hclog.Logger, plugins pluginHost) (*Sensor, error) {
	s := &Sensor{cfg: cfg, logger: logger}
	s.reloads.host = plugins
	var err error
	limit := ceilingOf(cfg)
	if err := limit.check(cfg); err != nil {
		return nil, err
	}
	limit.apply()
	filter := captureFilter(cfg)
	if s.rings, err = capture.OpenRings(capture.Options{
		Interfaces:   cfg.Capture.Interfaces,
		Shards:       cfg.Capture.Shards,
		Fanout:       cfg.Capture.Fanout,
		RingMemory:   int64(cfg.Capture.RingMemory),
		BlockTimeout: cfg.Capture.BlockTimeout,
		Promiscuous:  cfg.Capture.Promiscuous,
		FullPackets:  cfg.Capture.Snap == "full",
		PinThreads:   cfg.Capture.Pin,
		Filter:       filter,
		Event:        func(text string) { logger.Named("capture").Info(text) },
	}); err != nil {
		return nil, err
	}
	if s.log, err = openLog(cfg, logger); err != nil {
		return nil, err
	}
	if s.sinks, err = openSinks(cfg, version, logger, s.log, plugins); err != nil {
		return nil, err
	}
	if s.status, err = newStatus(cfg.Status, version, s); err != nil {
		return nil, err
	}
	sources := s.rings.Sources()
	p, err := newPipeline(len(sources), cfg)
	if err != nil {
		return nil, err
	}
	s.exporters.set(s.sinks)
	p.join.changes = make(chan func())
	p.join.newest = &newest{}
	p.join.publish = s.append
	p.join.ifaces = func(i uint16) string { return s.rings.Interface(i).Name }
	p.join.gauges = (&ringFigures{rings: s.rings, ceiling: limit.total()}).add
	if filter.NeedsUserCheck() {
		p.check = filter
	}
	p.mtu = s.rings.MTU
	if filter.Count && filter.IgnoreLocalhost {
		p.loopback = s.rings.Loopback
	}
	local := func() localAddresses { return s.rings.Local() }
	for i, src := range sources {
		s.shards = append(s.shards, p.shard(i, src, sides{cfg.Capture.HomeNetworks, local}, names.DefaultLimits(), flow.Options{
			MaxFlows: max(cfg.Capture.MaxFlows/len(sources), 1), HoldNS: int64(holdTime),
			Scattered: len(sources) > 1 && cfg.Capture.Fanout != "hash",
		}))
	}
	s.join, s.in = p.join, p.in
	return s, nil
}

// Run captures until ctx is done, then drains the pipeline in its own order:
// shards, join, log, sinks.
func (s *Sensor) Run(ctx context.Context) error {
	s.describe()
	stopStatus := s.status.serve(s.logger.Named("status"))
	defer stopStatus()

	sinkCtx, killSinks := context.WithCancel(context.WithoutCancel(ctx))
	defer killSinks()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	capturing, ctx := errgroup.WithContext(ctx)
	for _, sh := range s.shards {
		capturing.Go(func() error { return sh.run(ctx) })
	}
	joined := make(chan error, 1)
	go func() { joined <- s.join.run(s.in, stop) }()

	var exporting errgroup.Group
	refused := make(chan error, len(s.sinks))
	for _, sink := range s.sinks {
		exporting.Go(func() error {
			err := sink.Start(sinkCtx)
			if errors.Is(err, export.ErrNoAnswer) {
				s.logger.Error("exporter does not answer, it is started again", "error", err)
			} else if err := sink.refused(err); err != nil {
				refused <- err
				stop() // ends the shards, then the join
				return nil
			}
			return sink.Run(sinkCtx)
		})
	}
	s.status.ready()
	context.AfterFunc(ctx, func() { time.AfterFunc(drainTimeout, killSinks) })
	s.exporters.begin(sinkCtx, &exporting)
	s.beginReloads(ctx)
	notify(s.logger, daemon.SdNotifyReady)

	err := errors.Join(capturing.Wait(), <-joined)
	notify(s.logger, daemon.SdNotifyStopping)
	s.reloads.end()
	s.rings.Close() // the join asked it for counters until now
	if err := s.log.Close(); err != nil {
		s.logger.Error("the log is incomplete", "error", err)
	}
	if undelivered := exporting.Wait(); undelivered != nil {
		s.logger.Error("stopped before every window was delivered", "error", undelivered, "log", kept(s.cfg))
	}
	if err := s.log.Release(); err != nil {
		s.logger.Error("the log was not closed in order", "error", err)
	}
	close(refused)
	for bad := range refused {
		err = errors.Join(err, bad)
	}
	return err
}

// kept says what becomes of windows that were not delivered.
func kept(cfg *config.Config) string {
	if cfg.Sensor.StateDir == "" {
		return "in memory, gone"
	}
	return "kept for the next start"
}

// append is the join's way to the log.
func (s *Sensor) append(start, end int64, rows []*netmonpb.Row) error {
	w := &netmonpb.Window{StartNs: uint64(start), EndNs: uint64(end), Rows: rows}
	err := s.log.Append(w)
	s.status.window(end, w.Rows) // with what the log had to add
	return err
}

// openLog goes on with the log in the state directory, or makes one.
func openLog(cfg *config.Config, logger hclog.Logger) (windowlog.Log, error) {
	if cfg.Sensor.StateDir == "" {
		return windowlog.NewMemory(windowlog.MemoryOptions{SensorID: cfg.Sensor.ID, MaxBytes: int64(cfg.Sensor.LogMaxBytes)}), nil
	}
	log, err := windowlog.Open(windowlog.DiskOptions{
		SensorID: cfg.Sensor.ID, Dir: cfg.Sensor.StateDir, MaxBytes: int64(cfg.Sensor.LogMaxBytes), Sync: cfg.Sensor.Sync,
		MaxRows: cfg.Views.MaxRows, IdleTimeout: cfg.Views.IdleTimeout, Logger: logger.Named("log"),
	})
	if err == nil {
		return log, nil
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w%s", err, fmt.Sprintf(stateHelp, cfg.Sensor.StateDir))
	}
	return nil, configError{fmt.Errorf("sensor { state_dir }: %w", err)}
}

const stateHelp = `
The sensor keeps there what its exporters have yet to be sent. Either make the
directory for the user that runs it, or do without what survives a restart:
  sudo install -d -m 700 -o "$USER" %s
  sensor { state_dir = "" } # in the configuration: keeps it in memory`

// Check starts every enabled exporter, has it check its configuration, and stops
// it again. No socket is opened.
func Check(ctx context.Context, cfg *config.Config, version string, logger hclog.Logger) error {
	_, err := checkSinks(ctx, cfg, version, logger)
	_, absent := capture.Match(cfg.Capture.Interfaces)
	return errors.Join(ceilingOf(cfg).check(cfg), err, absent)
}

// printConfig asks the exporters, too: what their options mean is theirs to say.
func printConfig(ctx context.Context, cfg *config.Config, version string, logger hclog.Logger) ([]byte, error) {
	sinks, err := checkSinks(ctx, cfg, version, logger)
	if err != nil {
		return nil, err
	}
	evaluated := map[string]config.Evaluated{}
	for _, sink := range sinks {
		schema, body := sink.Settings()
		evaluated[sink.label] = config.Evaluated{Schema: schema, JSON: body}
	}
	return cfg.Print(evaluated)
}

func captureFilter(cfg *config.Config) *capture.Filter {
	f := &capture.Filter{
		Protocols:       cfg.Filter.Protocols,
		IgnoreLocalhost: cfg.Filter.IgnoreLocalhost,
		IgnoreNets:      cfg.Filter.IgnoreNets,
		Count:           cfg.Filter.Count,
	}
	for _, p := range cfg.Filter.IgnorePorts {
		f.IgnorePorts = append(f.IgnorePorts, capture.PortRange(p))
	}
	return f
}

// describe logs what was opened, and why, where debug asks for it.
func (s *Sensor) describe() {
	log := s.logger.Named("capture")
	for _, note := range s.rings.Notes() {
		log.Warn(note)
	}
	if log.IsDebug() {
		for _, line := range s.rings.Describe() {
			log.Debug(line)
		}
	}
	log.Info("capturing", "interfaces", s.rings.Names(), "shards", len(s.shards), "window", s.cfg.Sensor.Interval)
	for _, sink := range s.sinks {
		s.logger.Debug("exporter", "label", sink.label, "status", fmt.Sprintf("%+v", sink.Status()))
	}
}
