// Package config reads netmon.hcl into a Config and shows every mistake in it at its
// line and column. The tags of the structs are the schema, by the same rules as an
// exporter's (see plugins.Schema); the values of Default are the defaults.
package config

import (
	"net/netip"
	"os"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/netmon-sensor/netmon/plugins"
)

// Config is the whole of netmon.hcl. Relative paths are resolved.
type Config struct {
	Sensor    Sensor
	Capture   Capture
	Filter    Filter
	Views     Views
	Plugins   Plugins
	Exporters []*Exporter // in the order of the file, disabled ones included
	Log       Log
	Status    Status

	limitAt *hcl.Range // of sensor { memory_limit }; nil: there is none

	// Dir is the absolute directory of the file, where relative paths begin. "" for
	// a Config that was not read from one.
	Dir string

	bodies []*hclsyntax.Body // what it was read from
	files  Files             // likewise, to show places in
}

// Sensor says who the sensor is and how often it speaks.
type Sensor struct {
	ID       string        `netmon:"id" doc:"The label host on every series."`
	Interval time.Duration `netmon:"interval,min=100ms,max=1h" doc:"Length of a window."`
	User     string        `netmon:"user" doc:"To become when started as root, with CAP_NET_RAW alone; empty: netmon if there is one, else nobody; root: stays root."`

	StateDir    string        `netmon:"state_dir,format=path" doc:"Where windows are kept for the exporters, across restarts; empty: in memory."`
	LogMaxBytes plugins.Bytes `netmon:"log_max_bytes,min=16MiB,max=64GiB" doc:"Of these windows; older ones are added up, and nothing is dropped."`
	MemoryLimit plugins.Bytes `netmon:"memory_limit,max=16TiB" doc:"Refuse a configuration with which memory may come to more, by the account of -check-config; 0B: no limit."`
	Sync        time.Duration `netmon:"sync,max=1m" doc:"Windows may wait this long to be written to disk together; exporters get them after that."`
}

// Capture says where packets come from.
type Capture struct {
	Interfaces   []string       `netmon:"interfaces" doc:"Names, and globs such as eth*; empty: where the default route goes."`
	Shards       int            `netmon:"shards,min=0,max=64" doc:"Rings, each with a thread; 0: one per CPU, at most 16."`
	Fanout       string         `netmon:"fanout,enum=hash|cpu|queue" doc:"How the kernel spreads packets over the shards: hash keeps both directions of a flow together, cpu and queue do not."`
	RingMemory   plugins.Bytes  `netmon:"ring_memory,min=2MiB,max=64GiB" doc:"Of all rings together."`
	Promiscuous  bool           `netmon:"promiscuous" doc:"Also take packets that are addressed to other machines."`
	HomeNetworks []netip.Prefix `netmon:"home_networks" doc:"On a mirror port: the networks that are ours."`
	BlockTimeout time.Duration  `netmon:"block_timeout,min=1ms,max=1s" doc:"The longest that a packet waits in the ring."`
	Snap         string         `netmon:"snap,enum=auto|full" doc:"How much of a packet the kernel hands over: auto is headers, and the first bytes where names are; full is all of it."`
	MaxFlows     int            `netmon:"max_flows,min=16,max=100000000" doc:"Flows that all shards together remember."`
	Pin          bool           `netmon:"pin" doc:"Each shard on a thread and a CPU of its own."`
}

// Filter says what is not counted.
type Filter struct {
	Protocols       []string       `netmon:"protocols" doc:"Names such as tcp, https or dns, or numbers of IP protocols; empty: all."`
	IgnoreLocalhost bool           `netmon:"ignore_localhost" doc:"Leave out loopback traffic."`
	IgnorePorts     []PortRange    `netmon:"ignore_ports" doc:"Ports at either end, and ranges such as 6000-6010."`
	IgnoreNets      []netip.Prefix `netmon:"ignore_nets" doc:"Networks and addresses, at either end."`
	Count           bool           `netmon:"count" doc:"Have the kernel hand over the first bytes of what is left out, so that it can be counted."`
	OnlyDomains     []string       `netmon:"only_domains" doc:"Names that keep rows of their own: example.com, *.example.com (below it), .example.com (both); the rest counts as (excluded). Empty: all."`
	IgnoreDomains   []string       `netmon:"ignore_domains" doc:"Names that do not; the same patterns."`
}

// Views bounds the rows of each view.
type Views struct {
	MaxRows     int           `netmon:"max_rows,min=1,max=10000000" doc:"Rows of a view; the rest adds to (other)."`
	IdleTimeout time.Duration `netmon:"idle_timeout,min=1s,max=8760h" doc:"A row that rests this long moves to (retired)."`
}

// Plugins says where exporters are and who they run as.
type Plugins struct {
	Directory   string        `netmon:"directory,format=path" doc:"Looked into first, then the directory of netmon-sensor itself."`
	User        string        `netmon:"user" doc:"Of plugins, when started as root; empty: netmon-plugin if there is one, else nobody."`
	MemoryLimit plugins.Bytes `netmon:"memory_limit,max=16TiB" doc:"Of each plugin, which ends and is started again when it wants more; 0B: no limit."`
}

// Log says where the sensor's log goes.
type Log = plugins.Log

// Status is the sensor's own HTTP listener.
type Status struct {
	Listen   string `netmon:"listen,format=listen_address" doc:"Where it listens; empty: off."`
	Insecure bool   `netmon:"insecure" doc:"Let listen be an address that other machines reach, without TLS or login."`
	Reload   bool   `netmon:"reload" doc:"Let POST /-/reload read the configuration again, as SIGHUP does."`
}

// Default is what holds where the file says nothing.
func Default() Config {
	id, err := os.Hostname()
	if err != nil {
		id = "localhost"
	}
	return Config{
		Sensor: Sensor{ID: id, Interval: 5 * time.Second, StateDir: "/var/lib/netmon", LogMaxBytes: 64 << 20},
		Capture: Capture{
			Fanout: "hash", RingMemory: 64 << 20, BlockTimeout: 64 * time.Millisecond, Snap: "auto", MaxFlows: 1_000_000,
		},
		Filter:  Filter{IgnoreLocalhost: true},
		Views:   Views{MaxRows: 10_000, IdleTimeout: time.Hour},
		Plugins: Plugins{Directory: "/usr/lib/netmon/plugins", MemoryLimit: 512 << 20},
		Log:     plugins.DefaultLog(),
		Status:  Status{Listen: "127.0.0.1:9854"},
	}
}
