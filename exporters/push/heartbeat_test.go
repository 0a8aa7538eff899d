package push

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/plugins"
)

func TestHeartbeat(t *testing.T) {
	type request struct {
		path, kind, auth string
		body             []byte
	}
	came := make(chan request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case came <- request{r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("Authorization"), body}:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	e := New("1.2.3")
	e.config.URL = server.URL + "/api/v1/metrics"
	e.config.Heartbeat = 10 * time.Millisecond
	e.config.Auth = &Auth{BearerToken: "t"}
	if err := e.Start(t.Context(), plugins.Host{SensorID: "web-1", Interval: 5 * time.Second, Logger: hclog.NewNullLogger()}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got := <-came
		var said struct {
			ID        string    `json:"id"`
			Version   string    `json:"version"`
			StartTime time.Time `json:"start_time"`
			Interval  float64   `json:"interval_seconds"`
			Addresses []string  `json:"addresses"`
		}
		if err := json.Unmarshal(got.body, &said); err != nil {
			t.Fatal(err)
		}
		if got.path != "/api/v1/heartbeat" || got.kind != "application/json" || got.auth != "Bearer t" ||
			said.ID != "web-1" || said.Version != "1.2.3" || said.Interval != 5 || time.Since(said.StartTime) > time.Minute || said.Addresses == nil {
			t.Errorf("%+v: %+v", got, said)
		}
	}
	if err := e.Stop(t.Context()); err != nil { // waits for the one under way
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"http://h/api/v1/metrics":     "http://h/api/v1/heartbeat",
		"http://h/a/metrics?key=1":    "http://h/a/heartbeat?key=1",
		"http://h/api/v1/write":       "",
		"https://h:8443/metrics":      "https://h:8443/heartbeat",
		"http://h/api/v1/metrics#why": "http://h/api/v1/heartbeat#why",
	} {
		if got := heartbeatURL(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestFilesAreReadAgain: the server changes its authority; with the new one in the
// file, the next connection trusts it, and shows the client certificate of then.
func TestFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	var shown string // the client's certificate, by its common name
	serve := func(name string) *httptest.Server {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			shown = r.TLS.PeerCertificates[0].Subject.CommonName
			_, _ = w.Write([]byte(held(1).body))
		}))
		pair := certificate(t, dir, name, "")
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}
		server.StartTLS()
		return server
	}
	certificate(t, dir, "sensor-a", "client")
	first, second := serve("first"), serve("second")
	defer first.Close()
	defer second.Close()
	copyFile(t, filepath.Join(dir, "first.pem"), filepath.Join(dir, "ca.pem"))
	e := New("test")
	e.config.URL, e.config.Heartbeat = first.URL+"/api/v1/metrics", 0
	e.config.TLS = &TLS{CAFile: "ca.pem", CertFile: "client.pem", KeyFile: "client.key"}
	if err := e.Start(t.Context(), plugins.Host{BaseDir: dir, Logger: hclog.NewNullLogger()}); err != nil {
		t.Fatal(err)
	}
	defer e.Stop(t.Context())
	if err := e.Export(t.Context(), window(1)); err != nil || shown != "sensor-a" {
		t.Fatalf("%v, shown %q", err, shown)
	}
	e.config.URL = second.URL + "/api/v1/metrics"
	if a := e.post(t.Context(), nil); a.trouble != unreachable {
		t.Fatalf("a stranger is trusted: %+v", a)
	}
	copyFile(t, filepath.Join(dir, "second.pem"), filepath.Join(dir, "ca.pem"))
	certificate(t, dir, "sensor-b", "client")
	if a := e.post(t.Context(), nil); a.trouble != noTrouble || shown != "sensor-b" {
		t.Errorf("%+v, shown %q", a, shown)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate makes one for 127.0.0.1 that signs itself, and writes it as FILE.pem
// and FILE.key; file is the name by default.
func certificate(t *testing.T, dir, name, file string) tls.Certificate {
	t.Helper()
	if file == "" {
		file = name
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for suffix, text := range map[string][]byte{".pem": public, ".key": private} {
		if err := os.WriteFile(filepath.Join(dir, file+suffix), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
