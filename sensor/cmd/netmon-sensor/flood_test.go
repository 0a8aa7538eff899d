package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestLiveFlood sends a sensor packets of ever new flows, faster than it may be able
// to take: its memory stays below its ceiling, its ledger closes, and the bounds that
// are reached show. With NETMON_FLOOD packets they are of a million flows that stay in
// the table; the log of the test has the longest hold of a block.
func TestLiveFlood(t *testing.T) {
	packets, flows, room := 60_000, 60_000, 20_000
	if text := os.Getenv("NETMON_FLOOD"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("NETMON_FLOOD: %v", err)
		}
		packets, flows, room = n, 1_000_000, 1_000_000
	}
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	p := a.sensor(fmt.Sprintf(`
sensor {
  interval  = "1s"
  state_dir = ""
}
capture {
  interfaces = ["eth0"]
  shards     = 1
  max_flows  = %d
}
`, room))
	out := b.blaster("eth0")
	n := uint32(0)
	peak, hold, held := 0.0, 0.0, 0.0
	var s scrape
	look := func() (err error) {
		if s, err = a.scrape(statusURL + "/metrics"); err != nil {
			return err
		}
		hold, held = max(hold, s.sum("netmon_capture_longest_hold_seconds")), max(held, s.sum("netmon_flows"))
		_, memory := consumed(t, p.pid())
		peak = max(peak, memory)
		return nil
	}
	begin, looked := time.Now(), time.Now()
	for sent := 0; sent < packets; sent += 1024 {
		out.send(min(1024, packets-sent), func(f []byte) []byte {
			n++
			return udpFrame(f, 0x0a000000+n%uint32(flows), 0xc0000201, 5000, 9, make([]byte, 18))
		})
		if time.Since(looked) > 500*time.Millisecond {
			looked = time.Now()
			if err := look(); err != nil {
				t.Fatal(err)
			}
		}
	}
	took := time.Since(begin)
	eventually(t, 30*time.Second, "everything is accounted for", func() error {
		if err := look(); err != nil {
			return err
		}
		if err := rests(s); err != nil {
			return err
		}
		sent := a.counted("eth0", "rx_packets") + a.counted("eth0", "tx_packets")
		if got := s.sum("netmon_frames_total") + s.sum("netmon_capture_dropped_total"); got != sent || got < float64(packets) {
			return fmt.Errorf("%v read or dropped of %v, %d of them the flood's", got, sent, packets)
		}
		return nil
	})
	ceiling := (s.sum("netmon_memory_ceiling_bytes") - s.sum("netmon_capture_ring_bytes")) / (1 << 20)
	if peak == 0 || peak > ceiling {
		t.Errorf("%.0f MiB of memory beside the rings, the ceiling is %.0f", peak, ceiling)
	}
	if flows > room && s.sum("netmon_flows_evicted_total") == 0 {
		t.Error("no flow was evicted, or it is not told")
	}
	t.Logf("%d packets in %v, %.0f dropped, up to %.0f flows, %.0f MiB of memory of %.0f, longest hold %.2f ms",
		packets, took.Round(time.Millisecond), s.sum("netmon_capture_dropped_total"), held, peak, ceiling, 1000*hold)
}
