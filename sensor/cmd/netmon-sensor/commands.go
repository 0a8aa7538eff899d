package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

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
