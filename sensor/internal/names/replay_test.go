package names

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// truth is what the oracle says of a capture.
type truth struct {
	Flows []struct {
		Proto         string
		Initiator     netip.Addr
		InitiatorPort uint16 `json:"initiator_port"`
		Responder     netip.Addr
		ResponderPort uint16 `json:"responder_port"`
		Start         int64  `json:"start_ts_ns"`
		Name          string
		Source        string
		Accept        []string
	}
	DNS struct {
		Queries, Responses uint64
		Rcodes             map[string]uint64
	}
}

// captures returns the folder with captures beside the repository, or skips.
func captures(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "pcaps")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no captures beside the repository in ../shared/pcaps")
	}
	return dir
}

func TestReplayNamesFlows(t *testing.T) {
	t.Run("replay", func(t *testing.T) { testReplay(t, ReplayLimits()) })
	t.Run("live", func(t *testing.T) { testReplay(t, DefaultLimits()) })
}

func testReplay(t *testing.T, limits Limits) {
	files, err := filepath.Glob(filepath.Join(captures(t), "*.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			frames, err := readPCAP(raw)
			if err != nil {
				t.Skip(err)
			}
			var want truth
			raw, err = os.ReadFile(file + ".truth.json")
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			flows, stats := replay(frames, limits)
			named += compareFlows(t, flows, &want)
			if stats.DNSQueries != want.DNS.Queries || stats.DNSResponses != want.DNS.Responses {
				t.Errorf("DNS: %d queries and %d responses, want %d and %d", stats.DNSQueries, stats.DNSResponses, want.DNS.Queries, want.DNS.Responses)
			}
		})
	}
	if named < 250 {
		t.Errorf("only %d flows got the name they should: the captures have more", named)
	}
}

var sourceNames = map[Source]string{None: "none", SNI: "sni", HTTPHost: "http_host", QUICSNI: "quic_sni", DNSClient: "dns_client", DNSAny: "dns_any"}

// compareFlows returns how many flows have just the name that is wanted.
func compareFlows(t *testing.T, flows []*testFlow, want *truth) (named int) {
	type key struct {
		proto                string
		initiator, responder netip.AddrPort
		start                int64
	}
	got := map[key]*testFlow{}
	for _, f := range flows {
		proto := "tcp"
		if f.protocol == 17 {
			proto = "udp"
		}
		addrPort := func(e endpoint) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom16(e.address).Unmap(), e.port)
		}
		got[key{proto, addrPort(f.initiator), addrPort(f.responder), f.start}] = f
	}
	for _, w := range want.Flows {
		f := got[key{w.Proto, netip.AddrPortFrom(w.Initiator, w.InitiatorPort), netip.AddrPortFrom(w.Responder, w.ResponderPort), w.Start}]
		if f == nil {
			continue // of another protocol or link type than the test reads
		}
		if f.name == w.Name && sourceNames[f.source] == w.Source {
			if w.Name != "" {
				named++
			}
			continue
		}
		if f.name == "" || !slices.Contains(w.Accept, f.name) {
			t.Errorf("%s %v:%d -> %v:%d: name %q (%s), want %q (%s) or one of %s", w.Proto, w.Initiator, w.InitiatorPort, w.Responder, w.ResponderPort,
				f.name, sourceNames[f.source], w.Name, w.Source, strings.Join(w.Accept, " "))
		}
	}
	return named
}
