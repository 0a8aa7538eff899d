package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
)

// Options are the command line of netmon-sensor.
type Options struct {
	Config    string // file or folder; "" with Pcap only
	Check     bool   // check the configuration and return
	Print     bool   // print the configuration as it is in effect and return
	Pcap      string // replay this file
	Shards    int    // of a replay; 0: one
	Flows     bool   // a replay prints every flow
	Explain   string // a replay prints why flows have their names
	Debug     bool
	LogLevel  string // overrides the configuration where set
	LogFormat string
	Version   string

	Reload <-chan os.Signal // each of them reads the configuration again

	root bool // whether it was started as root, and may since have become another

	Stdout, Stderr io.Writer
}

// VersionText is what the sensor says with -version.
func VersionText(version string) string { return plugins.VersionText("netmon-sensor", version) }

// Causes that have an exit code of their own.
var (
	ErrConfig      = errors.New("configuration")
	ErrPrivilege   = capture.ErrPrivilege
	ErrNoInterface = capture.ErrNoInterface
)

// configError is a mistake in the configuration or in what it names. It is
// ErrConfig and prints as the mistake alone.
type configError struct{ error }

func (e configError) Is(target error) bool { return target == ErrConfig }
func (e configError) Unwrap() error        { return e.error }

// Main runs what the command line asks for.
func Main(ctx context.Context, o Options) error {
	o.root = os.Geteuid() == 0
	cfg := new(config.Default())
	if o.Config != "" {
		var err error
		if cfg, err = loadConfig(o); err != nil {
			return err
		}
	}
	logger, closeLog, err := newLogger(o, cfg)
	if err != nil {
		return err
	}
	defer closeLog()

	switch {
	case o.Check:
		err := Check(ctx, cfg, o.Version, logger)
		if err == nil || int64(cfg.Sensor.MemoryLimit) > 0 {
			ceilingOf(cfg).print(o.Stdout)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(o.Stdout, "%s: fine\n", o.Config)
		return nil
	case o.Print:
		text, err := printConfig(ctx, cfg, o.Version, logger)
		if err == nil {
			_, err = o.Stdout.Write(text)
		}
		return err
	case o.Pcap != "":
		r := ReplayOptions{Path: o.Pcap, Shards: o.Shards, Flows: o.Flows, Explain: o.Explain, Version: o.Version, Logger: logger}
		if r.Shards <= 0 {
			r.Shards = 1 // each shard walks the whole file: more of them cost more and gain little
		}
		if o.Config != "" {
			r.Config = cfg
		}
		return Replay(ctx, o.Stdout, r)
	}
	return run(ctx, o, cfg, logger)
}

// run is the live sensor: everything is opened, then what that took is given up,
// then packets are read.
func run(ctx context.Context, o Options, cfg *config.Config, logger hclog.Logger) error {
	p, err := startPrivileges(cfg)
	if err != nil {
		return err
	}
	defer p.close()
	s, err := New(cfg, o.Version, logger, pluginHost{p.launcher, p.runtimeDir})
	if err != nil {
		return err
	}
	if err := p.drop(ownFiles(cfg), logger.Named("confine")); err != nil {
		return err
	}
	s.status.privileges = p
	s.reloads.load = func() (*config.Config, error) { return loadConfig(o) }
	s.reloads.level = func(cfg *config.Config) hclog.Level { return hclog.LevelFromString(logLevel(o, cfg)) }
	s.reloads.asked = o.Reload
	return s.Run(ctx)
}

// logLevel is the configuration's, where the command line has none.
func logLevel(o Options, cfg *config.Config) string {
	switch {
	case o.Debug:
		return "debug"
	case o.LogLevel != "":
		return o.LogLevel
	}
	return cfg.Log.Level
}

// ownFiles are the files and directories that a live sensor writes.
func ownFiles(cfg *config.Config) (own []string) {
	if cfg.Log.Output != "stderr" && cfg.Log.Output != "stdout" {
		own = append(own, cfg.Log.Output)
	}
	if cfg.Sensor.StateDir != "" {
		own = append(own, cfg.Sensor.StateDir)
	}
	return own
}

// loadConfig reads the configuration and lets the command line override it.
// Warnings are printed; mistakes are the error.
func loadConfig(o Options) (*config.Config, error) {
	if err := refuseWritable(o.Config); err != nil && o.root {
		return nil, configError{err}
	} else if err != nil {
		fmt.Fprintln(o.Stderr, "Warning:", err)
	}
	cfg, warnings, err := config.Load(o.Config)
	if err != nil {
		return nil, configError{err}
	}
	if warnings != "" {
		fmt.Fprintln(o.Stderr, warnings)
	}
	return cfg, nil
}

// newLogger opens the log as flags and configuration say. Replay and -check-config
// keep standard output for their result.
func newLogger(o Options, cfg *config.Config) (hclog.Logger, func(), error) {
	level, format := logLevel(o, cfg), cfg.Log.Format
	if o.LogFormat != "" {
		format = o.LogFormat
	}
	if hclog.LevelFromString(level) == hclog.NoLevel {
		return nil, nil, fmt.Errorf("%w: -log-level %q is not one of trace, debug, info, warn, error", ErrConfig, level)
	}
	if format != "text" && format != "json" {
		return nil, nil, fmt.Errorf("%w: -log-format %q is not text or json", ErrConfig, format)
	}
	out, closeLog := o.Stderr, func() {}
	switch cfg.Log.Output {
	case "", "stderr":
	case "stdout":
		if o.Pcap == "" && !o.Check && !o.Print {
			out = o.Stdout
		}
	default:
		f, err := os.OpenFile(cfg.Log.Output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: log { output }: %w", ErrConfig, err)
		}
		out, closeLog = f, func() { f.Close() }
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: "netmon", Level: hclog.LevelFromString(level), Output: out, JSONFormat: format == "json",
	}), closeLog, nil
}

// Explain is what a person who sees err should read.
func Explain(err error) string {
	if errors.Is(err, ErrPrivilege) {
		return "netmon-sensor: " + err.Error() + privilegeHelp
	}
	if shown := (*config.Error)(nil); errors.As(err, &shown) {
		return err.Error() // says where by itself
	}
	return "netmon-sensor: " + err.Error()
}

const privilegeHelp = `
Capturing needs the capability CAP_NET_RAW. Three ways to grant it:
  run it as root:               sudo netmon-sensor -config netmon.hcl
  give it to the program once:  sudo setcap cap_net_raw+ep /path/to/netmon-sensor
  have systemd grant it:        AmbientCapabilities=CAP_NET_RAW in the unit`
