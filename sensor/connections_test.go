package sensor

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

const rst = 0x04

// connections is what windows say of connections: VIEW_PROTOCOLS by direction, the
// gauges of each window by state.
func connections(ws []*netmonpb.Window) (sums map[netmonpb.Direction]*netmonpb.Counters, gauges []map[string]float64) {
	sums = map[netmonpb.Direction]*netmonpb.Counters{}
	for _, w := range ws {
		now := map[string]float64{}
		for _, r := range w.Rows {
			switch {
			case r.Key.View == netmonpb.View_VIEW_PROTOCOLS:
				if sums[r.Key.Direction] == nil {
					sums[r.Key.Direction] = &netmonpb.Counters{}
				}
				rows.Add(sums[r.Key.Direction], r.Counters)
			case r.Key.Item == activeItem:
				now[r.Key.Detail] = r.GetGauge()
			}
		}
		gauges = append(gauges, now)
	}
	return sums, gauges
}

// healthOf leaves of counters what is no traffic.
func healthOf(c *netmonpb.Counters) *netmonpb.Counters {
	return &netmonpb.Counters{
		Connections: c.Connections, Duration: c.Duration, Handshake: c.Handshake, HandshakeAck: c.HandshakeAck,
		RetransmittedBytes: c.RetransmittedBytes, Resets: c.Resets, Refused: c.Refused, Unanswered: c.Unanswered,
	}
}

func TestConnections(t *testing.T) {
	c := newScene(t)
	k := c.connect("10.0.0.1", 5000, "192.0.2.1", 443) // 0, 1, 2 ms
	k.up(psh|ack, make([]byte, 500))
	k.seq -= 500
	k.up(psh|ack, make([]byte, 500)) // again, 4 ms
	in := c.connect("192.0.2.9", 6000, "10.0.0.1", 80)
	in.down(ack, make([]byte, 300))
	none := &conn{c, "10.0.0.1", "192.0.2.1", 5001, 81, 1000, 9000}
	none.up(syn, nil)
	refused := &conn{c, "10.0.0.1", "192.0.2.1", 5002, 82, 1000, 9000}
	refused.up(syn, nil)
	refused.down(rst|ack, nil)
	c.udp("10.0.0.1", 5003, "192.0.2.1", 9000, make([]byte, 100))
	c.wait(20 * time.Second)

	k.up(fin|ack, nil) // 20.013 s
	k.seq++
	k.down(ack, nil)
	c.wait(time.Second)
	k.down(fin|ack, nil)
	k.ack++
	c.wait(time.Second)
	k.up(ack, nil) // 22.016 s
	in.up(rst, nil)
	c.wait(2 * time.Second)
	c.udp("10.0.0.9", 5003, "192.0.2.1", 9000, make([]byte, 100)) // 24.018 s

	buckets := func(n int, at ...int) []uint64 {
		b := make([]uint64, n)
		for _, i := range at {
			b[i]++
		}
		return b
	}
	want := map[netmonpb.Direction]*netmonpb.Counters{
		netmonpb.Direction_DIRECTION_OUTBOUND: {
			Connections: 5, RetransmittedBytes: 500, Resets: 1, Refused: 1, Unanswered: 1,
			Handshake:    &netmonpb.Histogram{Buckets: buckets(13, 0), SumNs: 1e6},
			HandshakeAck: &netmonpb.Histogram{Buckets: buckets(13, 1), SumNs: 2e6},
			Duration:     &netmonpb.Histogram{Buckets: buckets(11, 0, 0, 0, 0, 4), SumS: 22, SumNs: 1e6 + 16e6},
		},
		netmonpb.Direction_DIRECTION_INBOUND: {
			Connections: 1, Resets: 1,
			Handshake:    &netmonpb.Histogram{Buckets: buckets(13, 0), SumNs: 1e6},
			HandshakeAck: &netmonpb.Histogram{Buckets: buckets(13, 1), SumNs: 2e6},
			Duration:     &netmonpb.Histogram{Buckets: buckets(11, 4), SumS: 22, SumNs: 12e6},
		},
	}
	cfg := testConfig()
	cfg.Capture.HomeNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	path := c.file()
	var gauges []map[string]float64
	for _, shards := range []int{1, 2, 8} {
		sums, got := connections(windows(t, path, shards, cfg))
		for d, s := range sums {
			sums[d] = healthOf(s)
		}
		if diff := cmp.Diff(want, sums, protocmp.Transform()); diff != "" {
			t.Errorf("%d shards (-want +got):\n%s", shards, diff)
		}
		if gauges == nil {
			gauges = got
		}
		if diff := cmp.Diff(gauges, got); diff != "" {
			t.Errorf("gauges of one shard and of %d (-one +%d):\n%s", shards, shards, diff)
		}
	}
	states := []map[string]float64{ // without repetitions
		{"tcp/established": 2, "tcp/syn_sent": 1, "udp/active": 1},
		{"tcp/established": 1, "tcp/syn_sent": 1, "udp/active": 1, "tcp/fin_wait2": 1},
		{"tcp/established": 1, "tcp/syn_sent": 1, "udp/active": 1, "tcp/fin_wait2": 0, "tcp/time_wait": 1},
		{"tcp/established": 0, "tcp/syn_sent": 1, "udp/active": 1, "tcp/time_wait": 1},
		{"tcp/syn_sent": 0, "udp/active": 0, "tcp/time_wait": 0},
	}
	if diff := cmp.Diff(states, slices.CompactFunc(gauges, maps.Equal)); diff != "" {
		t.Errorf("gauges (-want +got):\n%s", diff)
	}
}

// TestEveryConnectionIsOverOnce wants of every capture one duration for each
// connection, and no ACK without its SYN+ACK.
func TestEveryConnectionIsOverOnce(t *testing.T) {
	for _, path := range captures(t) {
		sums, _ := connections(windows(t, path, 2, testConfig()))
		for d, s := range sums {
			count := func(h *netmonpb.Histogram) (n uint64) {
				for _, b := range h.GetBuckets() {
					n += b
				}
				return n
			}
			if n := count(s.Duration); n != s.Connections {
				t.Errorf("%s: %d durations of %d connections %v", filepath.Base(path), n, s.Connections, d)
			}
			if a, b := count(s.Handshake), count(s.HandshakeAck); a < b || s.Refused > s.Resets {
				t.Errorf("%s: %s", filepath.Base(path), fmt.Sprint(s))
			}
		}
	}
}
