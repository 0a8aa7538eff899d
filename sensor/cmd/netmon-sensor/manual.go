package main

import (
	"flag"
	"fmt"
	"strings"

	"github.com/netmon-sensor/netmon/sensor"
)

// manuals are the pages that the program has; those of exporters are printed by them.
func manuals() []string { return []string{"netmon-sensor", "netmon.hcl"} }

func runManual(c *invocation) int {
	switch c.args[0] {
	case "netmon-sensor":
		fmt.Fprint(c.stdout, sensorManual())
	case "netmon.hcl":
		text, err := sensor.ConfigManual()
		if err != nil {
			return exitCode(c.stderr, err)
		}
		fmt.Fprint(c.stdout, text)
	default:
		fmt.Fprintf(c.stderr, "netmon-sensor manual: %q is not one of %s\n", c.args[0], strings.Join(manuals(), ", "))
		return exitUsage
	}
	return exitFine
}

func flagsOf(v *verb) *flag.FlagSet {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	v.define(set)
	return set
}

// sensorManual is netmon-sensor(8), from the table of commands.
func sensorManual() string {
	all := commands()
	m := sensor.NewManual("netmon-sensor", "8", all[0].about)
	m.Synopsis(all[0].forms...)
	m.Section("DESCRIPTION")
	m.Text(`netmon-sensor captures packets with memory-mapped AF_PACKET rings, names their flows
by what DNS answers, TLS and QUIC ClientHellos and HTTP requests show, and gives counters
of bytes, packets, connections and accesses to its exporters, a window every few seconds.
Exporters are programs of their own, which it starts without any privilege. It needs
CAP_NET_RAW; started as root it becomes another user before it reads a packet.

SIGTERM and SIGINT have it hand over what it has and end; a second one ends it at once.
SIGHUP has it read its configuration again: all of it is taken into use, or none.`)
	m.Section("OPTIONS")
	m.Flags(flagsOf(&all[0]))
	m.Section("COMMANDS")
	for i := range all[1:] {
		v := &all[i+1]
		m.Part(v.name)
		for _, form := range v.forms {
			m.Form("netmon-sensor", v.name+" "+form)
		}
		m.Text(strings.ToUpper(v.about[:1]) + v.about[1:] + ".")
		m.Flags(flagsOf(v))
	}
	m.Section("ENVIRONMENT")
	m.List()
	m.Item("NETMON_TOKEN", "A token that top logs in with at a server.")
	m.Item("NO_COLOR", "Whatever its value, top shows no colours.")
	m.Item("GOMEMLIMIT", "Goes before what the sensor makes of its configuration as the limit of Go's collector.")
	m.Item("RUNTIME_DIRECTORY", "Where the sockets of plugins are made, as systemd sets it; else the directory for temporary files.")
	m.EndList()
	m.Section("FILES")
	m.List()
	m.Item("/etc/netmon/netmon.hcl", "The configuration that the packages install; none is read unless -config names it.")
	m.Item("/var/lib/netmon", "The log of windows, for exporters that are behind.")
	m.Item("/usr/lib/netmon/plugins", "Exporters. The directory of the program itself is looked into as well.")
	m.EndList()
	m.Section("EXIT STATUS")
	m.List()
	m.Item("0", "All went well.")
	m.Item("1", "A failure at run time; for doctor: something stands in the way; for top: the peer cannot be reached.")
	m.Item("2", "A mistake in the command line or the configuration.")
	m.Item("3", "The capability CAP_NET_RAW is missing.")
	m.Item("4", "There is no interface of a name in the configuration.")
	m.EndList()
	m.Section("EXAMPLES")
	m.Code(`netmon-sensor doctor -config /etc/netmon/netmon.hcl
netmon-sensor -config /etc/netmon/netmon.hcl -check-config
netmon-sensor -pcap FILE.pcap -explain www.example.com
netmon-sensor top -once -json -over 10s`)
	m.See("netmon.hcl(5)", "netmon-exporter-push(8)", "netmon-exporter-server(8)")
	return m.String()
}
