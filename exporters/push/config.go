package push

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/plugins"
)

// Config is the body of exporter "push".
type Config struct {
	URL         string        `netmon:"url,format=url" doc:"Where windows are posted: /api/v1/metrics of a server."`
	Timeout     time.Duration `netmon:"timeout,min=100ms,max=5m" doc:"How long one post may take."`
	Compression string        `netmon:"compression,enum=zstd|none" doc:"How bodies are compressed."`
	Heartbeat   time.Duration `netmon:"heartbeat,min=0s,max=1h" doc:"How often the server is told that the sensor lives, at /heartbeat beside /metrics; 0s: never."`
	TLS         *TLS          `netmon:"tls" doc:"For an https URL: whom to trust, and who we are."`
	Auth        *Auth         `netmon:"auth" doc:"How to log in: a username with its password, or a token."`
}

// TLS says whom to trust and who we are. Version 1.2 is the least.
type TLS struct {
	CAFile     string `netmon:"ca_file,format=path" doc:"Certificates (PEM) that the server's is checked against; the system's by default."`
	CertFile   string `netmon:"cert_file,format=path" doc:"Our certificate (PEM). These files are read again for each connection."`
	KeyFile    string `netmon:"key_file,format=path" doc:"Its key (PEM)."`
	ServerName string `netmon:"server_name" doc:"The name in the server's certificate, where it is not the one in the URL."`
}

// Auth logs in by name and password or by token.
type Auth struct {
	Username    string `netmon:"username" doc:"Name for basic auth."`
	Password    string `netmon:"password,sensitive" doc:"Its password."`
	BearerToken string `netmon:"bearer_token,sensitive" doc:"Token for bearer auth."`
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() *Config {
	return &Config{
		URL:         "http://localhost:8080/api/v1/metrics",
		Timeout:     10 * time.Second,
		Compression: "zstd",
		Heartbeat:   15 * time.Second,
	}
}

// check finds what the schema cannot express.
func (c *Config) check() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" {
		return problem("Invalid URL", "It must be like https://host.example:8080/api/v1/metrics.", "url")
	}
	var errs []error
	if u.User != nil {
		errs = append(errs, problem("Credentials in the URL", "They belong into the block auth, where they are kept out of logs.", "url"))
	}
	if u.Fragment != "" {
		errs = append(errs, problem("Fragment in the URL", "Nothing after # is ever sent.", "url"))
	}
	if t := c.TLS; t != nil {
		if (t.CertFile == "") != (t.KeyFile == "") {
			errs = append(errs, problem("Incomplete certificate", "cert_file and key_file go together.", "tls"))
		}
		if u.Scheme != "https" {
			errs = append(errs, problem("TLS for a plain URL", "The block tls takes effect for an https URL only.", "tls"))
		}
	}
	return errors.Join(append(errs, c.checkAuth(u)...)...)
}

func (c *Config) checkAuth(u *url.URL) (errs []error) {
	a := c.Auth
	if a == nil {
		return nil
	}
	switch {
	case a.BearerToken != "" && (a.Username != "" || a.Password != ""):
		errs = append(errs, problem("Two ways to log in", "Give username and password, or bearer_token.", "auth"))
	case a.BearerToken == "" && a.Username == "":
		errs = append(errs, problem("Nothing to log in with", "Give username and password, or bearer_token.", "auth"))
	}
	if strings.ContainsFunc(a.BearerToken, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		errs = append(errs, problem("Invalid token", "A token has no spaces, line ends or letters beyond ASCII; trimspace(file(...)) cuts those at its end.", "auth", "bearer_token"))
	}
	if strings.Contains(a.Username, ":") {
		errs = append(errs, problem("Invalid name", "A name for basic auth has no colon (RFC 7617).", "auth", "username"))
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		p := problem("Credentials without encryption", "Whoever sees the packets can read them: use https.", "auth")
		p.Warning = true
		errs = append(errs, p)
	}
	return errs
}

func problem(summary, detail string, path ...string) *plugins.Problem {
	return &plugins.Problem{Path: path, Summary: summary, Detail: detail}
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// tlsConfig reads the files of the block tls; relative paths begin at baseDir.
func (c *Config) tlsConfig(baseDir string) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	t := c.TLS
	if t == nil {
		return out, nil
	}
	at := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(baseDir, path)
	}
	out.ServerName = t.ServerName
	if t.CAFile != "" {
		pem, err := os.ReadFile(at(t.CAFile))
		if err != nil {
			return nil, problem("Unreadable file", err.Error(), "tls", "ca_file")
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, problem("No certificate in the file", fmt.Sprintf("%s has no certificate in PEM.", at(t.CAFile)), "tls", "ca_file")
		}
	}
	if t.CertFile != "" && t.KeyFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(at(t.CertFile), at(t.KeyFile))
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, problem("Unusable certificate", err.Error(), "tls", "cert_file")
		}
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return out, nil
}
