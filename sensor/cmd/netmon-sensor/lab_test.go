package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A host is a network namespace with loopback up and IPv6 off, so that nothing
// is on its wires but what a test sends. It ends with its test.
type host struct {
	t  testing.TB
	ns string
}

var (
	hosts   atomic.Uint32
	netnsMu sync.Mutex // the first `ip netns add` makes /run/netns, and two at once may quarrel
)

func newHost(t testing.TB) *host {
	t.Helper()
	needTools(t, "ip", "sysctl")
	h := &host{t, fmt.Sprintf("netmon-%d-%d", os.Getpid(), hosts.Add(1))}
	netnsMu.Lock()
	text, err := exec.Command("ip", "netns", "add", h.ns).CombinedOutput()
	netnsMu.Unlock()
	if err != nil {
		missing(t, fmt.Sprintf("needs CAP_SYS_ADMIN, or `unshare -r -n -m` as an ordinary user, to make network namespaces: %v: %s", err, text))
	}
	t.Cleanup(func() {
		if text, err := exec.Command("ip", "netns", "del", h.ns).CombinedOutput(); err != nil {
			t.Errorf("ip netns del %s: %v: %s", h.ns, err, text)
		}
	})
	h.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	h.run("ip", "link", "set", "lo", "up")
	return h
}

// command returns a command that will run in the namespace. `ip netns exec`
// becomes the program itself, so its pid is the program's.
func (h *host) command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
}

// run runs a command to its end and returns its standard output; the test fails
// where the command does.
func (h *host) run(name string, args ...string) string {
	h.t.Helper()
	cmd := h.command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("%s: %s %s: %v: %s%s", h.ns, name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// script runs a shell script with -e.
func (h *host) script(text string) string {
	h.t.Helper()
	return h.run("sh", "-ec", text)
}

// wire connects an interface of h with one of peer, gives both their addresses
// and takes them up.
func (h *host) wire(name, address string, peer *host, peerName, peerAddress string) {
	h.t.Helper()
	h.run("ip", "link", "add", name, "type", "veth", "peer", "name", peerName, "netns", peer.ns)
	for _, end := range []struct {
		*host
		name, address string
	}{{h, name, address}, {peer, peerName, peerAddress}} {
		end.run("ip", "addr", "add", end.address, "dev", end.name)
		end.run("ip", "link", "set", end.name, "up")
	}
}

// http returns a client whose connections start in the namespace. Addresses must
// be numbers: the names of the lab are for the programs in it.
func (h *host) http() *http.Client {
	return &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{DialContext: h.dial, DisableKeepAlives: true},
	}
}

func (h *host) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.inside(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// inside runs f on a thread in the namespace. Sockets stay in the namespace that
// they were made in.
func (h *host) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread, which stays in the namespace, ends with the goroutine.
		runtime.LockOSThread()
		ns, err := os.Open(filepath.Join("/run/netns", h.ns))
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			ns.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// get returns the body of an answer with status 200.
func (h *host) get(url string) (string, error) { return body(h.http().Get(url)) }

func body(answer *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", answer.Request.URL, answer.Status, text)
	}
	return string(text), err
}

// poll is how often a condition is looked at.
const poll = 100 * time.Millisecond

// eventually waits until condition returns nil, and fails the test with its last
// error when that takes too long.
func eventually(t testing.TB, within time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
		time.Sleep(poll)
	}
}

// A meter is the kernel's own count of the IP packets of an interface, taken by
// nftables above the drivers, where the frames are what a packet socket sees.
type meter struct {
	h *host
}

// traffic is packets and IP bytes.
type traffic struct{ Packets, Bytes uint64 }

func (h *host) meter(iface string) *meter {
	h.t.Helper()
	needTools(h.t, "nft")
	rules := writeFile(h.t, "meter.nft", fmt.Sprintf(`table inet lab {
	counter sent {}
	counter received {}
	chain sent { type filter hook output priority 300; oifname %[1]q counter name sent; }
	chain received { type filter hook input priority -300; iifname %[1]q counter name received; }
}
`, iface))
	h.run("nft", "-f", rules) // one transaction
	return &meter{h}
}

func (m *meter) read() (sent, received traffic) {
	m.h.t.Helper()
	all := m.h.counters("lab")
	return all["sent"], all["received"]
}

// counters reads the named counters of a table of nftables.
func (h *host) counters(table string) map[string]traffic {
	h.t.Helper()
	var all struct {
		NFTables []struct {
			Counter struct {
				Name string
				traffic
			}
		}
	}
	if err := json.Unmarshal([]byte(h.run("nft", "-j", "list", "counters", "table", "inet", table)), &all); err != nil {
		h.t.Fatal(err)
	}
	found := map[string]traffic{}
	for _, item := range all.NFTables {
		found[item.Counter.Name] = item.Counter.traffic
	}
	return found
}
