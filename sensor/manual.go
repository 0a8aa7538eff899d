package sensor

import (
	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
)

// Manual is a page of the manual in the making.
type Manual = plugins.Manual

// NewManual begins one.
func NewManual(name, section, about string) *Manual { return plugins.NewManual(name, section, about) }

// ConfigManual is the page netmon.hcl(5), from the schema of the configuration.
func ConfigManual() (string, error) {
	sections, err := config.Sections()
	if err != nil {
		return "", err
	}
	m := NewManual("netmon.hcl", "5", "configuration of netmon-sensor")
	m.Section("DESCRIPTION")
	m.Text(`netmon-sensor(8) reads one such file, or every *.hcl of a directory as if they were one.
It is written in HCL: blocks, and in them options with values. No option has to be given;
what follows shows each with its default. A mistake is shown at its line and column, and
nothing of the file is used.

A duration is written "5s", "1m30s" or "250ms", a size "64MiB"; a bare number for either is
refused. A relative path begins at the directory of the file. A value may be an expression,
with local.NAME from a block locals { ... } and the functions env("NAME", "default"),
file("path"), hostname(), trimspace, lower, upper, join, split, concat, format, replace and
jsondecode.`)
	m.Section("BLOCKS")
	for _, s := range sections {
		m.Part(s.Head + " { ... }")
		m.Block(s)
	}
	m.Text(`The options of an exporter of its own are in its manual, netmon-exporter-server(8) or
netmon-exporter-push(8), and "netmon-sensor plugin docs TYPE" prints those of any.`)
	m.Section("FILES")
	m.List()
	m.Item("/etc/netmon/netmon.hcl", "The configuration that the packages install, with every option.")
	m.EndList()
	m.Section("EXAMPLES")
	m.Text("The smallest useful file:")
	m.Code(`exporter "server" {}`)
	m.Text("A sensor that pushes to a server elsewhere:")
	m.Code(`capture {
  interfaces = ["eth0"]
}

exporter "push" {
  url = "https://netmon.example:8080/api/v1/metrics"
  auth {
    bearer_token = trimspace(file("token"))
  }
}`)
	m.See("netmon-exporter-push(8)", "netmon-exporter-server(8)", "netmon-sensor(8)")
	return m.String(), nil
}
