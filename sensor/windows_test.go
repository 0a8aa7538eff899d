package sensor

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
)

// windows replays a capture and returns the windows that exporters would get.
func windows(t *testing.T, path string, shards int, cfg config.Config) []*netmonpb.Window {
	t.Helper()
	return windowsOf(t, path, shards, cfg, func(*join) {})
}

// windowsOf lets a test change the join first.
func windowsOf(t *testing.T, path string, shards int, cfg config.Config, change func(*join)) []*netmonpb.Window {
	t.Helper()
	file, err := capture.OpenFile(path, shards, pick(shards))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPipeline(shards, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	var got []*netmonpb.Window
	change(p.join)
	p.wait = true
	p.check = captureFilter(&cfg)
	p.join.publish = func(start, end int64, rows []*netmonpb.Row) error {
		got = append(got, &netmonpb.Window{StartNs: uint64(start), EndNs: uint64(end), Rows: rows})
		return nil
	}
	var g errgroup.Group
	for i, src := range file.Sources() {
		sh := p.shard(i, src, sides{home: cfg.Capture.HomeNetworks}, names.ReplayLimits(), flow.Options{HoldNS: int64(holdTime), KeepIdle: true})
		g.Go(func() error { return sh.run(t.Context()) })
	}
	if err := p.join.run(p.in, func() {}); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return got
}

func testConfig() config.Config {
	cfg := config.Default()
	cfg.Filter = config.Filter{}
	cfg.Sensor.Interval = time.Second
	return cfg
}

// sums adds up one view of a window.
func sums(w *netmonpb.Window, v netmonpb.View) *netmonpb.Counters {
	s := new(netmonpb.Counters)
	for _, r := range w.Rows {
		if c := r.Counters; r.Key.View == v && c != nil {
			s.BytesSent += c.BytesSent
			s.BytesReceived += c.BytesReceived
			s.PacketsSent += c.PacketsSent
			s.PacketsReceived += c.PacketsReceived
			s.Connections += c.Connections
			s.Accesses += c.Accesses
		}
	}
	return s
}

// TestEveryViewHasTheSameSums wants bytes conserved in every window of every
// capture: from the ledger through each view.
func TestEveryViewHasTheSameSums(t *testing.T) {
	for _, path := range captures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			totals := decode(t, replay(t, path, 1)).Totals
			var bytes, connections uint64
			for i, w := range windows(t, path, 2, testConfig()) {
				d := sums(w, netmonpb.View_VIEW_DOMAINS)
				for _, v := range []netmonpb.View{netmonpb.View_VIEW_ADDRESSES, netmonpb.View_VIEW_PROTOCOLS} {
					if s := sums(w, v); !proto.Equal(s, d) {
						t.Errorf("window %d: %v sums to %v, domains to %v", i+1, v, s, d)
					}
				}
				bytes += d.BytesSent + d.BytesReceived
				connections += d.Connections
				for _, r := range w.Rows {
					if r.Key.Item == "audit_imbalance" && r.GetGauge() != 0 {
						t.Errorf("window %d: audit_imbalance is %v", i+1, r.GetGauge())
					}
				}
			}
			if bytes != totals["ip_bytes"] || connections != totals["connections"] {
				t.Errorf("windows sum to %d bytes and %d connections, want %d and %d", bytes, connections, totals["ip_bytes"], totals["connections"])
			}
		})
	}
}

// TestWindowsDoNotShowShards wants the same traffic rows in the same windows for
// any number of shards.
func TestWindowsDoNotShowShards(t *testing.T) {
	for _, path := range captures(t) {
		want := trafficRows(windows(t, path, 1, testConfig()))
		for _, shards := range []int{2, 4, 8} {
			if diff := cmp.Diff(want, trafficRows(windows(t, path, shards, testConfig())), protocmp.Transform()); diff != "" {
				t.Errorf("%s with %d shards (-one +%d):\n%s", filepath.Base(path), shards, shards, diff)
			}
		}
	}
}

// trafficRows leaves out what the sensor says of itself: there shards do show.
func trafficRows(ws []*netmonpb.Window) (out []*netmonpb.Window) {
	for _, w := range ws {
		c := &netmonpb.Window{StartNs: w.StartNs, EndNs: w.EndNs}
		for _, r := range w.Rows {
			if r.Key.View != netmonpb.View_VIEW_SENSOR {
				c.Rows = append(c.Rows, r)
			}
		}
		out = append(out, c)
	}
	return out
}

// domains sums the windows' rows by domain and source: "name source" to bytes,
// connections and accesses.
func domains(ws []*netmonpb.Window) map[string]string {
	type sum struct{ bytes, connections, accesses uint64 }
	sums := map[string]sum{}
	for _, w := range ws {
		for _, r := range w.Rows {
			if r.Key.View == netmonpb.View_VIEW_DOMAINS {
				k := r.Key.Domain + " " + sourceName(names.Source(r.Key.NameSource))
				s := sums[k]
				s.bytes += r.Counters.GetBytesSent() + r.Counters.GetBytesReceived()
				s.connections += r.Counters.GetConnections()
				s.accesses += r.Counters.GetAccesses()
				sums[k] = s
			}
		}
	}
	out := map[string]string{}
	for k, s := range sums {
		out[k] = fmt.Sprintf("%d bytes %d connections %d accesses", s.bytes, s.connections, s.accesses)
	}
	return out
}

func TestWindows(t *testing.T) {
	tests := []struct {
		name  string
		scene func(*scene)
		cfg   func(*config.Config)
		want  map[string]string
	}{
		{
			name: "the handshake waits for the name",
			scene: func(c *scene) {
				c.answer("10.0.0.1", "cdn.example", "192.0.2.1")
				k := c.connect("10.0.0.1", 5000, "192.0.2.1", 443)
				c.wait(3 * time.Second) // three windows
				k.up(psh|ack, hello(c.t, "www.example.com"))
				c.wait(3 * time.Second)
				k.down(ack, make([]byte, 1000))
			},
			want: map[string]string{
				"www.example.com sni": "", // filled below: the size of a hello varies
				"(unattributed) none": "84 bytes 1 connections 1 accesses",
			},
		},
		{
			name: "two clients with two names for one address",
			scene: func(c *scene) {
				c.answer("10.0.0.1", "a.example", "192.0.2.1")
				c.answer("10.0.0.2", "b.example", "192.0.2.1")
				c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 72))
				c.udp("10.0.0.2", 5000, "192.0.2.1", 9000, make([]byte, 172))
				c.udp("10.0.0.3", 5000, "192.0.2.1", 9000, make([]byte, 272))
			},
			want: map[string]string{
				"a.example dns_client": "100 bytes 1 connections 1 accesses",
				"b.example dns_client": "200 bytes 1 connections 1 accesses",
				"b.example dns_any":    "300 bytes 1 connections 1 accesses",
				"(unattributed) none":  "160 bytes 2 connections 2 accesses",
			},
		},
		{
			name: "an access is a connection after a pause",
			scene: func(c *scene) {
				c.answer("10.0.0.1", "a.example", "192.0.2.1")
				for port := range uint16(5) {
					c.udp("10.0.0.1", 5000+port, "192.0.2.1", 9000, make([]byte, 72))
					c.wait(12 * time.Second)
				}
				c.wait(31 * time.Second)
				c.udp("10.0.0.1", 6000, "192.0.2.1", 9000, make([]byte, 72))
			},
			want: map[string]string{
				"a.example dns_client": "600 bytes 6 connections 2 accesses",
				"(unattributed) none":  "80 bytes 1 connections 1 accesses",
			},
		},
		{
			name: "name filters keep their bytes in a row of their own",
			scene: func(c *scene) {
				c.answer("10.0.0.1", "a.example", "192.0.2.1")
				c.answer("10.0.0.1", "ads.example", "192.0.2.2")
				c.answer("10.0.0.1", "b.test", "192.0.2.3")
				c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 72))
				c.udp("10.0.0.1", 5000, "192.0.2.2", 9000, make([]byte, 72))
				c.udp("10.0.0.1", 5000, "192.0.2.3", 9000, make([]byte, 72))
			},
			cfg: func(c *config.Config) {
				c.Filter.OnlyDomains = []string{"*.example"}
				c.Filter.IgnoreDomains = []string{"ads.example"}
			},
			want: map[string]string{
				"a.example dns_client":  "100 bytes 1 connections 1 accesses",
				"(excluded) dns_client": "200 bytes 2 connections 2 accesses",
				"(unattributed) none":   "238 bytes 1 connections 1 accesses",
			},
		},
		{
			name: "what the filter leaves out still teaches names",
			scene: func(c *scene) {
				c.answer("10.0.0.1", "a.example", "192.0.2.1")
				c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 72))
				c.udp("10.0.0.1", 5000, "192.0.2.1", 9001, make([]byte, 72))
			},
			cfg: func(c *config.Config) {
				c.Filter.IgnorePorts = []config.PortRange{{First: 53, Last: 53}, {First: 9001, Last: 9001}}
			},
			want: map[string]string{"a.example dns_client": "100 bytes 1 connections 1 accesses"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, cfg := newScene(t), testConfig()
			test.scene(c)
			if test.cfg != nil {
				test.cfg(&cfg)
			}
			got := domains(windows(t, c.file(), 2, cfg))
			for k, v := range test.want {
				if v == "" && got[k] != "" {
					test.want[k] = got[k]
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("domains (-want +got):\n%s", diff)
			}
		})
	}
}
