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
	User     string        `netmon:"user" doc:"To become, when started as root; empty: netmon, else nobody."`

	StateDir    string        `netmon:"state_dir,format=path" doc:"The log of windows; empty: in memory."`
	LogMaxBytes plugins.Bytes `netmon:"log_max_bytes,min=16MiB,max=64GiB" doc:"Of that log; what is older is kept as sums."`
	MemoryLimit plugins.Bytes `netmon:"memory_limit,max=16TiB" doc:"What the sensor's memory may come to; 0: no limit."`
	Sync        time.Duration `netmon:"sync,max=1m" doc:"Windows are written and synced together at most this late."`
}

// Capture says where packets come from.
type Capture struct {
	Interfaces   []string       `netmon:"interfaces" doc:"Names and globs; empty: where the default route goes."`
	Shards       int            `netmon:"shards,min=0,max=64" doc:"Rings, each with a thread; 0: one per CPU, at most 16."`
	Fanout       string         `netmon:"fanout,enum=hash|cpu|queue" doc:"How the kernel spreads packets over the shards."`
	RingMemory   plugins.Bytes  `netmon:"ring_memory,min=2MiB,max=64GiB" doc:"Of all rings together."`
	Promiscuous  bool           `netmon:"promiscuous" doc:"Also packets to other machines."`
	HomeNetworks []netip.Prefix `netmon:"home_networks" doc:"What is ours on a mirror port."`
	BlockTimeout time.Duration  `netmon:"block_timeout,min=1ms,max=1s" doc:"The longest that a packet waits in the ring."`
	Snap         string         `netmon:"snap,enum=auto|full" doc:"How much of a packet the kernel hands over."`
	MaxFlows     int            `netmon:"max_flows,min=16,max=100000000" doc:"Flows that all shards together remember."`
	Pin          bool           `netmon:"pin" doc:"Each shard on a thread and a CPU of its own."`
}

// Filter says what is not counted.
type Filter struct {
	Protocols       []string       `netmon:"protocols" doc:"Empty: all. Names, or numbers of IP protocols."`
	IgnoreLocalhost bool           `netmon:"ignore_localhost" doc:"Leave out loopback traffic."`
	IgnorePorts     []PortRange    `netmon:"ignore_ports" doc:"Ports and ranges of them, at either end."`
	IgnoreNets      []netip.Prefix `netmon:"ignore_nets" doc:"Networks and addresses, at either end."`
	Count           bool           `netmon:"count" doc:"Count what is left out."`
	OnlyDomains     []string       `netmon:"only_domains" doc:"Names that keep rows of their own; empty: all."`
	IgnoreDomains   []string       `netmon:"ignore_domains" doc:"Names that do not."`
}

// Views bounds the rows of each view.
type Views struct {
	MaxRows     int           `netmon:"max_rows,min=1,max=10000000" doc:"Rows of a view; the rest adds to (other)."`
	IdleTimeout time.Duration `netmon:"idle_timeout,min=1s,max=8760h" doc:"When a row moves to (retired)."`
}

// Plugins says where exporters are and who they run as.
type Plugins struct {
	Directory   string        `netmon:"directory,format=path" doc:"Looked into before the sensor's own."`
	User        string        `netmon:"user" doc:"To run plugins as, when started as root; empty: netmon-plugin, else nobody."`
	MemoryLimit plugins.Bytes `netmon:"memory_limit,max=16TiB" doc:"Of each plugin; 0: no limit."`
}

// Log says where the sensor's log goes.
type Log = plugins.Log

// Status is the sensor's own HTTP listener.
type Status struct {
	Listen   string `netmon:"listen,format=listen_address" doc:"Empty: off."`
	Insecure bool   `netmon:"insecure" doc:"Whether listen may be reached from other machines."`
	Reload   bool   `netmon:"reload" doc:"Whether POST /-/reload reads the configuration again."`
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
