package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStatesAsSS compares network_active_connections with what ss shows in the
// same namespace, on both ends of a wire.
func TestStatesAsSS(t *testing.T) {
	t.Parallel()
	needTools(t, "ss", "nft")
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	b.run("nft", "add table inet lab; add chain inet lab input { type filter hook input priority 0; }; add rule inet lab input tcp dport 9 drop")
	b.run("ip", "addr", "add", "192.0.2.3/24", "dev", "eth0")
	for _, h := range []*host{a, b} {
		h.sensor(sensorConfig(exporterServer))
	}
	accept := b.listen("192.0.2.2:7000")
	connect := func() (client, server *net.TCPConn) {
		t.Helper()
		c, err := a.dial(t.Context(), "tcp", "192.0.2.2:7000")
		if err != nil {
			t.Fatal(err)
		}
		server = <-accept
		client = c.(*net.TCPConn)
		t.Cleanup(func() { client.Close(); server.Close() })
		for _, end := range [][2]*net.TCPConn{{client, server}, {server, client}} {
			if _, err := end[0].Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(end[1], make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
		}
		return client, server
	}
	const connections = 5 + 3 + 2 + 4 + 1
	for range 5 { // established
		connect()
	}
	for range 3 { // close_wait at a, fin_wait2 at b
		_, server := connect()
		finish(t, server.CloseWrite)
	}
	for range 2 { // the other way round
		client, _ := connect()
		finish(t, client.CloseWrite)
	}
	for range 4 { // time_wait at a
		client, server := connect()
		finish(t, client.CloseWrite)
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		finish(t, server.Close, client.Close)
	}
	client, server := connect() // time_wait at b
	finish(t, server.CloseWrite)
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	finish(t, client.Close, server.Close)
	if _, err := a.dial(t.Context(), "tcp", "192.0.2.2:1"); err == nil { // refused
		t.Fatal("somebody listens on port 1")
	}
	waiting, giveUp := context.WithCancel(t.Context()) // syn_sent
	defer giveUp()
	go a.dial(waiting, "tcp", "192.0.2.3:9")

	for _, end := range []struct {
		*host
		states    map[string]int
		direction string
		started   float64
	}{
		{a, map[string]int{"established": 5, "close_wait": 3, "fin_wait2": 2, "time_wait": 4, "syn_sent": 1}, "outbound", connections + 2},
		{b, map[string]int{"established": 5, "close_wait": 2, "fin_wait2": 3, "time_wait": 1}, "inbound", connections + 2},
	} {
		eventually(t, 30*time.Second, "states as ss shows them", func() error {
			kernel := end.ss()
			if !maps.Equal(kernel, end.states) {
				return fmt.Errorf("ss shows %v, the test made %v", kernel, end.states)
			}
			s, err := end.scrape(localMetrics)
			if err != nil {
				return err
			}
			got := map[string]int{}
			for _, x := range s.samples {
				if x.name == "network_active_connections" && x.labels["protocol"] == "tcp" && x.value != 0 {
					got[x.labels["state"]] += int(x.value)
				}
			}
			if !maps.Equal(got, kernel) {
				return fmt.Errorf("the metric has %v, ss %v", got, kernel)
			}
			return nil
		})
		eventually(t, 30*time.Second, "counters of connections", func() error {
			s, err := end.scrape(localMetrics)
			if err != nil {
				return err
			}
			if n := s.by("network_connections_total", "direction")[end.direction]; n != end.started {
				return fmt.Errorf("%v connections, want %v", n, end.started)
			}
			for _, stage := range []string{"syn_ack", "ack"} {
				if n := s.by("network_tcp_handshake_seconds_count", "stage")[stage]; n != connections {
					return fmt.Errorf("%v handshakes to %s, want %d", n, stage, connections)
				}
			}
			if n := s.by("network_tcp_refused_total", "direction")[end.direction]; n != 1 {
				return fmt.Errorf("%v refused", n)
			}
			if n := s.sum("network_connection_duration_seconds_count"); n != 4+1+1 {
				return fmt.Errorf("%v are over, want 6", n)
			}
			return nil
		})
	}
}

func finish(t *testing.T, steps ...func() error) {
	t.Helper()
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// listen accepts connections in the namespace.
func (h *host) listen(address string) <-chan *net.TCPConn {
	h.t.Helper()
	listening := make(chan error, 1)
	accepted := make(chan *net.TCPConn, 100)
	var l net.Listener
	go func() {
		// Never unlocked: the thread, which stays in the namespace, ends with the goroutine.
		runtime.LockOSThread()
		ns, err := os.Open(filepath.Join("/run/netns", h.ns))
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			ns.Close()
		}
		if err == nil {
			l, err = net.Listen("tcp", address)
		}
		listening <- err
	}()
	if err := <-listening; err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn.(*net.TCPConn)
		}
	}()
	return accepted
}

// ss counts the TCP sockets on the wire by state, in the words of the metric.
func (h *host) ss() map[string]int {
	h.t.Helper()
	states := map[string]int{}
	for line := range strings.Lines(h.run("ss", "-tanH", "src", "192.0.2.0/24")) {
		state := strings.ToLower(strings.ReplaceAll(strings.Fields(line)[0], "-", "_"))
		state = strings.NewReplacer("estab", "established", "fin_wait_", "fin_wait").Replace(state)
		if state != "listen" {
			states[state]++
		}
	}
	return states
}
