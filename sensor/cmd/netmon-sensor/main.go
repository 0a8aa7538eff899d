// Command netmon-sensor watches the packets of a host and tells its exporters, by
// domain name, who talked to whom, how often and how much.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
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

func main() {
	if code, isLauncher := sensor.Launcher(os.Stderr); isLauncher {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	c, rest := named(args)
	return c.run(rest, stdout, stderr)
}

// defineSensor has the flags of the program itself.
func defineSensor(set *flag.FlagSet) func(*invocation) int {
	o := sensor.Options{Version: version}
	var noFlows, showVersion bool
	set.StringVar(&o.Config, "config", "", "configuration `file`, or a folder of *.hcl")
	set.StringVar(&o.Config, "c", "", "`file`; short for -config")
	set.BoolVar(&o.Check, "check-config", false, "check the configuration, exporters included, and exit")
	set.BoolVar(&o.Print, "print-config", false, "print the configuration with defaults filled in, secrets masked, and exit")
	set.StringVar(&o.Pcap, "pcap", "", "read packets from a pcap or pcapng `file` and print JSON; needs no root")
	set.IntVar(&o.Shards, "shards", 0, "with -pcap: how many shards share the work; the result is the same (0: one)")
	set.BoolVar(&noFlows, "no-flows", false, "with -pcap: print sums only, not every flow")
	set.StringVar(&o.Explain, "explain", "", "with -pcap: print for people why a `NAME`, an IP or a flow (10.0.0.1:5000-192.0.2.1:443) has its name; \"undecoded\": why frames were not counted")
	set.BoolVar(&o.Debug, "debug", false, "show what is opened and why; same as -log-level debug")
	set.BoolVar(&o.Debug, "d", false, "short for -debug")
	set.Var(choice{&o.LogLevel, []string{"trace", "debug", "info", "warn", "error"}}, "log-level", "trace, debug, info, warn or error; overrides the configuration")
	set.Var(choice{&o.LogFormat, []string{"text", "json"}}, "log-format", "text or json; overrides the configuration")
	set.BoolVar(&showVersion, "version", false, "print the version and exit")
	return func(c *invocation) int {
		switch {
		case showVersion:
			fmt.Fprint(c.stdout, sensor.VersionText(version))
			return exitFine
		case o.Config == "" && o.Pcap == "":
			c.set.Usage()
			return exitUsage
		case o.Explain != "" && o.Pcap == "":
			fmt.Fprintln(c.stderr, "netmon-sensor: -explain needs -pcap FILE")
			return exitUsage
		}
		ctx, stop := interruptible()
		defer stop()
		hangup := make(chan os.Signal, 1) // one that waits stands for all
		if o.Pcap == "" && !o.Check && !o.Print {
			signal.Notify(hangup, syscall.SIGHUP)
		}
		o.Flows, o.Reload, o.Stdout, o.Stderr = !noFlows, hangup, c.stdout, c.stderr
		return exitCode(c.stderr, sensor.Main(ctx, o))
	}
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
