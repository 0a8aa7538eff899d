package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// serveEnv carries a servers as JSON to the process that is to run them.
const serveEnv = "NETMON_LAB_SERVE"

// servers are what a host of the lab serves. They run in a copy of the test
// program, since a process has its namespace from its birth.
type servers struct {
	DNS   string            // address to answer on, UDP and TCP
	Names map[string]string // name -> IPv4 address
	HTTP  []string          // GET /bytes/N returns N bytes
	TLS   []string          // the same with TLS
	Plain []string          // whoever says a line gets opaqueBody bytes, by no protocol that names anything
}

// opaqueBody is what a Plain server answers, in bytes.
const opaqueBody = 30_000

// serve starts the servers and waits until they all listen.
func (h *host) serve(s servers) {
	h.t.Helper()
	spec, err := json.Marshal(s)
	if err != nil {
		h.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := h.command(self)
	cmd.Env = append(os.Environ(), serveEnv+"="+string(spec))
	start(h.t, "servers", cmd).until("serving\n")
}

// serve is the other half: it serves until standard input is closed, which the
// death of the test does, too.
func serve(spec string) int {
	var s servers
	err := json.Unmarshal([]byte(spec), &s)
	if err == nil {
		err = s.listen()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stderr, "serving")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func (s *servers) listen() error {
	if s.DNS != "" {
		conn, err := net.ListenPacket("udp", s.DNS)
		if err != nil {
			return err
		}
		go (&dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(s.resolve)}).ActivateAndServe()
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	secure := &tls.Config{Certificates: []tls.Certificate{certificate}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("n"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", n))
	})
	for _, address := range s.HTTP {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go http.Serve(l, mux)
	}
	for _, address := range s.TLS {
		l, err := tls.Listen("tcp", address, secure)
		if err != nil {
			return err
		}
		go http.Serve(l, mux)
	}
	for _, address := range s.Plain {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go servePlain(l)
	}
	return nil
}

func (s *servers) resolve(w dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(query)
	q := query.Question[0]
	switch address, known := s.Names[strings.TrimSuffix(q.Name, ".")]; {
	case !known:
		answer.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeA:
		answer.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(address),
		}}
	}
	_ = w.WriteMsg(answer)
}

func servePlain(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 64))
			_, _ = io.WriteString(conn, strings.Repeat("\x00", opaqueBody))
		}()
	}
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// authority makes a CA and a certificate for address, as files in a new folder:
// ca.pem, cert.pem and key.pem.
func authority(t testing.TB, address string) (dir string) {
	t.Helper()
	dir = tempDir(t)
	write := func(name, kind string, der []byte, err error) {
		t.Helper()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "netmon test CA"}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: address}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(address)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	write("ca.pem", "CERTIFICATE", der, err)
	der, err = x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	write("cert.pem", "CERTIFICATE", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(leafKey)
	write("key.pem", "PRIVATE KEY", der, err)
	return dir
}
