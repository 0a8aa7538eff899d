// Command netmon-exporter-server shows what netmon sensors count to Prometheus:
// as a plugin of netmon-sensor, or on its own with -config FILE.
package main

import (
	"github.com/netmon-sensor/netmon/exporters/server"
	"github.com/netmon-sensor/netmon/plugins"
)

// version is set by the linker.
var version = "dev"

func main() { plugins.Serve(server.Plugin(version)) }
