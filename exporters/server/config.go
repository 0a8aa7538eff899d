package server

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/netmon-sensor/netmon/plugins"
)

// Config is the body of exporter "server" in netmon.hcl, and of the block
// server in server.hcl.
type Config struct {
	Listen        []string `netmon:"listen,format=listen_address" doc:"Addresses of /metrics, the API and the health pages."`
	ProbeListen   []string `netmon:"probe_listen,format=listen_address" doc:"Addresses of the health pages alone, without TLS and login."`
	WebConfigFile string   `netmon:"web_config_file,format=path" doc:"TLS, client certificates and basic auth, in the format of Prometheus' exporter-toolkit."`
	Storage       Storage  `netmon:"storage" doc:"Where the sensors' totals are kept."`

	MaxSensors       int           `netmon:"max_sensors,min=1,max=100000" doc:"Sensors kept; further ones are refused."`
	MaxRowsPerSensor int           `netmon:"max_rows_per_sensor,min=100,max=10000000" doc:"Rows kept of one sensor; what is beyond adds to rows (other)."`
	MaxRows          int           `netmon:"max_rows,min=100,max=100000000" doc:"Rows kept of all sensors; what is beyond adds to rows (other)."`
	MaxBody          plugins.Bytes `netmon:"max_body,min=64KiB,max=1GiB" doc:"Largest body of a push as sent, mostly compressed."`
	MaxDecoded       plugins.Bytes `netmon:"max_decoded,min=64KiB,max=1GiB" doc:"Largest body of a push once decompressed."`
	OfflineAfter     time.Duration `netmon:"offline_after,min=1s,max=24h" doc:"A sensor that said nothing for so long is called offline."`
	ForgetAfter      time.Duration `netmon:"forget_after,min=0s,max=8760h" doc:"A sensor that said nothing for so long is forgotten, its series end; 0s: never."`
}

// Storage selects where the sensors' totals are kept.
type Storage struct {
	Type string `netmon:"type,label" doc:"memory: filled again from the sensors' snapshots after a restart."`
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() *Config {
	return &Config{
		Listen:           []string{"127.0.0.1:8080"},
		Storage:          Storage{Type: "memory"},
		MaxSensors:       1000,
		MaxRowsPerSensor: 100_000,
		MaxRows:          1_000_000,
		MaxBody:          8 << 20,
		MaxDecoded:       32 << 20,
		OfflineAfter:     time.Minute,
		ForgetAfter:      24 * time.Hour,
	}
}

// check finds what the schema cannot express. Relative paths are left alone
// where baseDir is not known.
func (c *Config) check(baseDir string) error {
	var errs []error
	if len(c.Listen) == 0 {
		errs = append(errs, &plugins.Problem{
			Path: []string{"listen"}, Summary: "No address to listen on",
			Detail: "A server needs at least one address, for instance \"127.0.0.1:8080\".",
		})
	}
	if c.Storage.Type != "memory" {
		errs = append(errs, &plugins.Problem{
			Path: []string{"storage", "type"}, Summary: "Unknown kind of storage",
			Detail: fmt.Sprintf("%q is not one of memory.", c.Storage.Type),
		})
	}
	if c.MaxDecoded < c.MaxBody {
		errs = append(errs, &plugins.Problem{
			Path: []string{"max_decoded"}, Summary: "Limits contradict each other",
			Detail: fmt.Sprintf("A body of max_body (%s) could never be decoded into %s.", c.MaxBody, c.MaxDecoded),
		})
	}
	path := c.webConfig(baseDir)
	if baseDir == "" && !filepath.IsAbs(path) {
		path = ""
	}
	if err := web.Validate(path); err != nil {
		errs = append(errs, &plugins.Problem{
			Path: []string{"web_config_file"}, Summary: "Unusable web config file",
			Detail: err.Error(), Cause: err,
		})
	}
	return errors.Join(errs...)
}

// webConfig is the path of the web config file, "" without one.
func (c *Config) webConfig(baseDir string) string {
	if c.WebConfigFile == "" || filepath.IsAbs(c.WebConfigFile) || baseDir == "" {
		return c.WebConfigFile
	}
	return filepath.Join(baseDir, c.WebConfigFile)
}
