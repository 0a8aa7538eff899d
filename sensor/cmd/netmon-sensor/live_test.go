package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLiveDomainsAreExact shows P1 and P2 on real packets: every name gets its
// connections, and all names together the kernel's own count of bytes and
// packets.
func TestLiveDomainsAreExact(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.client.sensor(sensorConfig(exporterServer))
	m := w.client.meter("eth0")
	w.visit(tour())
	live := w.settle(m, func() (scrape, error) { return w.client.scrape(localMetrics) })
	checkDomains(t, live, tour())
	checkHealth(t, w.client)
}

// TestReplayIsLive shows P3: what was counted live is counted again, by any
// number of shards, from a recording of the same packets.
func TestReplayIsLive(t *testing.T) {
	t.Parallel()
	needTools(t, "tcpdump")
	needRealRoot(t) // tcpdump wants to change its user
	w := newTown(t)
	w.client.sensor(sensorConfig(exporterServer))
	pcap := filepath.Join(tempDir(t), "tour.pcap")
	tcpdump := start(t, "tcpdump", w.client.command("tcpdump", "-i", "eth0", "-n", "-U", "--immediate-mode", "-B", "8192", "-Z", "root", "-w", pcap))
	tcpdump.until("listening on eth0")
	m := w.client.meter("eth0")
	w.visit(tour())
	live := w.settle(m, func() (scrape, error) { return w.client.scrape(localMetrics) })
	stopRecording(tcpdump)
	replayAgrees(t, pcap, live)
}

// stopRecording ends tcpdump and makes sure that it has everything.
func stopRecording(tcpdump *program) {
	tcpdump.t.Helper()
	tcpdump.signal(syscall.SIGINT)
	if code := tcpdump.wait(10 * time.Second); code != 0 {
		tcpdump.t.Fatalf("tcpdump ended with %d", code)
	}
	if err := containsAll(tcpdump.stderr.String(), "0 packets dropped by kernel"); err != nil {
		tcpdump.t.Fatal(err)
	}
}

// checkHealth wants no packet dropped and the ledger in balance.
func checkHealth(t testing.TB, h *host) {
	t.Helper()
	s, err := h.scrape(statusURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if _, there := s.by("netmon_audit_imbalance", "shard")["0"]; !there {
		t.Error("no netmon_audit_imbalance")
	}
	for _, name := range []string{"netmon_audit_imbalance", "netmon_capture_dropped_total", "netmon_packets_held"} {
		if v := s.sum(name); v != 0 {
			t.Errorf("%s is %v at rest, want 0", name, v)
		}
	}
}

// replayed is what the tests look at of netmon-replay/1.
type replayed struct {
	Schema  string
	Domains []struct {
		Name string
		replayedCounts
	}
	Unattributed replayedCounts
	Totals       struct {
		Frames      int
		IPBytes     float64 `json:"ip_bytes"`
		Flows       int
		Connections int
	}
}

type replayedCounts struct {
	BytesSent     float64 `json:"bytes_sent"`
	BytesReceived float64 `json:"bytes_received"`
	Connections   float64
}

func parseReplay(t testing.TB, text string) replayed {
	t.Helper()
	var r replayed
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v in: %s", err, tail(text))
	}
	if r.Schema != "netmon-replay/1" {
		t.Fatalf("schema %q", r.Schema)
	}
	return r
}

// replay runs the sensor on a capture file.
func replay(t testing.TB, pcap string, flags ...string) (code int, stdout, stderr string) {
	t.Helper()
	return call(t, command(t, append([]string{"-pcap", pcap}, flags...)...))
}

// replayAgrees replays what was seen live, by 1, 2, 4 and 8 shards.
func replayAgrees(t testing.TB, pcap string, live scrape) {
	t.Helper()
	var first string
	for _, shards := range []int{1, 2, 4, 8} {
		code, stdout, stderr := replay(t, pcap, "-shards", fmt.Sprint(shards))
		if code != 0 {
			t.Fatalf("replay with %d shards ended with %d: %s", shards, code, stderr)
		}
		if first == "" {
			first = stdout
		} else if stdout != first {
			t.Errorf("%d shards print something else than 1 shard", shards)
		}
	}
	r := parseReplay(t, first)
	domains := map[string]replayedCounts{"(unattributed)": r.Unattributed}
	for _, d := range r.Domains {
		domains[d.Name] = d.replayedCounts
	}
	for metric, of := range map[string]func(replayedCounts) float64{
		"network_domain_bytes_sent_total":     func(c replayedCounts) float64 { return c.BytesSent },
		"network_domain_bytes_received_total": func(c replayedCounts) float64 { return c.BytesReceived },
		"network_domain_connections_total":    func(c replayedCounts) float64 { return c.Connections },
	} {
		want := live.by(metric, "domain")
		got := map[string]float64{}
		for name, c := range domains {
			got[name] = of(c)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s is %v live and %v in replay", metric, want, got)
		}
	}
}

// TestDebugTellsWhatIsOpened wants rings, compiled filters and plugins with
// their state in the output of -d.
func TestDebugTellsWhatIsOpened(t *testing.T) {
	t.Parallel()
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	config := sensorConfig(exporterServer + "filter {\n  ignore_ports = [22, \"6000-6010\"]\n}\n")
	for _, flag := range []string{"-d", "--debug"} {
		sensor := a.sensor(config, flag)
		sensor.signal(syscall.SIGTERM)
		if code := sensor.wait(20 * time.Second); code != 0 {
			t.Errorf("exit code %d", code)
		}
		text := strings.ToLower(sensor.stderr.String())
		if err := containsAll(text, "eth0", "ring", "fanout", "filter", "ldh", "exporter", "running", "pid", "127.0.0.1:8080"); err != nil {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
