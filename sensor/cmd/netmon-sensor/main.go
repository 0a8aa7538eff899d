// Command netmon-sensor watches the packets of a host and tells its exporters, by
// domain name, who talked to whom, how often and how much.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/netmon-sensor/netmon/sensor"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitFine      = 0
	exitRuntime   = 1
	exitUsage     = 2
	exitPrivilege = 3
	exitInterface = 4
)

type flags struct {
	config, pcap  string
	shards        int
	check, print  bool
	debug, noFlow bool
	explain       string
	level, format string
	version       bool
}

func main() {
	if code, isLauncher := sensor.Launcher(os.Stderr); isLauncher {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	if c := named(args); c != nil {
		return c.run(args[1:], stdout, stderr)
	}
	var f flags
	set := flag.NewFlagSet("netmon-sensor", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&f.config, "config", "", "configuration `file`, or a folder of *.hcl")
	set.StringVar(&f.config, "c", "", "short for -config")
	set.BoolVar(&f.check, "check-config", false, "check the configuration, exporters included, and exit")
	set.BoolVar(&f.print, "print-config", false, "print the configuration with defaults filled in, secrets masked, and exit")
	set.StringVar(&f.pcap, "pcap", "", "read packets from a pcap or pcapng `file` and print JSON; needs no root")
	set.IntVar(&f.shards, "shards", 0, "with -pcap: how many shards share the work; the result is the same (0: one)")
	set.BoolVar(&f.noFlow, "no-flows", false, "with -pcap: print sums only, not every flow")
	set.StringVar(&f.explain, "explain", "", "with -pcap: print for people why a `NAME`, an IP or a flow (10.0.0.1:5000-192.0.2.1:443) has its name; \"undecoded\": why frames were not counted")
	set.BoolVar(&f.debug, "debug", false, "show what is opened and why; same as -log-level debug")
	set.BoolVar(&f.debug, "d", false, "short for -debug")
	set.StringVar(&f.level, "log-level", "", "trace, debug, info, warn or error; overrides the configuration")
	set.StringVar(&f.format, "log-format", "", "text or json; overrides the configuration")
	set.BoolVar(&f.version, "version", false, "print the version and exit")
	set.Usage = func() {
		fmt.Fprintf(stderr, "Usage: netmon-sensor -config FILE\n       netmon-sensor -pcap FILE\n       netmon-sensor COMMAND\n\n")
		for _, c := range commands() {
			fmt.Fprintf(stderr, "  %s %s\n    \t%s\n", c.name, c.args, c.about)
		}
		fmt.Fprintln(stderr)
		set.PrintDefaults()
	}
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitFine
	case err != nil:
		return exitUsage
	}
	if f.version {
		fmt.Fprintf(stdout, "netmon-sensor %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return exitFine
	}
	if set.NArg() > 0 || f.config == "" && f.pcap == "" {
		if set.NArg() > 0 {
			fmt.Fprintf(stderr, "netmon-sensor: unexpected argument %q\n\n", set.Arg(0))
		}
		set.Usage()
		return exitUsage
	}
	if f.explain != "" && f.pcap == "" {
		fmt.Fprintln(stderr, "netmon-sensor: -explain needs -pcap FILE")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	hangup := make(chan os.Signal, 1) // one that waits stands for all
	if f.pcap == "" && !f.check && !f.print {
		signal.Notify(hangup, syscall.SIGHUP)
	}
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return exitCode(stderr, sensor.Main(ctx, sensor.Options{
		Config: f.config, Check: f.check, Print: f.print, Pcap: f.pcap, Shards: f.shards, Flows: !f.noFlow, Explain: f.explain, Debug: f.debug,
		LogLevel: f.level, LogFormat: f.format, Version: version, Reload: hangup, Stdout: stdout, Stderr: stderr,
	}))
}

// exitCode prints err and says how the process ends because of it.
func exitCode(stderr io.Writer, err error) int {
	if err == nil {
		return exitFine
	}
	fmt.Fprintln(stderr, sensor.Explain(err))
	switch {
	case errors.Is(err, sensor.ErrPrivilege):
		return exitPrivilege
	case errors.Is(err, sensor.ErrNoInterface):
		return exitInterface
	case errors.Is(err, sensor.ErrConfig):
		return exitUsage
	}
	return exitRuntime
}
