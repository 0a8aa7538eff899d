package sensor

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func explained(t *testing.T, path, what string, shards int) string {
	t.Helper()
	var out bytes.Buffer
	o := ReplayOptions{Path: path, Shards: shards, Explain: what, Logger: hclog.NewNullLogger()}
	if err := Replay(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestExplain wants the evidence chain of each kind: which answer, to whom, and
// why not another name.
func TestExplain(t *testing.T) {
	c := newScene(t)
	c.answer("10.0.0.1", "cdn.example", "192.0.2.1")   // frame 1
	c.answer("10.0.0.2", "other.example", "192.0.2.1") // frame 2
	k := c.connect("10.0.0.1", 5000, "192.0.2.1", 443) // frames 3 to 5
	k.up(psh|ack, hello(t, "www.example.com"))         // frame 6
	c.udp("10.0.0.1", 5001, "192.0.2.1", 9000, nil)    // frame 7
	c.udp("10.0.0.3", 5001, "192.0.2.9", 9000, nil)    // frame 8
	c.answer("10.0.0.3", "late.example", "192.0.2.9")  // frame 9
	c.frame(make([]byte, 60))                          // frame 10
	path := c.file()
	tests := []struct {
		what string
		want []string
	}{
		{"www.example.com", []string{
			"tcp 10.0.0.1:5000 -> 192.0.2.1:443, first frame 3 at",
			"name www.example.com, source sni",
			"its TLS ClientHello said www.example.com in frame 6",
			"answer in frame 1 at", "to 10.0.0.1: cdn.example A 192.0.2.1",
			"not cdn.example: a name in the flow's own bytes comes first",
			"not other.example: answer in frame 2",
		}},
		{"example", []string{"name cdn.example, source dns_client", "to 10.0.0.2: other.example A 192.0.2.1 was for another client"}},
		{"192.0.2.9", []string{"no name, source none: no_lookup", "to 10.0.0.3: late.example A 192.0.2.9 came after the first packet"}},
		{"udp/10.0.0.1:5001-192.0.2.1:9000", []string{"udp 10.0.0.1:5001 -> 192.0.2.1:9000, first frame 7", "name cdn.example"}},
		{"nobody.test", []string{"no flow matches nobody.test", "no answer speaks of nobody.test"}},
		{"undecoded", []string{"frame 10 at"}},
	}
	for _, test := range tests {
		got := explained(t, path, test.what, 1)
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("-explain %s does not say %q:\n%s", test.what, want, got)
			}
		}
		if again := explained(t, path, test.what, 4); again != got {
			t.Errorf("-explain %s says something else with four shards:\n%s", test.what, again)
		}
	}
}

// TestExplainAgrees wants each named flow of the public captures explained under
// the name and source that replay prints.
func TestExplainAgrees(t *testing.T) {
	for _, path := range captures(t) {
		for _, f := range decode(t, replay(t, path, 1)).Flows {
			if f.Name == nil {
				continue
			}
			if got := explained(t, path, *f.Name, 1); !strings.Contains(got, "name "+*f.Name+", source "+f.Source) {
				t.Errorf("%s: -explain %s does not give the source %s:\n%s", filepath.Base(path), *f.Name, f.Source, got)
			}
			break // one a capture
		}
	}
}
