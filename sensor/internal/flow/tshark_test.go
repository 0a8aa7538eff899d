package flow_test

import (
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// A dissection is what can be compared: payload sent again or out of order, flows
// with a RST, and the times from SYN to ACK in microseconds.
type dissection struct {
	again  uint64
	resets int
	acks   []int64
}

// TestAgainstTshark compares captures where tshark means the same. Those left out
// have traffic in tunnels, copies of packets or times that go astray.
func TestAgainstTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		if os.Getenv("NETMON_REQUIRE_NET") == "1" {
			t.Fatal("tshark is missing")
		}
		t.Skip("tshark is missing")
	}
	for _, name := range []string{
		"workstation.pcap", "top-https.pcap", "tcp-reassembly.pcap", "http-one-way.pcap", "ldap-starttls.pcap",
		"many-services.pcap", "tls-ech.pcap", "sll-http.pcap", "tso-pcapng.pcapng", "dns-tcp.pcap",
	} {
		path := filepath.Join("../../../../shared/pcaps", name)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("the shared captures are absent: %v", err)
		}
		t.Run(name, func(t *testing.T) {
			got := dissect(t, path)
			want, repeated := tshark(t, path)
			if got.again != want.again || got.resets != want.resets {
				t.Errorf("%d bytes again, %d resets; tshark says %d, %d", got.again, got.resets, want.again, want.resets)
			}
			slices.Sort(got.acks)
			slices.Sort(want.acks)
			if len(got.acks) != len(want.acks) {
				t.Fatalf("%d handshakes, tshark says %d", len(got.acks), len(want.acks))
			}
			different := 0
			for _, d := range got.acks {
				if _, found := slices.BinarySearch(want.acks, d); !found {
					different++
				}
			}
			if different > repeated { // tshark counts from the last SYN
				t.Errorf("handshakes took %d µs, tshark says %d", got.acks, want.acks)
			}
		})
	}
}

func dissect(t *testing.T, path string) (d dissection) {
	t.Helper()
	file, err := capture.OpenFile(path, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := file.Sources()[0]
	defer src.Close()
	table := flow.New(flow.Options{KeepIdle: true})
	for {
		block, err := src.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range block {
			var h packet.Header
			if h.Decode(packet.Link(p.Link), p.Data, p.Length) == packet.Decoded {
				flow.Arrive(table, &h, p.Interface, p.Time, p.Order)
			}
		}
	}
	for _, r := range table.Harvest(nil, src.Clock(), true) {
		d.again += r.Retransmitted
		if r.Reset {
			d.resets++
		}
		if r.ACK != 0 {
			d.acks = append(d.acks, r.ACK/1000)
		}
	}
	return d
}

// tshark says how many connections had their SYN repeated, too.
func tshark(t *testing.T, path string) (d dissection, repeated int) {
	t.Helper()
	out, err := exec.Command("tshark", "-r", path, "-n", "-o", "tcp.desegment_tcp_streams:FALSE", "-Y", "tcp",
		"-T", "fields", "-E", "separator=|", "-E", "occurrence=f", "-e", "tcp.stream", "-e", "tcp.len", "-e", "tcp.flags", "-e", "tcp.analysis.retransmission",
		"-e", "tcp.analysis.out_of_order", "-e", "tcp.analysis.initial_rtt").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	resets, acks, syns := map[string]bool{}, map[string]int64{}, map[string]int{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		length, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			t.Fatalf("tshark says %q", line)
		}
		flags, err := strconv.ParseUint(f[2], 0, 16)
		if err != nil {
			t.Fatalf("tshark says %q", line)
		}
		if f[3] != "" || f[4] != "" {
			d.again += length
		}
		if flags&packet.RST != 0 {
			resets[f[0]] = true
		}
		if flags&(packet.SYN|packet.ACK) == packet.SYN {
			syns[f[0]]++
		}
		if rtt, err := strconv.ParseFloat(f[5], 64); err == nil {
			acks[f[0]] = int64(math.Ceil(math.Round(rtt*1e9) / 1e3))
		}
	}
	d.resets = len(resets)
	for stream, rtt := range acks {
		d.acks = append(d.acks, rtt)
		if syns[stream] > 1 {
			repeated++
		}
	}
	return d, repeated
}
