package sensor

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// scene is a capture in the making: Ethernet frames with their times.
type scene struct {
	t      testing.TB
	now    time.Time
	frames []byte // as a pcap file, nanoseconds
	count  int
}

// newScene begins a capture at a round time.
func newScene(t testing.TB) *scene {
	head := make([]byte, 24)
	binary.LittleEndian.PutUint32(head, 0xa1b23c4d)
	binary.LittleEndian.PutUint16(head[4:], 2)
	binary.LittleEndian.PutUint16(head[6:], 4)
	binary.LittleEndian.PutUint32(head[16:], 1<<18)
	binary.LittleEndian.PutUint32(head[20:], 1)
	return &scene{t: t, now: time.Unix(1_600_000_000, 0), frames: head}
}

// wait lets time pass.
func (c *scene) wait(d time.Duration) { c.now = c.now.Add(d) }

// ipv4 adds one packet.
func (c *scene) ipv4(protocol byte, src, dst string, transport []byte) {
	ip := make([]byte, 14+20, 14+20+len(transport))
	binary.BigEndian.PutUint16(ip[12:], 0x0800)
	h := ip[14:]
	h[0], h[8], h[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(transport)))
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(h[12:], s[:])
	copy(h[16:], d[:])
	c.frame(append(ip, transport...))
}

func (c *scene) frame(b []byte) {
	head := make([]byte, 16)
	binary.LittleEndian.PutUint32(head, uint32(c.now.Unix()))
	binary.LittleEndian.PutUint32(head[4:], uint32(c.now.Nanosecond()))
	binary.LittleEndian.PutUint32(head[8:], uint32(len(b)))
	binary.LittleEndian.PutUint32(head[12:], uint32(len(b)))
	c.frames = append(append(c.frames, head...), b...)
	c.count++
	c.wait(time.Millisecond)
}

func (c *scene) udp(src string, sport uint16, dst string, dport uint16, payload []byte) {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, sport)
	binary.BigEndian.PutUint16(b[2:], dport)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	c.ipv4(17, src, dst, append(b, payload...))
}

// answer adds the DNS answer that name has address, given to client.
func (c *scene) answer(client, name, address string) {
	c.t.Helper()
	c.udp("10.0.0.53", 53, client, 40053, c.message(name, address))
}

// message is that answer.
func (c *scene) message(name, address string) []byte {
	c.t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	r := new(dns.Msg).SetReply(q)
	rr, err := dns.NewRR(dns.Fqdn(name) + " 60 IN A " + address)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Answer = append(r.Answer, rr)
	b, err := r.Pack()
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// conn is a TCP connection of a capture.
type conn struct {
	c            *scene
	client       string
	server       string
	sport, dport uint16
	seq, ack     uint32
}

const (
	fin, syn, psh, ack = 0x01, 0x02, 0x08, 0x10
)

// connect adds a handshake.
func (c *scene) connect(client string, sport uint16, server string, dport uint16) *conn {
	k := &conn{c, client, server, sport, dport, 1000, 9000}
	k.up(syn, nil)
	k.down(syn|ack, nil)
	k.up(ack, nil)
	return k
}

func (k *conn) up(flags byte, payload []byte) {
	k.segment(k.client, k.sport, k.server, k.dport, k.seq, k.ack, flags, payload)
	k.seq += uint32(len(payload)) + uint32(flags>>1&1)
}

func (k *conn) down(flags byte, payload []byte) {
	k.segment(k.server, k.dport, k.client, k.sport, k.ack, k.seq, flags, payload)
	k.ack += uint32(len(payload)) + uint32(flags>>1&1)
}

func (k *conn) segment(src string, sport uint16, dst string, dport uint16, seq, ack uint32, flags byte, payload []byte) {
	b := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(b, sport)
	binary.BigEndian.PutUint16(b[2:], dport)
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12], b[13] = 5<<4, flags
	k.c.ipv4(6, src, dst, append(b, payload...))
}

// file writes the capture where a test can read it.
func (c *scene) file() string {
	path := filepath.Join(c.t.TempDir(), "capture.pcap")
	if err := os.WriteFile(path, c.frames, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// hello is the first thing a TLS client says to a server of this name.
func hello(t testing.TB, name string) []byte {
	return helloWith(t, &tls.Config{ServerName: name, InsecureSkipVerify: true})
}

func helloWith(t testing.TB, config *tls.Config) []byte {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer client.Close()
		tls.Client(client, config).Handshake()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(server, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	server.Close()
	return append(head, body...)
}
