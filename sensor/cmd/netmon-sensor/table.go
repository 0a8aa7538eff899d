package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
)

// A verb is what the first argument may name; the one without a name is the
// program itself. Usage, shell completion and manual are made from these.
type verb struct {
	name  string
	forms []string // what may follow the name
	about string
	words []string // the first argument is one of these
	files bool     // arguments are files

	min, max int // arguments

	// define declares the flags and returns what runs once they are parsed.
	define func(set *flag.FlagSet) func(c *invocation) int
}

// An invocation is a command that was called.
type invocation struct {
	*verb
	set            *flag.FlagSet
	args           []string // less the flags
	stdout, stderr io.Writer
}

// choice is the value of a flag that names one of a few words. Who takes the value
// refuses others.
type choice struct {
	value *string
	words []string
}

func (c choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

func (c choice) Set(text string) error { *c.value = text; return nil }

// usage prints what the command takes.
func (c *verb) usage(set *flag.FlagSet, w io.Writer) {
	for i, form := range c.forms {
		begin := "Usage:"
		if i > 0 {
			begin = "      "
		}
		fmt.Fprintln(w, strings.TrimRight(begin+" "+c.title()+" "+form, " "))
	}
	fmt.Fprintln(w)
	if c.name != "" {
		fmt.Fprintf(w, "%s\n", c.about)
	} else {
		for _, other := range commands() {
			if other.name != "" {
				fmt.Fprintf(w, "  %s %s\n    \t%s\n", other.name, strings.Join(other.forms, " | "), other.about)
			}
		}
		fmt.Fprintln(w)
	}
	set.SetOutput(w)
	set.PrintDefaults()
}

// title is what one types before arguments.
func (c *verb) title() string { return strings.TrimSpace("netmon-sensor " + c.name) }

// run parses args, which follow the name, and runs the command.
func (c *verb) run(args []string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet(c.title(), flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() { c.usage(set, stderr) }
	does := c.define(set)
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitFine
	case err != nil:
		return exitUsage
	case set.NArg() > c.max && c.max == 0:
		fmt.Fprintf(stderr, "%s: unexpected argument %q\n\n", c.title(), set.Arg(0))
		fallthrough
	case set.NArg() < c.min || set.NArg() > c.max:
		set.Usage()
		return exitUsage
	}
	return does(&invocation{c, set, set.Args(), stdout, stderr})
}

// named returns the command that args begin with, and what follows its name.
func named(args []string) (*verb, []string) {
	all := commands()
	for i := range all {
		if len(args) > 0 && all[i].name == args[0] && args[0] != "" {
			return &all[i], args[1:]
		}
	}
	return &all[0], args
}

// interruptible ends with the first signal that asks for an end; a second one ends
// the process at once.
func interruptible() (context.Context, func()) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
