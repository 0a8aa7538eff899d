package server

import (
	"testing"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/plugins/plugintest"
)

// TestContract is what every exporter must keep to.
func TestContract(t *testing.T) {
	plugintest.Suite{
		New:    func() plugins.Exporter { return New("test") },
		Config: `{"listen": ["127.0.0.1:0"]}`,
		Bad: map[string]string{
			"no address":      `{"listen": []}`,
			"unknown storage": `{"listen": ["127.0.0.1:0"], "storage": {"type": "clay"}}`,
			"unknown option":  `{"listn": []}`,
		},
	}.Run(t)
}
