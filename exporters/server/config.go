package server

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/netmon-sensor/netmon/plugins"
)

// Config is the body of exporter "server" in netmon.hcl, and of the block
// server in server.hcl.
type Config struct {
	Listen        []string `netmon:"listen,format=listen_address" doc:"Addresses of /metrics, the API and the health pages."`
	ProbeListen   []string `netmon:"probe_listen,format=listen_address" doc:"Addresses of the health pages alone, without TLS and login."`
	WebConfigFile string   `netmon:"web_config_file,format=path" doc:"TLS, client certificates and basic auth, in the format of Prometheus' exporter-toolkit."`
	Insecure      bool     `netmon:"insecure" doc:"Allow listen addresses beyond this machine without TLS or without a login."`
	Reload        bool     `netmon:"reload" doc:"Let POST /-/reload read this configuration again, for those who may write."`
	Auth          Auth     `netmon:"auth" doc:"Who may read, push and write."`
	Quota         Quota    `netmon:"quota" doc:"What one sensor may send; beyond it, it is asked to wait."`
	Storage       Storage  `netmon:"storage" doc:"Where the sensors' totals are kept."`

	MaxSensors       int           `netmon:"max_sensors,min=1,max=100000" doc:"Sensors kept; further ones are refused."`
	MaxRowsPerSensor int           `netmon:"max_rows_per_sensor,min=100,max=10000000" doc:"Rows kept of one sensor; what is beyond adds to rows (other)."`
	MaxRows          int           `netmon:"max_rows,min=100,max=100000000" doc:"Rows kept of all sensors; what is beyond adds to rows (other)."`
	MaxBody          plugins.Bytes `netmon:"max_body,min=64KiB,max=1GiB" doc:"Largest body of a push as sent, mostly compressed."`
	MaxDecoded       plugins.Bytes `netmon:"max_decoded,min=64KiB,max=1GiB" doc:"Largest body of a push once decompressed."`
	MaxConnections   int           `netmon:"max_connections,min=10,max=1000000" doc:"Connections open at a time; a quarter of them from one address. Further ones are closed at once."`
	OfflineAfter     time.Duration `netmon:"offline_after,min=1s,max=24h" doc:"A sensor that said nothing for so long is called offline."`
	ForgetAfter      time.Duration `netmon:"forget_after,min=0s,max=8760h" doc:"A sensor that said nothing for so long is forgotten, its series end; 0s: never."`
}

// Quota bounds each sensor, so that one gone wild takes nothing from the others.
// Up to ten seconds of pushes and a minute of the rest may come at once.
type Quota struct {
	Pushes int           `netmon:"pushes_per_second,min=0,max=1000000" doc:"Windows, snapshots and reports; 0: any number."`
	Rows   int           `netmon:"rows_per_minute,min=0,max=1000000000" doc:"Rows of them; 0: any number."`
	Bytes  plugins.Bytes `netmon:"bytes_per_minute,min=0B,max=1TiB" doc:"Their size once decompressed; 0: any."`
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() *Config {
	return &Config{
		Listen:           []string{"127.0.0.1:8080"},
		Storage:          defaultStorage(),
		Quota:            Quota{Pushes: 50, Rows: 5_000_000, Bytes: 512 << 20},
		MaxSensors:       1000,
		MaxRowsPerSensor: 100_000,
		MaxRows:          1_000_000,
		MaxBody:          8 << 20,
		MaxDecoded:       32 << 20,
		MaxConnections:   2000,
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
	errs = append(errs, c.Storage.check())
	if c.MaxDecoded < c.MaxBody {
		errs = append(errs, &plugins.Problem{
			Path: []string{"max_decoded"}, Summary: "Limits contradict each other",
			Detail: fmt.Sprintf("A body of max_body (%s) could never be decoded into %s.", c.MaxBody, c.MaxDecoded),
		})
	}
	security, err := c.security(baseDir)
	if err != nil {
		errs = append(errs, err)
	}
	if security != nil { // known
		errs = append(errs, c.checkExposure(security)...)
	}
	return errors.Join(errs...)
}

// at resolves a path of the configuration: a relative one starts at baseDir.
func at(baseDir, path string) string {
	if path == "" || filepath.IsAbs(path) || baseDir == "" {
		return path
	}
	return filepath.Join(baseDir, path)
}
