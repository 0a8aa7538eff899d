package main

import (
	"flag"
	"os"
	"time"

	"github.com/netmon-sensor/netmon/sensor"
)

// commands is every command, the program itself first.
func commands() []verb {
	return []verb{
		{
			forms:  []string{"-config FILE", "-pcap FILE", "COMMAND"},
			about:  "watch the packets of this host, and tell exporters who it talks to",
			define: defineSensor,
		},
		{
			name: "top", forms: []string{"[-url URL] [-once] [-json]"},
			about:  "show in the terminal who this host talks to at the moment, or what a server counts",
			define: defineTop,
		},
		{
			name: "doctor", forms: []string{"[-config FILE] [-json]"},
			about:  "look for what stands in the way of a sensor on this machine: cause and cure",
			define: defineDoctor,
		},
		{
			name: "fmt", forms: []string{"[-check] FILE..."}, min: 1, max: 1 << 10, files: true,
			about: "lay out configuration files; - is standard input",
			define: func(set *flag.FlagSet) func(*invocation) int {
				check := set.Bool("check", false, "write nothing; name the files that are not laid out, and exit 2")
				return func(c *invocation) int { return exitCode(c.stderr, sensor.Format(c.args, *check, os.Stdin, c.stdout)) }
			},
		},
		{
			name: "plugin", forms: []string{"list", "docs TYPE", "init TYPE"}, min: 1, max: 2, words: []string{"list", "docs", "init"},
			about:  "show the exporters that are installed, the options of one, or begin a new one in ./netmon-exporter-TYPE",
			define: definePlugin,
		},
		{
			name: "import-yaml", forms: []string{"FILE"}, min: 1, max: 1, files: true,
			about: "convert agent.yaml or server.yaml of go-net-monitoring",
			define: func(*flag.FlagSet) func(*invocation) int {
				return func(c *invocation) int { return exitCode(c.stderr, sensor.ImportYAML(c.args[0], c.stdout, c.stderr)) }
			},
		},
		{
			name: "completion", forms: []string{"bash", "zsh", "fish"}, min: 1, max: 1, words: shells(),
			about:  "print a script that has a shell complete commands and flags",
			define: func(*flag.FlagSet) func(*invocation) int { return runCompletion },
		},
		{
			name: "manual", forms: []string{"netmon-sensor", "netmon.hcl"}, min: 1, max: 1, words: manuals(),
			about:  "print a page of the manual, for man -l -",
			define: func(*flag.FlagSet) func(*invocation) int { return runManual },
		},
	}
}

func defineTop(set *flag.FlagSet) func(*invocation) int {
	o := sensor.TopOptions{View: "domains", Sort: "bytes"}
	config := set.String("config", "", "configuration `file` of the sensor to ask, for its status { listen }")
	set.StringVar(&o.Peer.URL, "url", "", "ask the sensor or server at `URL`: http://127.0.0.1:9854, https://netmon.example:8080")
	set.StringVar(&o.Peer.Host, "host", "", "of a server's sensors the one with this `ID` alone")
	set.StringVar(&o.Peer.TokenFile, "token-file", "", "`file` with a token to log in with; else NETMON_TOKEN in the environment")
	set.StringVar(&o.Peer.CAFile, "ca-file", "", "`file` with the certificates to trust (PEM), instead of the system's")
	set.Var(choice{&o.View, sensor.TopViews()}, "view", "`list` to begin with, or to print: domains, addresses, protocols")
	set.Var(choice{&o.Sort, sensor.TopOrders()}, "sort", "`column` to sort by: bytes, sent, received, packets, connections, accesses (by rate), total, name")
	set.StringVar(&o.Filter, "filter", "", "`text` that names have to contain")
	set.IntVar(&o.Rows, "rows", 0, "`how many` to print at most with -once and -json (0: all)")
	set.DurationVar(&o.Every, "every", 2*time.Second, "`time` between questions")
	set.DurationVar(&o.Over, "over", 15*time.Second, "`time` that rates are taken over; with -once so long is waited for them, and without it none are printed")
	set.BoolVar(&o.Once, "once", false, "print one table and exit")
	set.BoolVar(&o.JSON, "json", false, "print a line of JSON for each row: once with -once, else for every window")
	return func(c *invocation) int {
		ctx, stop := interruptible()
		defer stop()
		o.Peer.Token, o.Out, o.Env = os.Getenv("NETMON_TOKEN"), os.Stdout, os.Environ()
		if o.Once && !isSet(c.set, "over") {
			o.Over = 0
		}
		return exitCode(c.stderr, sensor.Top(ctx, *config, o))
	}
}

func isSet(set *flag.FlagSet, name string) (found bool) {
	set.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

func defineDoctor(set *flag.FlagSet) func(*invocation) int {
	config := set.String("config", "", "configuration `file` of the sensor")
	inJSON := set.Bool("json", false, "print JSON")
	return func(c *invocation) int {
		ctx, stop := interruptible()
		defer stop()
		well, err := sensor.Doctor(ctx, *config, *inJSON, c.stdout)
		if err == nil && !well {
			return exitRuntime
		}
		return exitCode(c.stderr, err)
	}
}

func definePlugin(set *flag.FlagSet) func(*invocation) int {
	p := sensor.PluginCommand{Version: version}
	set.StringVar(&p.Config, "config", "", "configuration `file`, whose plugins { directory } counts")
	return func(c *invocation) int {
		ctx, stop := interruptible()
		defer stop()
		p.Out = c.stdout
		name := ""
		if len(c.args) > 1 {
			name = c.args[1]
		}
		switch what := c.args[0]; {
		case what == "list" && name == "":
			return exitCode(c.stderr, p.List(ctx))
		case what == "docs" && name != "":
			return exitCode(c.stderr, p.Docs(ctx, name))
		case what == "init" && name != "":
			return exitCode(c.stderr, p.Init(name, "netmon-exporter-"+name))
		}
		c.set.Usage()
		return exitUsage
	}
}
