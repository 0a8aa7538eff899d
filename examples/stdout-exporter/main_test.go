package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/plugins/plugintest"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

func TestContract(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			plugintest.Suite{
				New:    func() plugins.Exporter { return &exporter{Format: "text"} },
				Config: `{"output":"domains","format":"` + format + `"}`,
			}.Run(t)
		})
	}
}

func TestLines(t *testing.T) {
	window := &netmonpb.Window{EndNs: 1_700_000_000e9, Rows: []*netmonpb.Row{
		{Key: &netmonpb.Key{View: netmonpb.View_VIEW_ADDRESSES}},
		{
			Key:      &netmonpb.Key{View: netmonpb.View_VIEW_DOMAINS, Interface: "eth0", Domain: "example.com"},
			Counters: &netmonpb.Counters{BytesSent: 1, BytesReceived: 2},
		},
	}}
	for format, want := range map[string]string{
		"text": "2023-11-14T22:13:20Z eth0 example.com sent 1 received 2\n",
		"json": `{"bytes_received":2,"bytes_sent":1,"domain":"example.com","interface":"eth0","time":"2023-11-14T22:13:20Z"}` + "\n",
	} {
		dir := t.TempDir()
		e := &exporter{Format: format, Output: "out"}
		if err := e.Start(t.Context(), plugins.Host{BaseDir: dir}); err != nil {
			t.Fatal(err)
		}
		if err := e.Export(t.Context(), window); err != nil {
			t.Fatal(err)
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", format, got, err, want)
		}
	}
}
