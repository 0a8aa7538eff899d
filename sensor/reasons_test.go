package sensor

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// unnamed sums the bytes of the rows without a name by reason.
func unnamed(t *testing.T, ws []*netmonpb.Window) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	for _, w := range ws {
		for _, r := range w.Rows {
			if r.Key.View != netmonpb.View_VIEW_DOMAINS {
				continue
			}
			if (r.Key.Domain == view.Unattributed) != (r.Key.Detail != "") {
				t.Errorf("row %v: reason and name do not go together", r.Key)
			}
			if r.Key.Domain == view.Unattributed {
				out[r.Key.Detail] += r.Counters.BytesSent + r.Counters.BytesReceived
			}
		}
	}
	return out
}

// to853 is a flow to a resolver that speaks DNS over TLS.
func (c *scene) to853(client string) {
	c.connect(client, 6853, "192.0.2.53", 853)
}

// TestReasons has a scene for each reason, and for two that hold at once.
func TestReasons(t *testing.T) {
	const ping, syns = 28, 120 // bytes of an ICMP echo, and of a handshake
	request := func(c *scene, host string) uint64 {
		b := []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		c.connect("10.0.0.1", 5000, "192.0.2.1", 80).up(psh|ack, b)
		return uint64(syns + 40 + len(b))
	}
	for _, test := range []struct {
		name  string
		scene func(*scene) map[string]uint64
	}{
		{"a protocol without ports", func(c *scene) map[string]uint64 {
			c.ipv4(1, "10.0.0.1", "192.0.2.1", []byte{8, 0, 0, 0, 0, 1, 0, 1})
			return map[string]uint64{"not_tcp_udp": ping}
		}},
		{"a resolver", func(c *scene) map[string]uint64 {
			c.answer("10.0.0.1", "a.example", "192.0.2.9")
			return map[string]uint64{"dns": 20 + 8 + 52}
		}},
		{"an address as Host", func(c *scene) map[string]uint64 {
			return map[string]uint64{"address_literal": request(c, "192.0.2.1:8080")}
		}},
		{"a Host that is no name", func(c *scene) map[string]uint64 {
			return map[string]uint64{"address_literal": request(c, "*")}
		}},
		{"a ClientHello without a name", func(c *scene) map[string]uint64 {
			b := hello(c.t, "")
			c.connect("10.0.0.1", 5000, "192.0.2.1", 443).up(psh|ack, b)
			return map[string]uint64{"address_literal": uint64(syns + 40 + len(b))}
		}},
		{"a request line without end", func(c *scene) map[string]uint64 {
			k, b := c.connect("10.0.0.1", 5000, "192.0.2.1", 80), make([]byte, 1000)
			for i := range b {
				b[i] = 'A'
			}
			copy(b, "GET /")
			for range 20 {
				k.up(ack, b)
				copy(b, "AAAAA")
			}
			return map[string]uint64{"parser_limit": syns + 20*1040}
		}},
		{"no beginning", func(c *scene) map[string]uint64 {
			k := &conn{c, "10.0.0.1", "192.0.2.1", 5000, 443, 1000, 9000}
			k.up(ack, make([]byte, 60))
			return map[string]uint64{"began_before": 100}
		}},
		{"no beginning, though the client uses DoT", func(c *scene) map[string]uint64 {
			c.to853("10.0.0.1")
			k := &conn{c, "10.0.0.1", "192.0.2.1", 5000, 443, 1000, 9000}
			k.up(ack, make([]byte, 60))
			return map[string]uint64{"encrypted_dns": syns, "began_before": 100}
		}},
		{"DoT before", func(c *scene) map[string]uint64 {
			c.to853("10.0.0.1")
			c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 72))
			c.udp("10.0.0.2", 5000, "192.0.2.1", 9000, make([]byte, 172)) // another client
			return map[string]uint64{"encrypted_dns": syns + 100, "no_lookup": 200}
		}},
		{"DoH before", func(c *scene) map[string]uint64 {
			c.connect("10.0.0.1", 6000, "192.0.2.53", 443).up(psh|ack, hello(c.t, "dns.google"))
			c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 72))
			return map[string]uint64{"encrypted_dns": 100}
		}},
		{"DoT afterwards", func(c *scene) map[string]uint64 {
			c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 72))
			c.to853("10.0.0.1")
			return map[string]uint64{"encrypted_dns": syns, "no_lookup": 100}
		}},
		{"DoT long ago", func(c *scene) map[string]uint64 {
			c.to853("10.0.0.1")
			c.wait(30 * time.Minute)
			c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 72))
			c.wait(31 * time.Minute)
			c.udp("10.0.0.1", 5001, "192.0.2.1", 9000, make([]byte, 72))
			return map[string]uint64{"encrypted_dns": syns + 100, "no_lookup": 100}
		}},
		{"an answer too late", func(c *scene) map[string]uint64 {
			c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 72))
			c.answer("10.0.0.1", "a.example", "192.0.2.1")
			return map[string]uint64{"no_lookup": 100, "dns": 80}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newScene(t)
			want := test.scene(c)
			if diff := cmp.Diff(want, unnamed(t, windows(t, c.file(), 2, testConfig()))); diff != "" {
				t.Errorf("bytes by reason (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReasonsAddUp wants nothing without a name to be without a reason, and
// every reason to be a known one.
func TestReasonsAddUp(t *testing.T) {
	known := map[string]bool{}
	for _, r := range rows.Reasons() {
		known[r] = true
	}
	if len(known) != int(numReasons) {
		t.Fatalf("%d reasons have names, want %d", len(known), numReasons)
	}
	for _, path := range captures(t) {
		var sum uint64
		for r, n := range unnamed(t, windows(t, path, 2, testConfig())) {
			if sum += n; !known[r] {
				t.Errorf("%s: reason %q", path, r)
			}
		}
		u := decode(t, replay(t, path, 1)).Unattributed
		if want := u.BytesSent + u.BytesReceived; sum != want {
			t.Errorf("%s: reasons sum to %d bytes, want %d", path, sum, want)
		}
	}
}

// TestClientsAreBounded: an unknown client of many costs a reason, is counted, and
// those of an hour ago make room.
func TestClientsAreBounded(t *testing.T) {
	c := newScene(t)
	c.to853("10.0.0.1")
	c.to853("10.0.0.2")
	c.udp("10.0.0.2", 5000, "192.0.2.1", 9000, make([]byte, 72))
	c.wait(2 * time.Hour)
	c.ipv4(1, "10.0.0.1", "192.0.2.1", nil) // lets an epoch end
	c.wait(10 * time.Second)
	c.to853("10.0.0.2")
	c.udp("10.0.0.2", 5001, "192.0.2.1", 9000, make([]byte, 172))
	ws := windowsOf(t, c.file(), 1, testConfig(), func(j *join) { j.clients.max = 1 })
	if diff := cmp.Diff(map[string]uint64{"encrypted_dns": 2*120 + 200, "no_lookup": 120 + 100, "not_tcp_udp": 20}, unnamed(t, ws)); diff != "" {
		t.Errorf("bytes by reason (-want +got):\n%s", diff)
	}
	if n := figure(ws, "clients_overflowed_total", ""); n != 1 {
		t.Errorf("clients_overflowed_total is %v, want 1", n)
	}
}

// figure returns what the windows add up to, or show last, in an item of the
// view `sensor`.
func figure(ws []*netmonpb.Window, item, detail string) (sum float64) {
	for _, w := range ws {
		for _, r := range w.Rows {
			if r.Key.Item == item && r.Key.Detail == detail {
				if sum += float64(r.Counters.GetValue()); r.Gauge != nil {
					sum = *r.Gauge
				}
			}
		}
	}
	return sum
}

func TestNamedShare(t *testing.T) {
	c, cfg := newScene(t), testConfig()
	cfg.Filter.IgnoreDomains = []string{"ads.example"}
	c.answer("10.0.0.1", "a.example", "192.0.2.1")   // 80 bytes to the client, without a name
	c.answer("10.0.0.1", "ads.example", "192.0.2.2") // 84
	c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 8))
	c.udp("10.0.0.1", 5001, "192.0.2.1", 9000, make([]byte, 8))
	c.udp("10.0.0.1", 5000, "192.0.2.2", 9000, make([]byte, 800))
	c.wait(time.Minute)
	c.udp("10.0.0.1", 5000, "192.0.2.3", 9000, make([]byte, 8))
	ws := windows(t, c.file(), 2, cfg)
	if got, want := figure(ws, "named_bytes_ratio", ""), 72.0/(72+80+84+36); got != want {
		t.Errorf("named_bytes_ratio is %v, want %v", got, want)
	}
	if got, want := figure(ws, "named_connections_ratio", ""), 2.0/4; got != want {
		t.Errorf("named_connections_ratio is %v, want %v", got, want)
	}
}

// covered is a ClientHello for name that hides it behind cover, and the list of
// ECH configurations that led to it.
func covered(t testing.TB, name, cover string) (hello, configurations []byte) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := []byte{7, 0, 0x20, 0, 32} // number, X25519 with HKDF-SHA256, key
	c = append(c, key.PublicKey().Bytes()...)
	c = append(c, 0, 4, 0, 1, 0, 1, 64, byte(len(cover))) // HKDF-SHA256 with AES-128-GCM, longest name
	c = append(append(c, cover...), 0, 0)
	one := append(binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(c))), c...)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(one))), one...)
	return helloWith(t, &tls.Config{ServerName: name, EncryptedClientHelloConfigList: list, MinVersion: tls.VersionTLS13}), list
}

// service adds an HTTPS record with ECH configurations.
func (c *scene) service(client, name string, configurations []byte) {
	r := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeHTTPS))
	r.Answer = append(r.Answer, &dns.HTTPS{SVCB: dns.SVCB{
		Hdr:      dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeHTTPS, Class: dns.ClassINET, Ttl: 60},
		Priority: 1, Target: ".", Value: []dns.SVCBKeyValue{&dns.SVCBECHConfig{ECH: configurations}},
	}})
	b, err := r.Pack()
	if err != nil {
		c.t.Fatal(err)
	}
	c.udp("10.0.0.53", 53, client, 40053, b)
}

// TestEncryptedClientHello wants the name of a flow that hides it to be what its
// client looked up, and no flow to lose a name for which there is no better.
func TestEncryptedClientHello(t *testing.T) {
	for _, test := range []struct {
		name                   string
		service, lookup, later bool
		cover                  string
		want, detail           string
	}{
		{"looked up", true, true, false, "cover.example", "secret.example dns_client", "client_lookup"},
		{"not looked up", true, false, false, "cover.example", "cover.example sni", "outer_name"},
		{"cover not known", false, true, false, "cover.example", "cover.example sni", "ordinary"},
		{"cover known later", true, true, true, "cover.example", "cover.example sni", "ordinary"},
		{"cover known without", false, true, false, "cloudflare-ech.com", "secret.example dns_client", "client_lookup"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newScene(t)
			hello, list := covered(t, "secret.example", test.cover)
			if test.service && !test.later {
				c.service("10.0.0.9", "other.example", list) // whoever asked
			}
			if test.lookup {
				c.answer("10.0.0.1", "secret.example", "192.0.2.1")
			}
			c.connect("10.0.0.1", 5000, "192.0.2.1", 443).up(psh|ack, hello)
			if test.later {
				c.service("10.0.0.9", "other.example", list)
			}
			for _, shards := range []int{1, 4} {
				ws := windows(t, c.file(), shards, testConfig())
				if got := domains(ws); got[test.want] == "" {
					t.Errorf("domains with %d shards: %v, want %s", shards, got, test.want)
				}
				for _, detail := range []string{"outer_name", "client_lookup", "ordinary"} {
					want := 0.0
					if detail == test.detail {
						want = 1
					}
					if n := figure(ws, "ech_flows_total", detail); n != want {
						t.Errorf("ech_flows_total %s is %v, want %v", detail, n, want)
					}
				}
			}
		})
	}
}

// TestApplications wants first bytes to tell the protocol before ports do.
func TestApplications(t *testing.T) {
	c := newScene(t)
	c.connect("10.0.0.1", 5000, "192.0.2.1", 8443).down(psh|ack, []byte("SSH-2.0-OpenSSH_9.9\r\n"))
	c.connect("10.0.0.1", 5001, "192.0.2.1", 9999).up(psh|ack, hello(t, "a.example"))
	c.connect("10.0.0.1", 5002, "192.0.2.1", 6379) // says nothing
	c.connect("10.0.0.1", 5003, "192.0.2.1", 9998)
	got := map[string]uint64{}
	for _, w := range windows(t, c.file(), 2, testConfig()) {
		for _, r := range w.Rows {
			if r.Key.View == netmonpb.View_VIEW_PROTOCOLS {
				got[r.Key.Application] += r.Counters.Connections
			}
		}
	}
	if diff := cmp.Diff(map[string]uint64{"ssh": 1, "tls": 1, "redis": 1, "": 1}, got); diff != "" {
		t.Errorf("connections by application (-want +got):\n%s", diff)
	}
}
