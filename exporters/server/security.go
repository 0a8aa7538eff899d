package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"

	"github.com/netmon-sensor/netmon/plugins"
)

// security is what the files of the configuration say about TLS and logins.
type security struct {
	guard *guard
	tls   bool
}

// security reads the web config file and the tokens. Where baseDir is not known
// and a path is relative, both results are nil.
func (c *Config) security(baseDir string) (*security, error) {
	for _, file := range []string{c.WebConfigFile, c.Auth.TokensFile} {
		if baseDir == "" && file != "" && !filepath.IsAbs(file) {
			return nil, nil
		}
	}
	out := &security{guard: &guard{Auth: c.Auth}}
	errs := []error{out.readWeb(at(baseDir, c.WebConfigFile)), out.readTokens(at(baseDir, c.Auth.TokensFile))}
	out.guard.closed = out.guard.closed || len(out.guard.tokens) > 0
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// readWeb reads the web config file as the toolkit does.
func (s *security) readWeb(file string) error {
	if file == "" {
		return nil
	}
	problem := func(err error) error {
		return &plugins.Problem{Path: []string{"web_config_file"}, Summary: "Unusable web config file", Detail: err.Error(), Cause: err}
	}
	if err := web.Validate(file); err != nil {
		return problem(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return problem(err)
	}
	c := web.Config{TLSConfig: web.TLSConfig{MinVersion: tls.VersionTLS12}}
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return problem(err)
	}
	if c.TLSConfig.MinVersion < tls.VersionTLS12 {
		return problem(errors.New("min_version: TLS 1.2 is the least"))
	}
	s.tls = c.TLSConfig.IsEnabled()
	s.guard.users = len(c.Users) > 0
	switch c.TLSConfig.ClientAuth {
	case "RequireAndVerifyClientCert", "VerifyClientCertIfGiven":
		s.guard.closed = true
	}
	s.guard.closed = s.guard.closed || s.guard.users
	return nil
}

// readTokens takes the tokens of the blocks and of the file.
func (s *security) readTokens(file string) error {
	var errs []error
	add := func(t Token, at ...string) {
		hash, err := t.check()
		if err != nil {
			errs = append(errs, &plugins.Problem{Path: append([]string{"auth"}, at...), Summary: "Unusable token", Detail: err.Error()})
			return
		}
		t.Secret = ""
		s.guard.tokens = append(s.guard.tokens, token{t, hash})
	}
	for i, t := range s.guard.Tokens {
		add(t, "token", fmt.Sprint(i))
	}
	s.guard.Tokens = nil
	if file == "" {
		return errors.Join(errs...)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		errs = append(errs, &plugins.Problem{Path: []string{"auth", "tokens_file"}, Summary: "Unreadable file", Detail: err.Error(), Cause: err})
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		t := Token{Sensors: words[0]}
		t.SetDefaults()
		switch len(words) {
		case 3:
			t.Allow = strings.Split(words[2], ",")
			fallthrough
		case 2:
			t.Secret = words[1]
		}
		if _, err := t.check(); err != nil || len(words) > 3 {
			errs = append(errs, &plugins.Problem{Path: []string{"auth", "tokens_file"}, Summary: "Unusable token",
				Detail: fmt.Sprintf("%s, line %d: a line is SENSORS SECRET [push,read,write], the secret of %d characters or more.", file, n, minSecret)})
			continue
		}
		add(t, "tokens_file")
	}
	return errors.Join(append(errs, lines.Err())...)
}

// check returns the hash of the secret. Its errors do not show it.
func (t *Token) check() (hash [sha256.Size]byte, err error) {
	for _, what := range t.Allow {
		if !slices.Contains([]access{forRead, forPush, forWrite}, access(what)) {
			return hash, fmt.Errorf("%q is not one of push, read, write", what)
		}
	}
	if _, err := path.Match(t.Sensors, ""); err != nil || t.Sensors == "" {
		return hash, fmt.Errorf("%q is no pattern for sensor ids", t.Sensors)
	}
	if digits, hashed := strings.CutPrefix(t.Secret, "sha256:"); hashed {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != len(hash) {
			return hash, fmt.Errorf("after sha256: there must be %d digits in hex", 2*len(hash))
		}
		return [sha256.Size]byte(b), nil
	}
	if len(t.Secret) < minSecret || strings.ContainsFunc(t.Secret, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return hash, fmt.Errorf("the secret needs %d characters or more, and no spaces or letters beyond ASCII", minSecret)
	}
	return sha256.Sum256([]byte(t.Secret)), nil
}

// checkExposure finds the addresses that others can reach although anybody could
// read along or come in.
func (c *Config) checkExposure(s *security) (errs []error) {
	if c.Insecure || s.tls && s.guard.closed {
		return nil
	}
	lacks := "TLS and a login"
	switch {
	case s.tls:
		lacks = "a login"
	case s.guard.closed:
		lacks = "TLS"
	}
	for i, address := range c.Listen {
		if host, _, err := net.SplitHostPort(address); err == nil && !loopback(host) {
			errs = append(errs, &plugins.Problem{
				Path: []string{"listen", fmt.Sprint(i)}, Summary: "Open to the network without " + lacks,
				Detail: fmt.Sprintf("%q can be reached from other machines. Give it %s (web_config_file, auth), listen on 127.0.0.1, or say insecure = true.", address, lacks),
			})
		}
	}
	return errs
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
