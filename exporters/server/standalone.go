package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/plugins"
)

// Exit codes.
const (
	exitFine    = 0
	exitRuntime = 1
	exitUsage   = 2
)

// drainTimeout bounds how long requests that are under way are waited for.
const drainTimeout = 10 * time.Second

type options struct {
	config        string
	check, debug  bool
	level, format string
	version       bool
}

// define declares the flags.
func (o *options) define(set *flag.FlagSet) {
	set.StringVar(&o.config, "config", "", "configuration `file`, with a block server")
	set.StringVar(&o.config, "c", "", "`file`; short for -config")
	set.BoolVar(&o.check, "check-config", false, "check the configuration and exit")
	set.BoolVar(&o.debug, "debug", false, "log every route and every request; same as -log-level debug")
	set.BoolVar(&o.debug, "d", false, "short for -debug")
	set.StringVar(&o.level, "log-level", "", "trace, debug, info, warn or error; overrides the configuration")
	set.StringVar(&o.format, "log-format", "", "text or json; overrides the configuration")
	set.BoolVar(&o.version, "version", false, "print the version and exit")
}

// Main runs the server on its own, as args say, and returns the exit code.
func Main(args []string, version string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return run(ctx, args, version, os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, version string, stdout, stderr io.Writer) int {
	var o options
	set := flag.NewFlagSet("netmon-exporter-server", flag.ContinueOnError)
	set.SetOutput(stderr)
	o.define(set)
	set.Usage = func() {
		fmt.Fprintf(stderr, "Usage: netmon-exporter-server -config FILE\n\n"+
			"Shows what netmon sensors push to it to Prometheus. netmon-sensor starts the same\n"+
			"program as a plugin, if its configuration has exporter \"server\".\n\n")
		set.PrintDefaults()
	}
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitFine
	case err != nil:
		return exitUsage
	case o.version:
		fmt.Fprint(stdout, plugins.VersionText("netmon-exporter-server", version))
		return exitFine
	case set.NArg() > 0 || o.config == "":
		if set.NArg() > 0 {
			fmt.Fprintf(stderr, "netmon-exporter-server: unexpected argument %q\n\n", set.Arg(0))
		}
		set.Usage()
		return exitUsage
	}
	return serveFile(ctx, &o, version, stdout, stderr)
}

// serveFile reads the configuration and serves until ctx ends.
func serveFile(ctx context.Context, o *options, version string, stdout, stderr io.Writer) int {
	c := standaloneConfig()
	file, diags := plugins.LoadStandalone(o.config, "server", c)
	if !diags.HasErrors() {
		diags = append(diags, file.Explain(c.check(file.BaseDir))...)
	}
	if len(diags) > 0 {
		_ = file.Write(stderr, diags) // nobody to tell if stderr is gone
	}
	if diags.HasErrors() {
		return exitUsage
	}
	logger, closeLog, err := newLogger(o, file.Log, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "netmon-exporter-server: %v\n", err)
		return exitUsage
	}
	defer closeLog()
	if o.check {
		fmt.Fprintf(stdout, "%s: fine\n", o.config)
		return exitFine
	}
	load := func() (*Config, error) { return loadAgain(o.config, stderr) }
	r, err := start(c, file.BaseDir, version, false, load, logger)
	if err != nil {
		_ = file.Write(stderr, file.Explain(err))
		return exitRuntime
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	logger.Info("netmon-exporter-server runs", "version", version, "addresses", r.addresses(), "storage", c.Storage.Type)
	notify(logger, daemon.SdNotifyReady)
	code, running := exitFine, true
	for running {
		select {
		case <-hangup:
			notify(logger, daemon.SdNotifyReloading)
			_ = r.service.reread() // logged and counted
			notify(logger, daemon.SdNotifyReady)
		case <-ctx.Done():
			running = false
		case <-r.failed:
			code, running = exitRuntime, false
		}
	}
	notify(logger, daemon.SdNotifyStopping)
	logger.Info("shutting down")
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := r.stop(drain); err != nil {
		logger.Error("did not stop well", "error", err)
		code = exitRuntime
	}
	return code
}

// standaloneConfig has the defaults of a server alone: nobody else has what it is sent.
func standaloneConfig() *Config {
	c := DefaultConfig()
	c.Storage.Type = "disk"
	return c
}

// loadAgain reads the configuration for a reload. Mistakes are shown as at the start.
func loadAgain(path string, stderr io.Writer) (*Config, error) {
	c := standaloneConfig()
	file, diags := plugins.LoadStandalone(path, "server", c)
	if !diags.HasErrors() {
		diags = append(diags, file.Explain(c.check(file.BaseDir))...)
	}
	if len(diags) > 0 {
		_ = file.Write(stderr, diags) // nobody to tell if stderr is gone
	}
	if diags.HasErrors() {
		first := diags.Errs()[0]
		return nil, fmt.Errorf("%d mistakes, the first: %w", len(diags.Errs()), first)
	}
	return c, nil
}

// notify tells systemd how far the server is, where it waits to be told: a unit of
// Type=notify.
func notify(logger hclog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		logger.Warn("systemd was not told", "state", state, "error", err)
	}
}

// newLogger makes the log that the file and the flags ask for.
func newLogger(o *options, l plugins.Log, stdout, stderr io.Writer) (hclog.Logger, func(), error) {
	if o.level != "" {
		l.Level = o.level
	}
	if o.format != "" {
		l.Format = o.format
	}
	if o.debug && l.Level != "trace" {
		l.Level = "debug"
	}
	if !slices.Contains([]string{"trace", "debug", "info", "warn", "error"}, l.Level) {
		return nil, nil, fmt.Errorf("-log-level %q is not one of trace, debug, info, warn, error", l.Level)
	}
	if l.Format != "text" && l.Format != "json" {
		return nil, nil, fmt.Errorf("-log-format %q is not one of text, json", l.Format)
	}
	out, closeLog := stderr, func() {}
	switch l.Output {
	case "stderr":
	case "stdout":
		out = stdout
	default:
		f, err := os.OpenFile(l.Output, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
		if err != nil {
			return nil, nil, fmt.Errorf("log { output }: %w", err)
		}
		out, closeLog = f, func() { _ = f.Close() }
	}
	return hclog.New(&hclog.LoggerOptions{Name: "server", Level: hclog.LevelFromString(l.Level), JSONFormat: l.Format == "json", Output: out}), closeLog, nil
}
