package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/netmon-sensor/netmon/sensor"
)

// A subcommand is what the first argument may name instead of a flag.
type subcommand struct {
	name, args, about string
	run               func(args []string, stdout, stderr io.Writer) int
}

func commands() []subcommand {
	return []subcommand{
		{"fmt", "[-check] FILE...", "lay out configuration files; - is standard input", runFormat},
		{"plugin", "list | docs TYPE | init TYPE", "show the exporters that are installed, the options of one, or begin a new one in ./netmon-exporter-TYPE", runPlugin},
		{"import-yaml", "FILE", "convert agent.yaml or server.yaml of go-net-monitoring", runImport},
	}
}

// named returns the command that args begin with, nil for none.
func named(args []string) *subcommand {
	if len(args) == 0 {
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return &c
		}
	}
	return nil
}

// parse reads the flags of a command and wants min to max arguments. Where it
// returns false, code is how the program ends.
func (c *subcommand) parse(set *flag.FlagSet, args []string, stderr io.Writer, min, max int) (code int, ok bool) {
	set.SetOutput(stderr)
	set.Usage = func() {
		fmt.Fprintf(stderr, "Usage: netmon-sensor %s %s\n\n%s\n", c.name, c.args, c.about)
		set.PrintDefaults()
	}
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitFine, false
	case err != nil:
		return exitUsage, false
	case set.NArg() < min || set.NArg() > max:
		set.Usage()
		return exitUsage, false
	}
	return exitFine, true
}

func runFormat(args []string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("fmt", flag.ContinueOnError)
	check := set.Bool("check", false, "write nothing; name the files that are not laid out, and exit 2")
	if code, ok := named([]string{"fmt"}).parse(set, args, stderr, 1, 1<<10); !ok {
		return code
	}
	return exitCode(stderr, sensor.Format(set.Args(), *check, os.Stdin, stdout))
}

func runImport(args []string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("import-yaml", flag.ContinueOnError)
	if code, ok := named([]string{"import-yaml"}).parse(set, args, stderr, 1, 1); !ok {
		return code
	}
	return exitCode(stderr, sensor.ImportYAML(set.Arg(0), stdout, stderr))
}

func runPlugin(args []string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("plugin", flag.ContinueOnError)
	c := sensor.PluginCommand{Version: version, Out: stdout}
	set.StringVar(&c.Config, "config", "", "configuration `file`, whose plugins { directory } counts")
	command := named([]string{"plugin"})
	if code, ok := command.parse(set, args, stderr, 1, 2); !ok {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	switch what, name := set.Arg(0), set.Arg(1); {
	case what == "list" && name == "":
		return exitCode(stderr, c.List(ctx))
	case what == "docs" && name != "":
		return exitCode(stderr, c.Docs(ctx, name))
	case what == "init" && name != "":
		return exitCode(stderr, c.Init(name, "netmon-exporter-"+name))
	}
	set.Usage()
	return exitUsage
}
