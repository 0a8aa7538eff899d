// Package netmon is the top of the module: a traffic sensor for Linux and its
// exporters. There is nothing to import here.
//
// The sensor is in [github.com/netmon-sensor/netmon/sensor], what an exporter
// needs in [github.com/netmon-sensor/netmon/plugins], and how the parts fit
// together in docs/architecture.md.
package netmon
