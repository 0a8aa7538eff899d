package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tcpInfo is what the kernel knows of a connection.
func tcpInfo(t *testing.T, c *net.TCPConn) (info *unix.TCPInfo) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return info
}

// TestSuperPackets sends through a wire whose ends merge segments. Bytes are the
// kernel's own count, and the estimate of packets on the wire is what both ends of
// the connection count as segments.
func TestSuperPackets(t *testing.T) {
	t.Parallel()
	needTools(t, "nft")
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	a.sensor(sensorConfig(""))
	m := a.meter("eth0")
	accept := b.listen("192.0.2.2:7000")
	conn, err := a.dial(t.Context(), "tcp", "192.0.2.2:7000")
	if err != nil {
		t.Fatal(err)
	}
	client, server := conn.(*net.TCPConn), <-accept
	t.Cleanup(func() { client.Close(); server.Close() })
	const size = 20 << 20
	go client.Write(make([]byte, size)) // fails at the reader, if it does
	if _, err := io.CopyN(io.Discard, server, size); err != nil {
		t.Fatal(err)
	}
	var s scrape
	var wire, packets float64
	eventually(t, 20*time.Second, "all of it is counted", func() (err error) {
		if s, err = a.scrape(statusURL + "/metrics"); err != nil {
			return err
		}
		sent, received := m.read()
		if got, want := s.sum("netmon_ip_bytes_total"), float64(sent.Bytes+received.Bytes); got < want {
			return fmt.Errorf("%v bytes of %v", got, want)
		} else if got != want {
			t.Fatalf("%v bytes, the kernel counts %v", got, want)
		}
		wire, packets = s.sum("netmon_wire_packets_estimated_total"), s.by("netmon_frames_total", "detail")["decoded"]
		return rests(s)
	})
	info := tcpInfo(t, client)
	if want := float64(info.Segs_out + info.Segs_in); wire < want*0.99 || wire > want*1.01 {
		t.Errorf("%v packets on the wire, %v segments", wire, want)
	}
	if packets > wire/2 {
		t.Errorf("%v packets for %v on the wire: nothing was merged", packets, wire)
	}
	if n := s.sum("netmon_tcp_unseen_bytes_total"); n != 0 {
		t.Errorf("%v bytes were not seen", n)
	}
	t.Logf("%v packets stand for %v on the wire; the ends counted %v segments", packets, wire, info.Segs_out+info.Segs_in)
}

// TestUnseenIsWhatWasDropped stops a sensor while a connection transfers. What TCP
// acknowledged and the sensor did not see is what the kernel counts beyond what was
// read, less the headers of the packets that were dropped: to the byte, but for bytes
// that were sent more than once, which are acknowledged only once.
func TestUnseenIsWhatWasDropped(t *testing.T) {
	t.Parallel()
	needTools(t, "nft")
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	sensor := a.sensor(`
sensor {
  interval  = "1s"
  state_dir = ""
}
capture {
  interfaces  = ["eth0"]
  shards      = 1
  ring_memory = "2MiB"
  snap        = "full"
}
`)
	m := a.meter("eth0")
	for _, h := range []*host{a, b} { // all headers but those of SYNs are alike
		h.run("sysctl", "-qw", "net.ipv4.tcp_timestamps=0", "net.ipv4.tcp_sack=0")
	}
	accept := b.listen("192.0.2.2:7000")
	conn, err := a.dial(t.Context(), "tcp", "192.0.2.2:7000")
	if err != nil {
		t.Fatal(err)
	}
	client, server := conn.(*net.TCPConn), <-accept
	t.Cleanup(func() { client.Close(); server.Close() })
	transfer := func(size int64) {
		t.Helper()
		go client.Write(make([]byte, size))
		if _, err := io.CopyN(io.Discard, server, size); err != nil {
			t.Fatal(err)
		}
	}
	transfer(1000)
	eventually(t, 20*time.Second, "the connection is known", func() error {
		s, err := a.scrape(statusURL + "/metrics")
		if err == nil && s.by("netmon_frames_total", "detail")["decoded"] < 5 {
			err = errors.New("not yet")
		}
		return err
	})
	sensor.signal(syscall.SIGSTOP)
	transfer(20 << 20)
	sensor.signal(syscall.SIGCONT)
	var s scrape
	eventually(t, 20*time.Second, "the rings are empty", func() (err error) {
		if s, err = a.scrape(statusURL + "/metrics"); err != nil {
			return err
		}
		return rests(s)
	})
	transfer(1000)
	const headers = 20 + 20 // of IPv4 and of TCP
	eventually(t, 20*time.Second, "what was missed is known twice", func() (err error) {
		if s, err = a.scrape(statusURL + "/metrics"); err != nil {
			return err
		}
		dropped := s.sum("netmon_capture_dropped_total")
		if dropped == 0 {
			t.Fatal("nothing was dropped")
		}
		sent, received := m.read()
		missed := float64(sent.Bytes+received.Bytes) - s.sum("netmon_ip_bytes_total") - dropped*headers
		if unseen := s.sum("netmon_tcp_unseen_bytes_total"); unseen > missed || unseen < missed-float64(tcpInfo(t, client).Bytes_retrans) {
			return fmt.Errorf("%v bytes acknowledged and not seen, %v dropped", unseen, missed)
		}
		return rests(s)
	})
	t.Logf("%v bytes were acknowledged and not seen, in %v packets dropped; %d were sent again", s.sum("netmon_tcp_unseen_bytes_total"), s.sum("netmon_capture_dropped_total"), tcpInfo(t, client).Bytes_retrans)
}
