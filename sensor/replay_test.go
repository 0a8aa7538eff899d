package sensor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// replayed is what a replay prints, and what the oracle's files hold beside
// much else.
type replayed struct {
	Totals       map[string]uint64 `json:"totals"`
	Domains      []domainJSON      `json:"domains"`
	Unattributed domainJSON        `json:"unattributed"`
	Protocols    []protocolJSON    `json:"protocols"`
	IPs          []ipJSON          `json:"ips"`
	DNS          dnsJSON           `json:"dns"`
	Flows        []replayedFlow    `json:"flows"`
}

type replayedFlow struct {
	flowJSON
	Accept []string `json:"accept"` // names that are right as well
}

// captures lists the public captures with their truth, which live beside the
// repository.
func captures(t *testing.T) []string {
	dir := "../../shared/pcaps"
	truths, err := filepath.Glob(filepath.Join(dir, "*.truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(truths) == 0 {
		t.Skipf("the public captures are not beside the repository (%s)", dir)
	}
	for i := range truths {
		truths[i] = strings.TrimSuffix(truths[i], ".truth.json")
	}
	return truths
}

func replay(t *testing.T, path string, shards int) []byte {
	t.Helper()
	var out bytes.Buffer
	err := Replay(t.Context(), &out, ReplayOptions{Path: path, Shards: shards, Flows: true, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatalf("replay %s: %v", filepath.Base(path), err)
	}
	return out.Bytes()
}

// replaySums replays without flows, with epochs handed over in small parts.
func replaySums(t *testing.T, path string) []byte {
	t.Helper()
	var out bytes.Buffer
	err := Replay(t.Context(), &out, ReplayOptions{Path: path, Shards: 1, cut: 50, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatalf("replay %s: %v", filepath.Base(path), err)
	}
	return out.Bytes()
}

func decode(t *testing.T, b []byte) *replayed {
	t.Helper()
	r := new(replayed)
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTruth holds the replay of public captures against the independent oracle:
// totals exact, every flow under the right name.
func TestTruth(t *testing.T) {
	for _, path := range captures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, err := os.ReadFile(path + ".truth.json")
			if err != nil {
				t.Fatal(err)
			}
			want, got := decode(t, b), decode(t, replay(t, path, 2))
			for k, n := range got.Totals {
				if n != want.Totals[k] {
					t.Errorf("totals: %s is %d, want %d", k, n, want.Totals[k])
				}
			}
			byIP := func(a, b ipJSON) int { return strings.Compare(a.IP, b.IP) }
			slices.SortFunc(want.IPs, byIP)
			if diff := cmp.Diff(want.IPs, got.IPs); diff != "" && len(want.IPs) > 0 {
				t.Errorf("ips (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(sortProtocols(want.Protocols), sortProtocols(got.Protocols)); diff != "" {
				t.Errorf("protocols (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want.DNS, got.DNS); diff != "" {
				t.Errorf("dns (-want +got):\n%s", diff)
			}
			compareFlows(t, want.Flows, got.Flows)
		})
	}
}

func sortProtocols(ps []protocolJSON) []protocolJSON {
	slices.SortFunc(ps, func(a, b protocolJSON) int { return int(a.Number) - int(b.Number) })
	return ps
}

// compareFlows wants the same flows with the same counters and names; a flow may
// carry a name that the oracle accepts as well.
func compareFlows(t *testing.T, want, got []replayedFlow) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%d flows, want %d", len(got), len(want))
		return
	}
	key := func(f replayedFlow) string {
		return fmt.Sprint(f.Proto, " ", f.Initiator, " ", f.InitiatorPort, " ", f.Responder, " ", f.ResponderPort, " ", f.Start)
	}
	order := func(a, b replayedFlow) int { return strings.Compare(key(a), key(b)) }
	slices.SortStableFunc(want, order)
	slices.SortStableFunc(got, order)
	for i := range want {
		w, g := want[i], got[i]
		name := func(f replayedFlow) string {
			if f.Name == nil {
				return ""
			}
			return *f.Name
		}
		if name(g) != name(w) && slices.Contains(w.Accept, name(g)) {
			g.Name, g.Source = w.Name, w.Source
		}
		if diff := cmp.Diff(w.flowJSON, g.flowJSON); diff != "" {
			t.Errorf("flow %s (accept %q) (-want +got):\n%s", key(w), w.Accept, diff)
		}
	}
}

// TestShardsDoNotShow wants the same bytes for any number of shards, and each time.
// TestDNSOverTCPAfterAPause wants answers to be learned from a connection that was
// silent for longer than its stream is remembered.
func TestDNSOverTCPAfterAPause(t *testing.T) {
	c := newScene(t)
	k := c.connect("10.0.0.5", 40000, "10.0.0.53", 53)
	answer := func(name, address string) {
		m := c.message(name, address)
		k.down(psh|ack, append([]byte{byte(len(m) >> 8), byte(len(m))}, m...))
	}
	answer("before.example", "192.0.2.1")
	c.wait(3 * time.Minute)
	c.udp("10.0.0.5", 5000, "10.0.0.6", 5000, []byte("time passes"))
	c.wait(10 * time.Second)
	answer("after.example", "192.0.2.2")
	c.connect("10.0.0.5", 40001, "192.0.2.1", 443)
	c.connect("10.0.0.5", 40002, "192.0.2.2", 443)

	got := decode(t, replay(t, c.file(), 1))
	var names []string
	for _, d := range got.Domains {
		names = append(names, d.Name)
	}
	if want := []string{"after.example", "before.example"}; !slices.Equal(names, want) || got.DNS.Responses != 2 {
		t.Errorf("%v, %d responses; want %v and 2", names, got.DNS.Responses, want)
	}
}

func TestShardsDoNotShow(t *testing.T) {
	for _, path := range captures(t) {
		want := replay(t, path, 1)
		for _, shards := range []int{1, 2, 4, 8} {
			if got := replay(t, path, shards); !bytes.Equal(got, want) {
				t.Errorf("%s: %d shards print something else than one", filepath.Base(path), shards)
			}
		}
		if got := bytes.TrimSuffix(replaySums(t, path), []byte("\n}\n")); !bytes.HasPrefix(want, got) {
			t.Errorf("%s: sums by themselves are not those that stand before flows", filepath.Base(path))
		}
	}
}
