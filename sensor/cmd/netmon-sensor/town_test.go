package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A town is the lab's usual place: a client whose traffic a sensor watches on
// eth0, a router, and a web host with three addresses. A second wire between client
// and web host, which no sensor watches, is for what the sensor itself sends.
//
//	client eth0 192.0.2.2 -- 192.0.2.1 router 198.51.100.1 -- eth0 198.51.100.{2,3,53} web
//	client mgmt 203.0.113.1 ------------------------------------- mgmt 203.0.113.2 web
type town struct {
	t           testing.TB
	client, web *host
}

const (
	webAddress   = "198.51.100.2"
	otherAddress = "198.51.100.3"
	dnsAddress   = "198.51.100.53" // no name leads there, so what is asked of it has none
	mgmtAddress  = "203.0.113.2"
)

// Names and where they lead. One address has several names: only what a client
// asked for, or what it says in its requests, tells them apart.
var townNames = map[string]string{
	"one.example":    webAddress,
	"two.example":    webAddress,
	"three.example":  webAddress,
	"secure.example": webAddress,
	"opaque.example": otherAddress,
	"other.example":  otherAddress,
}

func newTown(t testing.TB) *town {
	t.Helper()
	needTools(t, "curl")
	w := &town{t, newHost(t), newHost(t)}
	router := newHost(t)
	router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	w.client.wire("eth0", "192.0.2.2/24", router, "left", "192.0.2.1/24")
	w.web.wire("eth0", webAddress+"/24", router, "right", "198.51.100.1/24")
	for _, address := range []string{otherAddress, dnsAddress} {
		w.web.run("ip", "addr", "add", address+"/24", "dev", "eth0")
	}
	w.client.run("ip", "route", "add", "default", "via", "192.0.2.1")
	w.web.run("ip", "route", "add", "default", "via", "198.51.100.1")
	w.client.wire("mgmt", "203.0.113.1/24", w.web, "mgmt", mgmtAddress+"/24")
	w.web.serve(servers{
		DNS: dnsAddress + ":53", Names: townNames,
		HTTP:  []string{webAddress + ":80", otherAddress + ":80"},
		TLS:   []string{webAddress + ":443"},
		Plain: []string{otherAddress + ":7777"},
	})
	return w
}

// A visit is a number of requests, each on a connection of its own.
type visit struct {
	url   string
	times int
	body  int // bytes of each answer
}

func (v visit) domain() string {
	_, rest, _ := strings.Cut(v.url, "://")
	name, _, _ := strings.Cut(rest, "/")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// tour visits every name of the town, each a number of times of its own. It ends
// well before 30 s, so every name sees one access.
func tour() []visit {
	return []visit{
		{"http://one.example/bytes/1000", 7, 1000},
		{"http://two.example/bytes/20000", 5, 20_000},
		{"http://three.example/bytes/300", 3, 300},
		{"https://secure.example/bytes/5000", 4, 5000},
		{"http://other.example/bytes/70000", 2, 70_000},
		{"gopher://opaque.example:7777/", 6, opaqueBody},
	}
}

// visit makes the visits from the client, one after another, with the web host's
// DNS as its resolver.
func (w *town) visit(visits []visit) {
	w.t.Helper()
	w.client.script(w.surfer(visits))
}

// surfer is the shell script of visits. `ip netns exec` gives it mounts of its own.
func (w *town) surfer(visits []visit) string {
	resolv := writeFile(w.t, "resolv.conf", "nameserver "+dnsAddress+"\noptions timeout:1 attempts:5\n")
	script := []string{"mount --bind " + resolv + " /etc/resolv.conf"}
	for _, v := range visits {
		script = append(script, fmt.Sprintf("for i in $(seq %d); do curl -4 -fsSk --max-time 20 -o /dev/null '%s'; done", v.times, v.url))
	}
	return strings.Join(script, "\n")
}

// crowd makes visits until its stop is called, which waits for the last of them.
// Requests may fail, for a test that cuts wires.
func (w *town) crowd() (stop func()) {
	w.t.Helper()
	end := filepath.Join(tempDir(w.t), "end")
	resolv := writeFile(w.t, "resolv.conf", "nameserver "+dnsAddress+"\noptions timeout:1 attempts:5\n")
	p := start(w.t, "crowd", w.client.command("sh", "-c", fmt.Sprintf(`
mount --bind %s /etc/resolv.conf || exit
while [ ! -e %s ]; do
	for u in http://one.example/bytes/3000 http://two.example/bytes/40000 https://secure.example/bytes/500 gopher://opaque.example:7777/; do
		curl -4 -sk --max-time 5 -o /dev/null "$u"
		sleep 0.02
	done
done`, resolv, end)))
	return func() {
		w.t.Helper()
		if err := os.WriteFile(end, nil, 0o644); err != nil {
			w.t.Fatal(err)
		}
		if code := p.wait(30 * time.Second); code != 0 {
			w.t.Fatalf("the crowd ended with %d: %s", code, p.stderr.String())
		}
	}
}

// localMetrics is the exporter "server" that sensors of the lab run.
const localMetrics = "http://127.0.0.1:8080/metrics"

// sensorConfig is a sensor on eth0 that counts everything there; more is further
// blocks.
func sensorConfig(more string) string {
	return `
sensor {
  id       = "lab"
  interval = "1s"

  state_dir = ""
}
capture {
  interfaces = ["eth0"]
  shards     = 2
}
` + more
}

const exporterServer = `
exporter "server" {
  listen = ["127.0.0.1:8080"]
  storage "memory" {}
}
`

// settle waits until what a scrape shows of domains is what the kernel counted,
// no packet is on its way through the sensor, and three more windows changed
// nothing of it.
func (w *town) settle(m *meter, get func() (scrape, error)) scrape {
	w.t.Helper()
	var last scrape
	eventually(w.t, 45*time.Second, "the domains add up to what the kernel counted", func() error {
		var err error
		if last, err = get(); err != nil {
			return err
		}
		return w.balance(m, last)
	})
	w.client.windows(3)
	again, err := get()
	if err == nil {
		err = errors.Join(w.balance(m, again), differ(last, again))
	}
	if err != nil {
		w.t.Fatalf("three windows later: %v", err)
	}
	return again
}

// balance compares bytes, and packets by protocol, with the kernel's.
func (w *town) balance(m *meter, s scrape) error {
	sent, received := m.read()
	if sent.Packets == 0 || received.Packets == 0 {
		return errors.New("the kernel counted nothing")
	}
	var errs []error
	for _, c := range []struct {
		metric string
		want   uint64
	}{
		{"network_domain_bytes_sent_total", sent.Bytes},
		{"network_domain_bytes_received_total", received.Bytes},
		{"network_bytes_sent_total", sent.Bytes},
		{"network_bytes_received_total", received.Bytes},
		{"network_packets_sent_total", sent.Packets},
		{"network_packets_received_total", received.Packets},
	} {
		if got := s.sum(c.metric); got != float64(c.want) {
			errs = append(errs, fmt.Errorf("%s is %v, the kernel counted %d", c.metric, got, c.want))
		}
	}
	return errors.Join(errs...)
}

// checkDomains compares the domains of a scrape with visits.
func checkDomains(t testing.TB, s scrape, visits []visit) {
	t.Helper()
	connections := s.by("network_domain_connections_total", "domain")
	received := s.by("network_domain_bytes_received_total", "domain")
	accessed := s.by("network_domains_accessed_total", "domain")
	want := map[string]bool{"(unattributed)": true}
	for _, v := range visits {
		d := v.domain()
		want[d] = true
		if connections[d] != float64(v.times) {
			t.Errorf("%s: %v connections, want %d", d, connections[d], v.times)
		}
		if accessed[d] != 1 {
			t.Errorf("%s: %v accesses within 30 s, want 1", d, accessed[d])
		}
		// The body, and headers of HTTP, TLS, TCP and IP, which are less than 3 kB and 10 %.
		low := float64(v.times * v.body)
		if high := low*1.1 + float64(v.times)*3000; received[d] < low || received[d] > high {
			t.Errorf("%s: %v bytes received, want %v to %v", d, received[d], low, high)
		}
	}
	for d := range connections {
		if !want[d] {
			t.Errorf("domain %q was not visited", d)
		}
	}
}
