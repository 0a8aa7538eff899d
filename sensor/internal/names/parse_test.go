package names

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

func TestHTTPHost(t *testing.T) {
	for _, c := range []struct {
		in      string
		verdict verdict
		name    string
	}{
		{"GET / HTTP/1.1\r\nHost: a.example\r\n", named, "a.example"},
		{"GET / HTTP/1.1\nhOsT:a.example:80\n", named, "a.example"},
		{"GET / HTTP/1.0\r\nA: b\r\nHost:\t a.example \t\r\nHost: b.example\r\n", named, "a.example"},
		{"M-SEARCH * HTTP/1.1\r\nHost: 239.255.255.250:1900\r\n", named, "239.255.255.250"},
		{"CONNECT c.example:443 HTTP/1.1\r\n\r\n", named, "c.example"},
		{"CONNECT c.example:443 HTTP/1.1\r\nHost: h.example\r\n", named, "h.example"},
		{"GET / HTTP/1.1\r\nHost: a.exam", more, ""},
		{"GET / HTTP/1.1\r\nHost: a.example", more, ""},
		{"GET / HTTP/1.1\r\nHost:\r\n", named, ""},
		{"GET / HTTP/1.1\r\nXHost: a\r\n\r\nHost: a.example\r\n", dead, ""},
		{"GET / HTTP/1.1\r\n\r\n", dead, ""},
		{"GET / HTTP/2.0\r\n", dead, ""},
		{"GET  / HTTP/1.1\r\n", dead, ""},
		{"GET / HTTP/1.1 \r\n", dead, ""},
		{"GET / HTTP/1.x\r\n", dead, ""},
		{"GET /\r\n", dead, ""},
		{"GE / HTTP/1.1\r\n", dead, ""},
		{"get / HTTP/1.1\r\n", dead, ""},
		{"G4T / HTTP/1.1\r\n", dead, ""},
		{"-GET / HTTP/1.1\r\n", dead, ""},
		{strings.Repeat("A", 20) + " / HTTP/1.1\r\nHost: a\r\n", named, "a"},
		{strings.Repeat("A", 21) + " / HTTP/1.1\r\n", dead, ""},
		{"SSH-2.0", dead, ""}, {"EHLO mail.example\r\n", dead, ""},
		{"GET", more, ""}, {"GET ", more, ""}, {"GET /", more, ""}, {"GET / ", more, ""}, {"GET / HTTP/1.", more, ""}, {"GET / HTTP/1.1", more, ""}, {"GET / HTTP/1.1\r", more, ""},
	} {
		v, name := httpHost([]byte(c.in), new(reading))
		if v != c.verdict || string(name) != c.name {
			t.Errorf("%q: %d %q, want %d %q", c.in, v, name, c.verdict, c.name)
		}
	}
}

// FuzzHTTP expects that a longer prefix never takes back what a shorter one said.
func FuzzHTTP(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nA: b\r\nHost: a.example:80\r\n\r\n"))
	f.Add([]byte("CONNECT c.example:443 HTTP/1.1\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkPrefixes(t, b, func(b []byte) (verdict, []byte) { return httpHost(b, new(reading)) })
	})
}

func FuzzHello(f *testing.F) {
	f.Add(clientHelloOf(f, "a.example"))
	f.Add(clientHelloOf(f, "192.0.2.1"))
	f.Add([]byte{22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var scratch [headLimit]byte
		checkPrefixes(t, b, func(b []byte) (verdict, []byte) {
			v, h := helloRecords(b, scratch[:], new(reading))
			return v, h.name
		})
	})
}

func checkPrefixes(t *testing.T, b []byte, parse func([]byte) (verdict, []byte)) {
	b = b[:min(len(b), 2048)]
	settled, name := more, ""
	for n := range len(b) + 1 {
		v, got := parse(b[:n])
		if settled != more && (v != settled || string(got) != name) {
			t.Fatalf("%d bytes: %d %q after %d %q", n, v, got, settled, name)
		}
		settled, name = v, string(got)
	}
}

// TestHelloOracle compares with what a TLS server takes for the name.
func TestHelloOracle(t *testing.T) {
	for _, name := range []string{"a", "www.example.com", strings.Repeat("abc.", 60) + "de", "192.0.2.1"} {
		hello := clientHelloOf(t, name)
		var want string
		server := tls.Server(replayConn{b: &hello}, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			want = i.ServerName
			return nil, net.ErrClosed
		}})
		whole := append([]byte(nil), hello...)
		_ = server.Handshake() // refused: only what it read is of interest
		var scratch [headLimit]byte
		if _, got := helloRecords(whole, scratch[:], new(reading)); string(got.name) != want {
			t.Errorf("%q: %q, the server reads %q", name, got.name, want)
		}
	}
}

// replayConn reads from b and writes nowhere.
type replayConn struct{ b *[]byte }

func (c replayConn) Read(b []byte) (int, error) {
	if len(*c.b) == 0 {
		return 0, net.ErrClosed
	}
	n := copy(b, *c.b)
	*c.b = (*c.b)[n:]
	return n, nil
}
func (c replayConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c replayConn) Close() error                     { return nil }
func (c replayConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c replayConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c replayConn) SetDeadline(time.Time) error      { return nil }
func (c replayConn) SetReadDeadline(time.Time) error  { return nil }
func (c replayConn) SetWriteDeadline(time.Time) error { return nil }
