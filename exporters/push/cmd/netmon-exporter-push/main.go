// Command netmon-exporter-push posts what a sensor counts to a netmon server. It is
// started by netmon-sensor.
package main

import (
	"github.com/netmon-sensor/netmon/exporters/push"
	"github.com/netmon-sensor/netmon/plugins"
)

// version is set by the linker.
var version = "dev"

func main() { plugins.Serve(push.Plugin(version)) }
