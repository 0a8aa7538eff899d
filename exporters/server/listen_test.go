package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/bcrypt"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// begin starts an exporter as its SDK does and returns what it bound.
func begin(t *testing.T, baseDir string, edit func(*Config)) (*Exporter, []string) {
	t.Helper()
	e := New("test")
	e.config.Listen = []string{"127.0.0.1:0"}
	if edit != nil {
		edit(e.config)
	}
	var bound []string
	err := e.Start(t.Context(), plugins.Host{
		SensorID: "h", LogID: aLog, BaseDir: baseDir, Logger: hclog.NewNullLogger(),
		Bound: func(a ...string) { bound = append(bound, a...) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return e, bound
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestAsPlugin(t *testing.T) {
	e, bound := begin(t, "", func(c *Config) {
		c.Listen = []string{"127.0.0.1:0", "127.0.0.1:0"}
		c.ProbeListen = []string{"127.0.0.1:0"}
	})
	if len(bound) != 3 || slices.Contains(bound, "127.0.0.1:0") {
		t.Fatalf("bound: %v", bound)
	}
	if status, body := get(t, http.DefaultClient, "http://"+bound[2]+"/-/ready"); status != 503 || !strings.Contains(body, "sensor") {
		t.Errorf("before the first window: %d %s", status, body)
	}
	var rewind *plugins.Rewind
	if err := e.Export(t.Context(), next("h", aLog, 3, chainOf(aLog, 2))); !errors.As(err, &rewind) || rewind.After != 0 {
		t.Errorf("a window of an unknown log: %v", err)
	}
	if err := e.Install(t.Context(), &netmonpb.Snapshot{LogId: aLog, SensorId: "h", Sequence: 2, Chain: chainOf(aLog, 2), Rows: []*netmonpb.Row{domainRow("a.test", 5, 5)}}); err != nil {
		t.Fatal(err)
	}
	if err := e.Export(t.Context(), next("h", aLog, 3, chainOf(aLog, 2), domainRow("a.test", 2, 2))); err != nil {
		t.Fatal(err)
	}
	if err := e.Export(t.Context(), next("h", aLog, 9, chainOf(aLog, 8))); !errors.As(err, &rewind) || rewind.After != 3 {
		t.Errorf("a gap: %v", err)
	}
	if err := e.Export(t.Context(), next("h", aLog, 4, []byte("x"))); err == nil || codeOf(err) != codeConflict {
		t.Errorf("another history: %v", err)
	}
	for i, path := range []string{"/metrics", "/metrics", "/-/ready"} {
		status, body := get(t, http.DefaultClient, "http://"+bound[i]+path)
		if status != 200 || path == "/metrics" && !strings.Contains(body, `domain="a.test",direction="outbound"} 7`) {
			t.Errorf("%s on %s: %d\n%s", path, bound[i], status, body)
		}
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := New("test")
	e.config.Listen = []string{"127.0.0.1:0", l.Addr().String()}
	err = e.Start(t.Context(), plugins.Host{Logger: hclog.NewNullLogger()})
	var p *plugins.Problem
	if !errors.As(err, &p) || !slices.Equal(p.Path, []string{"listen"}) || !strings.Contains(p.Summary, l.Addr().String()) || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%+v", err)
	}
}

func TestCheck(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(bad, []byte("tls_server_config:\n  cert_file: nowhere.pem\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		edit func(*Config)
		path []string
	}{
		{func(c *Config) { c.Listen = nil }, []string{"listen"}},
		{func(c *Config) { c.Storage.Type = "clay" }, []string{"storage", "type"}},
		{func(c *Config) { c.MaxDecoded = 1 << 20 }, []string{"max_decoded"}},
		{func(c *Config) { c.WebConfigFile = bad }, []string{"web_config_file"}},
	}
	for _, test := range tests {
		e := New("test")
		if err := e.Check(""); err != nil {
			t.Fatalf("the defaults: %v", err)
		}
		test.edit(e.config)
		var p *plugins.Problem
		if err := e.Check(""); !errors.As(err, &p) || !slices.Equal(p.Path, test.path) {
			t.Errorf("%v: %v", test.path, err)
		}
	}
	if _, err := plugins.Schema(DefaultConfig()); err != nil {
		t.Error(err)
	}
}

// webConfig writes a certificate for 127.0.0.1 and a web config file that asks
// for it and for the login prom:secret.
func webConfig(t *testing.T, dir string) (trust *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "netmon test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{
		"cert.pem": certificate,
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		"web.yml":  fmt.Appendf(nil, "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  prom: %s\n", hash),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust = x509.NewCertPool()
	trust.AppendCertsFromPEM(certificate)
	return trust
}

func TestTLSAndLogin(t *testing.T) {
	dir := t.TempDir()
	trust := webConfig(t, dir)
	_, bound := begin(t, dir, func(c *Config) { c.WebConfigFile = "web.yml"; c.ProbeListen = []string{"127.0.0.1:0"} })
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}}
	defer client.CloseIdleConnections()
	for path, want := range map[string]int{"/metrics": 401, "/-/healthy": 401} {
		if status, _ := get(t, client, "https://"+bound[0]+path); status != want {
			t.Errorf("%s without login: %d", path, status)
		}
	}
	if status, _ := get(t, client, "https://prom:secret@"+bound[0]+"/metrics"); status != 200 {
		t.Errorf("with login: %d", status)
	}
	if status, _ := get(t, http.DefaultClient, "http://"+bound[1]+"/-/healthy"); status != 200 {
		t.Errorf("the probe listener: %d", status)
	}
	if status, _ := get(t, http.DefaultClient, "http://"+bound[0]+"/metrics"); status != 400 {
		t.Errorf("plain HTTP where TLS is wanted: %d", status)
	}
}

func TestStandalone(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	good := file("good.hcl", "server {\n  listen = [\"127.0.0.1:0\"]\n  storage \"memory\" {}\n}\nlog {}\n")
	tests := []struct {
		name string
		args []string
		code int
		text string
	}{
		{"no file", nil, exitUsage, "Usage:"},
		{"help", []string{"-h"}, exitFine, "Usage:"},
		{"version", []string{"-version"}, exitFine, "netmon-exporter-server 1.2.3"},
		{"unknown flag", []string{"-x"}, exitUsage, "not defined"},
		{"argument", []string{"-c", good, "more"}, exitUsage, `unexpected argument "more"`},
		{"missing file", []string{"-c", filepath.Join(dir, "none.hcl")}, exitUsage, "no such file"},
		{"storage", []string{"-check-config", "-c", file("clay.hcl", "server {\n  storage \"clay\" {}\n}\n")}, exitUsage, "line 2, column 3"},
		{"stray option", []string{"-check-config", "-c", file("stray.hcl", "server {\n  storage \"memory\" {\n    path = \"x\"\n  }\n}\n")}, exitUsage, "line 3, column"},
		{"no Redis", []string{"-check-config", "-c", file("redis.hcl", "server {\n  storage \"redis\" {}\n}\n")}, exitUsage, "No address of Redis"},
		{"typo", []string{"-check-config", "-c", file("typo.hcl", "server {\n  listn = []\n}\n")}, exitUsage, `Did you mean "listen"?`},
		{"log level", []string{"-check-config", "-log-level", "loud", "-c", good}, exitUsage, `"loud" is not one of`},
		{"check", []string{"-check-config", "-config", good}, exitFine, "fine"},
		{"port in use", []string{"-c", file("busy.hcl", "server {\n  listen = [\""+busy.Addr().String()+"\"]\n  storage \"memory\" {}\n}\n")}, exitRuntime, "Cannot listen on " + busy.Addr().String()},
	}
	for _, test := range tests {
		var out bytes.Buffer
		if code := run(t.Context(), test.args, "1.2.3", &out, &out); code != test.code || !strings.Contains(out.String(), test.text) {
			t.Errorf("%s: exit %d\n%s", test.name, code, &out)
		}
	}
}

// TestStandaloneServes runs the whole program until it is told to stop.
func TestStandaloneServes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.hcl")
	if err := os.WriteFile(path, []byte("server {\n  listen = [\"127.0.0.1:0\"]\n  storage \"disk\" {\n    path = \"data\"\n  }\n}\nlog {\n  format = \"json\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	log := &lines{found: make(chan string, 1), want: `"addresses":["`}
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"-d", "-c", path}, "1.2.3", io.Discard, log) }()
	var line string
	select {
	case line = <-log.found:
	case c := <-code:
		t.Fatalf("exit %d", c)
	}
	_, rest, _ := strings.Cut(line, log.want)
	address, _, _ := strings.Cut(rest, `"`)
	if status, body := get(t, http.DefaultClient, "http://"+address+"/health"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if c := <-code; c != exitFine {
		t.Errorf("exit %d", c)
	}
	text := log.text.String()
	for _, want := range []string{`"path":"/metrics"`, `"path":"/health","peer":"127.0.0.1:`, `"status":200`} {
		if !strings.Contains(text, want) {
			t.Errorf("the log of -debug lacks %s:\n%s", want, text)
		}
	}
}

// lines is a log that waits for one line. hclog writes one line at a time.
type lines struct {
	text  bytes.Buffer
	want  string
	found chan string
}

func (l *lines) Write(b []byte) (int, error) {
	l.text.Write(b)
	if bytes.Contains(b, []byte(l.want)) {
		l.found <- string(b)
	}
	return len(b), nil
}
