package push

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/plugins"
)

func TestSchema(t *testing.T) {
	block, err := plugins.Schema(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, nested := range block.Blocks {
		for _, a := range nested.Block.Attributes {
			if secret := a.Name == "password" || a.Name == "bearer_token"; a.Sensitive != secret {
				t.Errorf("%s: sensitive is %v", a.Name, a.Sensitive)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		edit    func(*Config)
		path    string // "" is fine
		warning bool
	}{
		{func(*Config) {}, "", false},
		{func(c *Config) { c.URL = "" }, "url", false},
		{func(c *Config) { c.URL = "http://u:p@h/" }, "url", false},
		{func(c *Config) { c.URL = "http://h/#x" }, "url", false},
		{func(c *Config) { c.TLS = &TLS{} }, "tls", false},
		{func(c *Config) { c.URL, c.TLS = "https://h/", &TLS{CertFile: "c.pem"} }, "tls", false},
		{func(c *Config) { c.URL, c.TLS = "https://h/", &TLS{CertFile: "c.pem", KeyFile: "k.pem"} }, "tls cert_file", false},
		{func(c *Config) { c.URL, c.TLS = "https://h/", &TLS{CAFile: "ca.pem"} }, "tls ca_file", false},
		{func(c *Config) { c.URL, c.TLS = "https://h/", &TLS{ServerName: "h"} }, "", false},
		{func(c *Config) { c.Auth = &Auth{} }, "auth", false},
		{func(c *Config) { c.Auth = &Auth{Username: "u", BearerToken: "t"} }, "auth", false},
		{func(c *Config) { c.Auth = &Auth{Username: "u:v"} }, "auth username", false},
		{func(c *Config) { c.Auth = &Auth{BearerToken: "t\n"} }, "auth bearer_token", false},
		{func(c *Config) { c.Auth = &Auth{BearerToken: "t"} }, "", false},
		{func(c *Config) { c.URL, c.Auth = "http://192.0.2.1/", &Auth{BearerToken: "t"} }, "auth", true},
		{func(c *Config) { c.URL, c.Auth = "https://192.0.2.1/", &Auth{BearerToken: "t"} }, "", false},
	}
	for i, test := range tests {
		e := New("test")
		test.edit(e.config)
		err := e.Check("")
		var p *plugins.Problem
		switch {
		case test.path == "" && err != nil:
			t.Errorf("%d: %v", i, err)
		case test.path != "" && (!errors.As(err, &p) || !slices.Equal(p.Path, strings.Fields(test.path)) || p.Warning != test.warning):
			t.Errorf("%d: %v, want a problem at %s", i, err, test.path)
		}
	}
}

// TestTLS posts to a real server that has a certificate of its own and asks for ours.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 {
			t.Error("no client certificate")
		}
		_, _ = io.WriteString(w, held(1).body)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	pair := server.TLS.Certificates[0]
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8(t, pair.PrivateKey)})
	for name, text := range map[string][]byte{"cert.pem": certificate, "key.pem": key, "empty.pem": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func(c TLS) (*Exporter, error) {
		e := New("test")
		e.config.URL, e.config.TLS = server.URL, &c
		return e, e.Start(t.Context(), plugins.Host{BaseDir: dir, Logger: hclog.NewNullLogger()})
	}
	e, err := start(TLS{CAFile: "cert.pem", CertFile: "cert.pem", KeyFile: "key.pem", ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Export(t.Context(), window(1)); err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, c := range map[string]TLS{
		"tls ca_file":   {CAFile: "empty.pem"},
		"tls cert_file": {CertFile: "cert.pem", KeyFile: "empty.pem"},
	} {
		var p *plugins.Problem
		if _, err := start(c); !errors.As(err, &p) || !slices.Equal(p.Path, strings.Fields(path)) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestSecretsStaySecret: no log line and no error shows one, whatever goes wrong.
func TestSecretsStaySecret(t *testing.T) {
	const secret = "hunter2"
	for _, a := range []reply{{err: errors.New("no route")}, {status: 401}, {status: 302}} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{answers: []reply{a}}
			e, log := started(t, s, func(c *Config) {
				c.URL = "http://127.0.0.1:1/?key=" + secret
				c.Auth = &Auth{Username: "u", Password: secret}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := e.Export(ctx, window(1))
			if err == nil || strings.Contains(err.Error()+log.String(), secret) || log.Len() == 0 {
				t.Errorf("%+v: %v\n%s", a, err, log)
			}
		})
	}
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
