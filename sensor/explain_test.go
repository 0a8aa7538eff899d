package sensor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/miekg/dns"

	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func explained(t *testing.T, path, what string, shards int) string {
	t.Helper()
	var out bytes.Buffer
	o := ReplayOptions{Path: path, Shards: shards, Explain: what, Logger: hclog.NewNullLogger()}
	if err := Replay(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// oneHello is a ClientHello of always the same bytes.
func oneHello(name string, ech bool) []byte {
	sized := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	extensions := sized(append([]byte{0}, sized([]byte(name))...))
	extensions = append([]byte{0, 0}, sized(extensions)...)
	if ech {
		extensions = append(append(extensions, 0xfe, 0x0d), sized(make([]byte, 40))...)
	}
	body := append(make([]byte, 2+32+1), 0, 2, 0x13, 0x01, 1, 0)
	body = append(body, sized(extensions)...)
	message := append([]byte{1, 0}, sized(body)...)
	return append([]byte{22, 3, 1}, sized(message)...)
}

// alias adds an answer with a CNAME.
func (c *scene) alias(client, name, target, address string) {
	r := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA))
	r.Id = 1
	for _, line := range []string{dns.Fqdn(name) + " 60 IN CNAME " + dns.Fqdn(target), dns.Fqdn(target) + " 60 IN A " + address} {
		rr, err := dns.NewRR(line)
		if err != nil {
			c.t.Fatal(err)
		}
		r.Answer = append(r.Answer, rr)
	}
	b, err := r.Pack()
	if err != nil {
		c.t.Fatal(err)
	}
	c.udp("10.0.0.53", 53, client, 40053, b)
}

// town is a capture with something for every kind of evidence.
func town(t *testing.T) *scene {
	c := newScene(t)
	datagram := func(client string, port uint16, server string) { c.udp(client, port, server, 9000, make([]byte, 72)) }

	c.answer("10.0.0.1", "old.example", "192.0.2.1")
	c.answer("10.0.0.2", "other.example", "192.0.2.1")
	c.alias("10.0.0.1", "www.example.com", "cdn.example", "192.0.2.1")
	datagram("10.0.0.1", 5000, "192.0.2.1") // by the client's own answer
	datagram("10.0.0.3", 5000, "192.0.2.1") // by anybody's
	c.answer("10.0.0.1", "late.example", "192.0.2.1")
	c.connect("10.0.0.1", 5001, "192.0.2.1", 443).up(psh|ack, oneHello("shop.example.com", false))
	c.connect("10.0.0.1", 5002, "192.0.2.1", 80).up(psh|ack, []byte("GET / HTTP/1.1\r\nHost: late.example\r\n\r\n"))
	c.connect("10.0.0.1", 5003, "192.0.2.1", 443).up(psh|ack, oneHello("cloudflare-ech.com", true))
	c.connect("10.0.0.1", 5003, "192.0.2.2", 443).up(psh|ack, oneHello("cloudflare-ech.com", true))
	c.wait(time.Second)

	c.connect("10.0.0.4", 5000, "192.0.2.9", 80).up(psh|ack, []byte("GET / HTTP/1.1\r\nHost: 192.0.2.9\r\n\r\n"))
	c.connect("10.0.0.4", 5001, "192.0.2.9", 80).up(psh|ack, []byte("GET / HTTP/1.1\r\nHost: *\r\n\r\n"))
	(&conn{c, "10.0.0.4", "192.0.2.9", 5002, 443, 1000, 9000}).up(ack, make([]byte, 60))
	datagram("10.0.0.4", 5003, "192.0.2.9")
	c.connect("10.0.0.4", 5004, "192.0.2.53", 853)
	datagram("10.0.0.4", 5005, "192.0.2.9")
	c.ipv4(1, "10.0.0.4", "192.0.2.9", make([]byte, 8))
	c.answer("10.0.0.4", "later.example", "192.0.2.9")
	c.answer("10.0.0.4", "unused.example", "192.0.2.77")

	c.answer("10.0.0.4", "unused.example", "192.0.2.88")
	for i := range 30 {
		c.answer("10.0.0.5", fmt.Sprintf("n%d.many.example", i), "192.0.2.66")
	}
	datagram("10.0.0.5", 5000, "192.0.2.66")

	c.frame(append(make([]byte, 12), 0x08, 0x06))
	c.frame(append(make([]byte, 12), 0x08, 0x00, 0x45, 0x00))

	for range 3 {
		c.answer("10.0.0.6", "again.example", "192.0.2.55")
	}
	c.connect("10.0.0.6", 5000, "192.0.2.56", 443).up(psh|ack, oneHello("grease.example", true))
	return c
}

// TestExplain holds what is printed against golden files, for any number of shards.
func TestExplain(t *testing.T) {
	path := town(t).file()
	for file, what := range map[string]string{
		"dns":       "www.example.com",
		"own":       "EXAMPLE.com.",
		"cover":     "cloudflare-ech.com",
		"unnamed":   "10.0.0.4",
		"address":   "192.0.2.1",
		"flow":      "udp/10.0.0.1:5000-192.0.2.1:9000",
		"back":      "192.0.2.1:9000-10.0.0.3:5000",
		"icmp":      "icmp/10.0.0.4-192.0.2.9",
		"alias":     "cdn.example",
		"gaveway":   "other.example",
		"unused":    "unused.example",
		"many":      "many.example",
		"nobody":    "nobody.test",
		"again":     "again.example",
		"grease":    "grease.example",
		"undecoded": "undecoded",
	} {
		t.Run(file, func(t *testing.T) {
			got := explained(t, path, what, 1)
			golden := filepath.Join("testdata", "explain", file+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-explain %s differs from %s (-update rewrites it) (-want +got):\n%s", what, golden, diff)
			}
			for _, shards := range []int{2, 8} {
				if again := explained(t, path, what, shards); again != got {
					t.Errorf("-explain %s says something else with %d shards:\n%s", what, shards, cmp.Diff(got, again))
				}
			}
		})
	}
	whole := newScene(t)
	whole.udp("10.0.0.1", 5000, "192.0.2.1", 9000, nil)
	if got := explained(t, whole.file(), "undecoded", 1); got != "every frame was decoded\n" {
		t.Errorf("-explain undecoded says %q", got)
	}
}

func TestExplainRefuses(t *testing.T) {
	path := town(t).file()
	for _, what := range []string{"a b", "10.0.0.1:5000", "tcp/example.com", "nothing/10.0.0.1-10.0.0.2", "*.example.com"} {
		var out bytes.Buffer
		err := Replay(t.Context(), &out, ReplayOptions{Path: path, Shards: 1, Explain: what, Logger: hclog.NewNullLogger()})
		if !errors.Is(err, ErrConfig) || out.Len() > 0 {
			t.Errorf("-explain %q: %v, printed %q", what, err, out.String())
		}
	}
	for _, what := range []string{"example.com", "undecoded"} {
		err := Replay(t.Context(), new(bytes.Buffer), ReplayOptions{Path: "explain_test.go", Shards: 1, Explain: what, Logger: hclog.NewNullLogger()})
		if !errors.Is(err, capture.ErrNotCapture) {
			t.Errorf("-explain %s of no capture: %v", what, err)
		}
	}
}

var (
	paragraphHead = regexp.MustCompile(`^(\S+) (\S+) -> (\S+), first frame \d+ at `)
	paragraphName = regexp.MustCompile(`^  (?:name (\S+)|no name), source (\w+)`)
	because       = regexp.MustCompile(`^  (?:answer in|its)`)
)

// TestExplainAgrees wants each flow of the public captures explained under the
// name and source that replay prints, with evidence, and none left out.
func TestExplainAgrees(t *testing.T) {
	for _, path := range captures(t) {
		var got []string
		text := everything(t, path)
		for paragraph := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
			lines := strings.Split(paragraph, "\n")
			if len(lines) < 3 {
				continue // there is no flow
			}
			h, n := paragraphHead.FindStringSubmatch(lines[0]), paragraphName.FindStringSubmatch(lines[2])
			if h == nil || n == nil {
				t.Fatalf("%s: a paragraph of another kind:\n%s", path, paragraph)
			}
			if n[1] != "" && (len(lines) < 4 || !because.MatchString(lines[3])) {
				t.Errorf("%s: no evidence for the name:\n%s", path, paragraph)
			}
			got = append(got, strings.Join([]string{h[1], h[2], h[3], n[1], n[2]}, " "))
		}
		var want []string
		for _, f := range decode(t, replay(t, path, 1)).Flows {
			s, named := &reportFlow{version: 4}, ""
			if strings.Contains(f.Initiator, ":") {
				s.version = 6
			}
			for n := range 256 {
				if rows.ProtocolName(uint32(n)) == f.Proto {
					s.protocol = uint8(n)
				}
			}
			if f.Name != nil {
				named = *f.Name
			}
			a, _ := parseEnd(f.Initiator)
			b, _ := parseEnd(f.Responder)
			want = append(want, strings.Join([]string{f.Proto, endpoint(s, a.address, f.InitiatorPort), endpoint(s, b.address, f.ResponderPort), named, f.Source}, " "))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: replay and explanation differ (-replay +explanation):\n%s", filepath.Base(path), diff)
		}
	}
}

// everything explains each flow of a capture.
func everything(t *testing.T, path string) string {
	t.Helper()
	var out bytes.Buffer
	j := new(join)
	windowsOf(t, path, 2, testConfig(), func(made *join) {
		j = made
		j.report, j.evidence = newReport(2, true), newEvidence(nil)
		j.clients.max = 0
	})
	if err := explain(&out, new(query), j, new(capture.File)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestEvidenceIsBounded: beyond its bound flows keep their names and say that
// the evidence is gone.
func TestEvidenceIsBounded(t *testing.T) {
	c := newScene(t)
	for i := range 4 {
		c.answer("10.0.0.1", fmt.Sprintf("n%d.example", i), fmt.Sprintf("192.0.2.%d", i))
		c.udp("10.0.0.1", 5000, fmt.Sprintf("192.0.2.%d", i), 9000, nil)
	}
	var j *join
	windowsOf(t, c.file(), 1, testConfig(), func(made *join) {
		j = made
		j.report, j.evidence = newReport(1, true), newEvidence(nil)
		j.evidence.limit = 2
	})
	var out bytes.Buffer
	if err := explain(&out, new(query), j, new(capture.File)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"name n3.example, source dns_client\n  its evidence is not kept\n",
		"evidence is kept of the first 2 answers and flows: 2 answers and 3 flows came later\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not said: %q in\n%s", want, out.String())
		}
	}
}
