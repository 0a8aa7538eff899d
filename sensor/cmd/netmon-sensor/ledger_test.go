package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// balanced returns an error that says where the ledger of a sensor does not close:
// for each ring what the kernel let pass is what was read, passed over, dropped and
// still waits; and what was decoded is what windows and tables hold.
func balanced(s scrape) error {
	var faults []string
	passed := s.by("netmon_capture_packets_total", "shard")
	if len(passed) == 0 {
		return errors.New("no ring is shown")
	}
	for shard, packets := range passed {
		of := func(name string) float64 { return s.by(name, "shard")[shard] }
		parts := of("netmon_frames_total") + of("netmon_capture_skipped_total") + of("netmon_capture_damaged_total") +
			of("netmon_capture_dropped_total") + of("netmon_capture_waiting_packets")
		if packets != parts {
			faults = append(faults, fmt.Sprintf("shard %s: %v packets passed, %v are accounted for", shard, packets, parts))
		}
	}
	if n := s.sum("netmon_audit_imbalance"); n != 0 {
		faults = append(faults, fmt.Sprintf("the imbalance is %v", n))
	}
	return listed(faults)
}

// rests returns an error unless everything that the kernel passed is counted.
func rests(s scrape) error {
	if err := balanced(s); err != nil {
		return err
	}
	for _, name := range []string{"netmon_capture_waiting_packets", "netmon_packets_held"} {
		if n := s.sum(name); n != 0 {
			return fmt.Errorf("%s is %v", name, n)
		}
	}
	return nil
}

// counted is a counter of the kernel's of an interface.
func (h *host) counted(iface, counter string) float64 {
	h.t.Helper()
	text := strings.TrimSpace(h.run("cat", "/sys/class/net/"+iface+"/statistics/"+counter))
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// TestLedger wants every packet that the kernel counted on an interface in its
// place, those that the filter leaves out included.
func TestLedger(t *testing.T) {
	t.Parallel()
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	a.sensor(sensorConfig("filter {\n  ignore_ports = [7777]\n  count = true\n}\n"))
	out := b.blaster("eth0")
	const plain, left, arp, broken = 3000, 2000, 500, 100
	n := uint32(0)
	udp := func(port uint16) func([]byte) []byte {
		return func(f []byte) []byte {
			n++
			return udpFrame(f, 0x0a000000+n%997, 0xc0000201, 5000, port, make([]byte, 200))
		}
	}
	out.send(plain, udp(9))
	out.send(left, udp(7777))
	out.send(arp, func(f []byte) []byte {
		return append(append(f, 2, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 1, 8, 6), make([]byte, 46)...)
	})
	out.send(broken, func(f []byte) []byte {
		return append(append(f, 2, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 1, 8, 0, 0x41), make([]byte, 45)...)
	})
	var s scrape
	eventually(t, 20*time.Second, "everything is counted", func() (err error) {
		if s, err = a.scrape(statusURL + "/metrics"); err != nil {
			t.Fatal(err)
		}
		if err := balanced(s); err != nil && len(s.by("netmon_capture_packets_total", "shard")) > 0 {
			t.Fatal(err) // at every moment
		}
		if err := rests(s); err != nil {
			return err
		}
		if r := s.by("netmon_coverage_ratio", "interface")["eth0"]; r != 1 {
			return fmt.Errorf("the coverage is %v", r)
		}
		if n := s.by("netmon_frames_total", "interface")["eth0"]; n < plain+left+arp+broken {
			return fmt.Errorf("%v frames", n)
		}
		return nil
	})
	frames := s.by("netmon_frames_total", "detail")
	if left != s.sum("netmon_packets_filtered_total") || frames["not_ip"] < arp || frames["malformed"] != broken || frames["decoded"] < plain+left {
		t.Errorf("frames %v, %v left out", frames, s.sum("netmon_packets_filtered_total"))
	}
	seen := s.by("netmon_interface_packets_total", "detail")
	if rx := a.counted("eth0", "rx_packets"); seen["received"] != rx || rx < plain+left+arp+broken {
		t.Errorf("the interface received %v by the kernel, %v by the sensor", rx, seen["received"])
	}
	if hold := s.by("netmon_capture_longest_hold_seconds", "shard"); len(hold) != 2 {
		t.Errorf("longest holds %v", hold)
	}
}

// overloadTime is how long TestOverload lasts: NETMON_OVERLOAD, or some seconds.
func overloadTime(t *testing.T) time.Duration {
	text := os.Getenv("NETMON_OVERLOAD")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("NETMON_OVERLOAD: %v", err)
	}
	return d
}

// TestOverload sends a sensor ten times what it can take: it is stopped for more
// than nine tenths of the time. It loses packets, says to the packet how many, and loses none
// once the overload is over.
func TestOverload(t *testing.T) {
	length := overloadTime(t)
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	sensor := a.sensor(`
sensor {
  interval  = "1s"
  state_dir = ""
}
capture {
  interfaces  = ["eth0"]
  shards      = 1
  ring_memory = "2MiB"
  max_flows   = 20000
}
`)
	out := b.blaster("eth0")
	n := uint32(0)
	frame := func(f []byte) []byte {
		n++
		return udpFrame(f, 0x0a000000+n%100_000, 0xc0000201, 5000, 9, make([]byte, 18))
	}
	begin := time.Now()
	for time.Since(begin) < length {
		sensor.signal(syscall.SIGSTOP)
		for round := time.Now(); time.Since(round) < 900*time.Millisecond; {
			out.send(1024, frame)
		}
		sensor.signal(syscall.SIGCONT)
		for round := time.Now(); time.Since(round) < 50*time.Millisecond; {
			out.send(1024, frame)
		}
	}
	took := time.Since(begin)

	var s scrape
	settle := func(what string) (read, dropped float64) {
		t.Helper()
		eventually(t, 30*time.Second, what, func() (err error) {
			if s, err = a.scrape(statusURL + "/metrics"); err != nil {
				return err
			}
			if err := rests(s); err != nil {
				return err
			}
			sent := a.counted("eth0", "rx_packets") + a.counted("eth0", "tx_packets")
			read, dropped = s.sum("netmon_frames_total"), s.sum("netmon_capture_dropped_total")
			if read+dropped != sent {
				return fmt.Errorf("%v read and %v dropped of %v", read, dropped, sent)
			}
			if got, want := s.by("netmon_coverage_ratio", "interface")["eth0"], read/sent; got != want {
				return fmt.Errorf("the coverage is %v, want %v", got, want)
			}
			return nil
		})
		return read, dropped
	}
	read, dropped := settle("what was lost is known to the packet")
	refused := b.counted("eth0", "tx_dropped")
	if sent := float64(out.taken); sent-refused > read+dropped {
		t.Errorf("%v sent, of which %v were dropped by the device: %v read and %v dropped", sent, refused, read, dropped)
	}
	if dropped == 0 || read == 0 {
		t.Fatalf("%v read and %v dropped: no overload", read, dropped)
	}
	t.Logf("%v of overload: %d sent, %.0f read, %.0f dropped (%.1f %% read), coverage %.4f",
		took.Round(time.Second/10), out.taken, read, dropped, 100*read/(read+dropped), s.sum("netmon_coverage_ratio"))

	const more = 2000
	for range more / 100 { // well within the ring, whenever it is read
		out.send(100, frame)
		time.Sleep(time.Millisecond) // the pace of the traffic, no wait for anything
	}
	if again, after := settle("it has recovered"); after != dropped || again < read+more {
		t.Errorf("after the overload %v more read and %v more dropped of %d", again-read, after-dropped, more)
	}
}
