// Netmon-exporter-stdout prints what each domain sent and received. It is a whole
// exporter, to be copied: the options, four methods, and one call in main.
//
//	exporter "stdout" {
//	  format = "json"
//	  output = "/var/log/netmon/domains.json"
//	}
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

func main() {
	plugins.Serve(plugins.Plugin{
		Type:    "stdout",
		Version: "1.0.0",
		Summary: "Prints the traffic of each domain.",
		New:     func() plugins.Exporter { return &exporter{Format: "text"} },
	})
}

// exporter is its own block in netmon.hcl; what New sets are the defaults.
type exporter struct {
	Format string `netmon:"format,enum=text|json" doc:"Lines of text or of JSON."`
	Output string `netmon:"output,format=path" doc:"File to append to; empty for the log of the sensor."`

	out *os.File
}

func (e *exporter) Config() any { return e }

// Start opens the output. It is never standard output: that is the sensor's.
func (e *exporter) Start(_ context.Context, host plugins.Host) (err error) {
	if e.out = os.Stderr; e.Output == "" {
		return nil
	}
	e.out, err = os.OpenFile(host.Path(e.Output), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return &plugins.Problem{Path: []string{"output"}, Summary: "Cannot open the output", Detail: err.Error()}
	}
	return nil
}

// Export prints one window. After an error or a crash the same window comes again.
func (e *exporter) Export(_ context.Context, w *netmonpb.Window) error {
	var text bytes.Buffer
	for _, row := range w.Rows {
		if row.Key.GetView() != netmonpb.View_VIEW_DOMAINS {
			continue
		}
		at, key, n := time.Unix(0, int64(w.EndNs)).UTC().Format(time.RFC3339), row.Key, row.Counters
		if e.Format == "text" {
			fmt.Fprintf(&text, "%s %s %s sent %d received %d\n", at, key.Interface, key.Domain, n.GetBytesSent(), n.GetBytesReceived())
			continue
		}
		line, err := json.Marshal(map[string]any{
			"time": at, "interface": key.Interface, "domain": key.Domain,
			"bytes_sent": n.GetBytesSent(), "bytes_received": n.GetBytesReceived(),
		})
		if err != nil {
			return err
		}
		text.Write(append(line, '\n'))
	}
	_, err := e.out.Write(text.Bytes())
	return err
}

func (e *exporter) Stop(context.Context) error {
	if e.out == os.Stderr {
		return nil
	}
	return e.out.Close()
}
