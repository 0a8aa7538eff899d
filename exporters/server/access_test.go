package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/netmon-sensor/netmon/plugins"
)

// authority signs certificates for a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), pool: x509.NewCertPool()}
	a.issue(t, "ca", &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.issue(t, "server", &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)}})
	return a
}

// issue writes NAME.pem and NAME.key. The first one signs itself and all others.
func (a *authority) issue(t testing.TB, name string, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, private := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	a.write(t, name+".pem", public)
	a.write(t, name+".key", private)
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		a.key = key
		a.pool.AddCert(a.cert)
	}
	pair, err := tls.X509KeyPair(public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (a *authority) write(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// web writes a web config file that asks for these client certificates and users,
// whose password is secret.
func (a *authority) web(t testing.TB, clients string, users ...string) {
	t.Helper()
	text := "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
	if clients != "" {
		text += "  client_ca_file: ca.pem\n  client_auth_type: " + clients + "\n"
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for i, user := range users {
		if i == 0 {
			text += "basic_auth_users:\n"
		}
		text += fmt.Sprintf("  %s: %s\n", user, hash)
	}
	a.write(t, "web.yml", []byte(text))
}

func (a *authority) client(t testing.TB, pairs ...tls.Certificate) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool, Certificates: pairs}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// answerTo sends a request, with the credential of "user:password" or a token.
func answerTo(t testing.TB, client *http.Client, method, url, credential, kind string, body []byte) (int, code, http.Header) {
	t.Helper()
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if user, password, basic := strings.Cut(credential, ":"); basic {
		r.SetBasicAuth(user, password)
	} else if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	w, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e envelope
	if w.StatusCode >= 400 && method != "HEAD" {
		if err := json.Unmarshal(text, &e); err != nil || e.Error.Code == "" || e.Error.Message == "" {
			t.Errorf("%s %s: status %d without an envelope: %s", method, url, w.StatusCode, text)
		}
	}
	return w.StatusCode, e.Error.Code, w.Header
}

const (
	webToken   = "0123456789-the-web"
	readToken  = "0123456789-to-read"
	writeToken = "0123456789-to-write"
)

// TestAccess asks a server with everything that can be configured.
func TestAccess(t *testing.T) {
	a := newAuthority(t)
	a.web(t, "VerifyClientCertIfGiven", "prom", "boss", "feed")
	sensorURI, err := url.Parse("netmon://sensor/web-1")
	if err != nil {
		t.Fatal(err)
	}
	byURI := a.client(t, a.issue(t, "uri", &x509.Certificate{URIs: []*url.URL{sensorURI}, Subject: pkix.Name{CommonName: "ignored"}}))
	byDNS := a.client(t, a.issue(t, "dns", &x509.Certificate{DNSNames: []string{"web-2", "db-1"}}))
	byCN := a.client(t, a.issue(t, "cn", &x509.Certificate{Subject: pkix.Name{CommonName: "web-3"}}))
	relay := a.client(t, a.issue(t, "relay", &x509.Certificate{Subject: pkix.Name{CommonName: "relay"}}))
	nobody := a.client(t)
	a.write(t, "tokens", fmt.Appendf(nil, "# readers\n\n* %s read\n", readToken))
	e, bound := begin(t, a.dir, func(c *Config) {
		c.WebConfigFile = "web.yml"
		c.Auth = Auth{
			Readers: []string{"prom", "boss", "web-3"}, Pushers: []string{"feed", "relay"}, Writers: []string{"boss"}, TokensFile: "tokens",
			Tokens: []Token{{Sensors: "web-*", Secret: webToken, Allow: []string{"push"}}, {Sensors: "*", Secret: writeToken, Allow: []string{"write"}}},
		}
	})
	push := func(sensor string) []byte { return encode(t, windowRequest(next(sensor, aLog, 1, nil))) }
	const window, read, remove = "POST /api/v1/metrics", "GET /api/v1/agents", "DELETE /api/v1/agents/nobody"
	tests := []struct {
		name       string
		client     *http.Client
		credential string
		request    string
		sensor     string
		status     int
		code       code
	}{
		{"its own by URI", byURI, "", window, "web-1", 200, ""},
		{"not by the common name beside one", byURI, "", window, "ignored", 403, codeIdentity},
		{"its own by DNS name", byDNS, "", window, "db-1", 200, ""},
		{"its own by common name", byCN, "", window, "web-3", 200, ""},
		{"another's", byCN, "", window, "web-1", 403, codeIdentity},
		{"a relay for any", relay, "", window, "web-9", 200, ""},
		{"nobody pushes", nobody, "", window, "web-1", 401, codeUnauthenticated},
		{"a token for its pattern", nobody, webToken, window, "web-7", 200, ""},
		{"a token for others", nobody, webToken, window, "db-1", 403, codeIdentity},
		{"a token and a certificate that disagree", byCN, webToken, window, "web-1", 403, codeIdentity},
		{"a token that cannot push", nobody, readToken, window, "web-1", 403, codeForbidden},
		{"a wrong token", nobody, webToken + "x", window, "web-1", 401, codeUnauthenticated},
		{"a hash is no token", nobody, "sha256:00", window, "web-1", 401, codeUnauthenticated},
		{"a user that may push", nobody, "feed:secret", window, "any", 200, ""},
		{"a user that may not", nobody, "prom:secret", window, "any", 403, codeForbidden},
		{"a wrong password", nobody, "feed:wrong", window, "any", 401, codeUnauthenticated},
		{"a certificate does not make up for a wrong password", byCN, "feed:wrong", window, "web-3", 401, codeUnauthenticated},
		{"heartbeat of another", byCN, "", "POST /api/v1/heartbeat", "web-1", 403, codeIdentity},
		{"nobody reads", nobody, "", read, "", 401, codeUnauthenticated},
		{"a reader", nobody, "prom:secret", read, "", 200, ""},
		{"a user that may not read", nobody, "feed:secret", read, "", 403, codeForbidden},
		{"a token that reads", nobody, readToken, read, "", 200, ""},
		{"a token that does not", nobody, webToken, "GET /metrics", "", 403, codeForbidden},
		{"a certificate alone does not read where there are users", byCN, "", read, "", 401, codeUnauthenticated},
		{"a reader does not write", nobody, "prom:secret", remove, "", 403, codeForbidden},
		{"a token that writes", nobody, writeToken, remove, "", 404, codeNotFound},
		{"a writer", nobody, "boss:secret", remove, "", 404, codeNotFound},
		{"a certificate does not write", byCN, "", remove, "", 401, codeUnauthenticated},
		{"reload is off", nobody, "boss:secret", "POST /-/reload", "", 403, codeForbidden},
		{"health takes a login here", nobody, "", "GET /health", "", 401, codeUnauthenticated},
	}
	for _, test := range tests {
		method, path, _ := strings.Cut(test.request, " ")
		kind, body := contentType, []byte(nil)
		switch {
		case test.request == window:
			body = push(test.sensor)
		case test.sensor != "":
			kind, body = "application/json", fmt.Appendf(nil, `{"id":%q}`, test.sensor)
		}
		status, code, _ := answerTo(t, test.client, method, "https://"+bound[0]+path, test.credential, kind, body)
		if status != test.status || code != test.code {
			t.Errorf("%s: %d %s, want %d %s", test.name, status, code, test.status, test.code)
		}
	}
	refused := map[string]uint64{}
	e.running.service.refusals.each(func(k tallied, n uint64) { refused[k.what] += n })
	if refused[string(codeIdentity)] != 5 || refused[string(codeUnauthenticated)] != 9 {
		t.Errorf("counted: %v", refused)
	}
	if known := e.running.service.summary(); len(known.sensors) != 6 {
		t.Errorf("%d sensors are known", len(known.sensors))
	}
}

// TestOpenServer: where nothing is configured, on loopback, all may push and read,
// and nobody may write.
func TestOpenServer(t *testing.T) {
	s := testService(t, nil)
	for request, want := range map[string]int{"GET /metrics": 200, "POST /api/v1/heartbeat": 200, "DELETE /api/v1/agents/x": 403, "POST /-/reload": 403} {
		method, path, _ := strings.Cut(request, " ")
		if w := ask(s, method, path, map[string]string{"Content-Type": "application/json", "Authorization": "Bearer whatever"}, []byte(`{"id":"x"}`)); w.Code != want {
			t.Errorf("%s: %d, want %d: %s", request, w.Code, want, w.Body)
		}
	}
}

func TestExposure(t *testing.T) {
	a := newAuthority(t)
	token := []Token{{Sensors: "*", Secret: webToken, Allow: []string{"push"}}}
	tests := []struct {
		name, listen, web string
		users             []string
		edit              func(*Config)
		lacks             string // in the summary; "" is fine
	}{
		{"loopback", "127.0.0.1:1", "", nil, nil, ""},
		{"loopback 6", "[::1]:1", "", nil, nil, ""},
		{"localhost", "localhost:1", "", nil, nil, ""},
		{"everywhere", ":1", "", nil, nil, "TLS and a login"},
		{"everywhere 4", "0.0.0.0:1", "", nil, nil, "TLS and a login"},
		{"a name", "host.example:1", "", nil, nil, "TLS and a login"},
		{"tokens", ":1", "", nil, func(c *Config) { c.Auth.Tokens = token }, "TLS"},
		{"TLS", ":1", "TLS", nil, nil, "a login"},
		{"TLS and tokens", ":1", "TLS", nil, func(c *Config) { c.Auth.Tokens = token }, ""},
		{"TLS and users", ":1", "TLS", []string{"u"}, nil, ""},
		{"client certificates", ":1", "RequireAndVerifyClientCert", nil, nil, ""},
		{"any client certificate", ":1", "RequireAnyClientCert", nil, nil, "a login"},
		{"insecure", ":1", "", nil, func(c *Config) { c.Insecure = true }, ""},
	}
	for _, test := range tests {
		c := DefaultConfig()
		c.Listen = []string{"127.0.0.1:1", test.listen}
		if test.web != "" {
			a.web(t, strings.TrimPrefix(test.web, "TLS"), test.users...)
			c.WebConfigFile = filepath.Join(a.dir, "web.yml")
		}
		if test.edit != nil {
			test.edit(c)
		}
		err := c.check("")
		var p *plugins.Problem
		switch {
		case test.lacks == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.lacks != "" && (!errors.As(err, &p) || !slices.Equal(p.Path, []string{"listen", "1"}) || !strings.HasSuffix(p.Summary, " without "+test.lacks)):
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestBadAuth(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		edit func(*Config)
		path []string
	}{
		{func(c *Config) { c.Auth.Tokens = []Token{{Sensors: "a", Secret: "short"}} }, []string{"auth", "token", "0"}},
		{func(c *Config) { c.Auth.Tokens = []Token{{Sensors: "a", Secret: "sha256:abc"}} }, []string{"auth", "token", "0"}},
		{func(c *Config) { c.Auth.Tokens = []Token{{Sensors: "[", Secret: webToken + "......"}} }, []string{"auth", "token", "0"}},
		{func(c *Config) { c.Auth.TokensFile = filepath.Join(dir, "none") }, []string{"auth", "tokens_file"}},
		{func(c *Config) { c.Auth.TokensFile = file("short", "* short\n") }, []string{"auth", "tokens_file"}},
		{func(c *Config) { c.Auth.TokensFile = file("may", "* 0123456789abcdef fly\n") }, []string{"auth", "tokens_file"}},
		{func(c *Config) { c.Auth.TokensFile = file("four", "* 0123456789abcdef push too\n") }, []string{"auth", "tokens_file"}},
		{func(c *Config) {
			c.WebConfigFile = file("old.yml", "tls_server_config:\n  min_version: TLS10\n  cert: x\n")
		}, []string{"web_config_file"}},
	}
	for i, test := range tests {
		c := DefaultConfig()
		test.edit(c)
		err := c.check("")
		var p *plugins.Problem
		if !errors.As(err, &p) || !slices.Equal(p.Path, test.path) || strings.Contains(err.Error(), webToken) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestCertificateIsReadAgain: what lies in the files counts for the next handshake,
// and the scrape says when it expires.
func TestCertificateIsReadAgain(t *testing.T) {
	a := newAuthority(t)
	a.web(t, "")
	e, bound := begin(t, a.dir, func(c *Config) { c.WebConfigFile = "web.yml" })
	shown := func() *x509.Certificate {
		t.Helper()
		conn, err := tls.Dial("tcp", bound[0], &tls.Config{RootCAs: a.pool})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	first := shown()
	if end := e.running.service.certificateEnd(); !end.Equal(first.NotAfter) {
		t.Errorf("it expires at %v, the scrape says %v", first.NotAfter, end)
	}
	a.issue(t, "server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(48 * time.Hour).Truncate(time.Second)})
	second := shown()
	if end := e.running.service.certificateEnd(); second.SerialNumber.Cmp(first.SerialNumber) == 0 || !end.Equal(second.NotAfter) || time.Until(end) < 40*time.Hour {
		t.Errorf("the new one expires at %v, the scrape says %v", second.NotAfter, end)
	}
	if _, err := tls.Dial("tcp", bound[0], &tls.Config{RootCAs: a.pool, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
}

// TestUsersChange: the toolkit reads its file for every request, and so do we. A
// user that is gone from it is nobody, whatever password comes with the name.
func TestUsersChange(t *testing.T) {
	a := newAuthority(t)
	a.web(t, "", "boss")
	_, bound := begin(t, a.dir, func(c *Config) { c.WebConfigFile, c.Auth.Writers = "web.yml", []string{"boss"} })
	client, remove := a.client(t), "https://"+bound[0]+"/api/v1/agents/nobody"
	for _, test := range []struct {
		users []string
		want  int
	}{{[]string{"boss"}, 404}, {nil, 403}, {[]string{"prom"}, 401}, {[]string{"boss", "prom"}, 404}} {
		a.web(t, "", test.users...)
		if status, _, _ := answerTo(t, client, "DELETE", remove, "boss:secret", "", nil); status != test.want {
			t.Errorf("with users %v: %d, want %d", test.users, status, test.want)
		}
	}
}

// TestReload takes over all of a changed configuration, or nothing.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "server.hcl")
	file := func(text string) {
		if err := os.WriteFile(path, []byte("server {\n"+text+"\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	token := func(secret string) string {
		return fmt.Sprintf("auth {\n token \"*\" {\n secret = %q\n allow = [\"push\", \"read\", \"write\"]\n }\n}\n", secret)
	}
	s := testService(t, func(c *Config) { c.Reload, c.Storage.Type = true, "disk" }) // as a server alone
	s.load = func() (*Config, error) { return loadAgain(path, io.Discard) }
	s.config.Auth.Writers = []string{"boss"}
	first, second := "0123456789-the-first", "0123456789-the-second"
	file("reload = true\n" + token(first))
	if err := s.reread(); err != nil {
		t.Fatal(err)
	}
	with := func(secret string) int {
		return ask(s, "GET", "/metrics", map[string]string{"Authorization": "Bearer " + secret}, nil).Code
	}
	post := func() int {
		return ask(s, "POST", "/-/reload", map[string]string{"Authorization": "Bearer " + first}, nil).Code
	}
	if with(first) != 200 || with(second) != 401 {
		t.Fatal("the first token is not in use")
	}
	for name, text := range map[string]string{
		"a mistake":            "reload = true\nmax_bodi = 1\n" + token(second),
		"a bad token":          "reload = true\n" + token("short"),
		"what takes a restart": "reload = true\nlisten = [\"127.0.0.1:9\"]\n" + token(second),
		"open to the network":  "reload = true\nlisten = [\":8080\"]\n",
	} {
		file(text)
		if status := post(); status != 422 || with(first) != 200 || with(second) != 401 {
			t.Errorf("%s: %d, first %d, second %d", name, status, with(first), with(second))
		}
	}
	file("reload = true\nquota {\n pushes_per_second = 7\n}\n" + token(second))
	if status := post(); status != 200 || with(first) != 401 || with(second) != 200 || s.policy.Load().config.Quota.Pushes != 7 {
		t.Errorf("%d, first %d, second %d", status, with(first), with(second))
	}
	s.loaded.each(func(ok, failed uint64, good bool, _ time.Time) {
		if ok != 2 || failed != 4 || !good {
			t.Errorf("%d taken, %d refused, good is %v", ok, failed, good)
		}
	})
}

// TestWrongLoginsAndPush: passwords are checked one at a time and slowly. That
// stops nobody who shows a certificate.
func TestWrongLoginsAndPush(t *testing.T) {
	a := newAuthority(t)
	a.web(t, "VerifyClientCertIfGiven", "prom")
	sensor := a.client(t, a.issue(t, "web-1", &x509.Certificate{Subject: pkix.Name{CommonName: "web-1"}}))
	_, bound := begin(t, a.dir, func(c *Config) { c.WebConfigFile = "web.yml" })
	guesser := a.client(t)
	var guesses sync.WaitGroup
	left := make(chan int, 1000)
	for i := range cap(left) {
		left <- i
	}
	close(left)
	for range 20 {
		guesses.Go(func() {
			for i := range left {
				if status, _, _ := answerTo(t, guesser, "GET", "https://"+bound[0]+"/metrics", fmt.Sprint("prom:", i), "", nil); status != 401 {
					t.Errorf("guess %d: %d", i, status)
				}
			}
		})
	}
	var slowest time.Duration
	guessed := make(chan struct{})
	go func() { guesses.Wait(); close(guessed) }()
	n := uint64(0)
	for done := false; !done; {
		select {
		case <-guessed:
			done = true
		default:
		}
		n++
		start := time.Now()
		status, _, _ := answerTo(t, sensor, "POST", "https://"+bound[0]+"/api/v1/metrics", "", contentType, encode(t, windowRequest(next("web-1", aLog, n, chainOf(aLog, n-1)))))
		if status != 200 && status != 429 {
			t.Fatalf("window %d: %d", n, status)
		}
		if status == 429 {
			n--
			time.Sleep(50 * time.Millisecond)
		}
		slowest = max(slowest, time.Since(start))
	}
	if slowest > 10*time.Second {
		t.Errorf("a push took %v", slowest)
	}
	t.Logf("%d pushes during 1000 guesses, the slowest took %v", n, slowest)
}
