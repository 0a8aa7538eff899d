package server

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"
)

// reloads remembers how often the configuration was read again, and how it went.
type reloads struct {
	mu         sync.Mutex // guards the rest, and lets one reload run at a time
	ok, failed uint64
	bad        bool
	at         time.Time
}

func (r *reloads) each(f func(ok, failed uint64, good bool, at time.Time)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.ok, r.failed, !r.bad, r.at)
}

// policy makes what of a configuration can change while the server runs.
func (c *Config) policy(baseDir string) (*policy, error) {
	if err := c.check(baseDir); err != nil {
		return nil, err
	}
	security, err := c.security(baseDir)
	if err != nil {
		return nil, err
	}
	p := &policy{config: c, guard: &guard{Auth: c.Auth}}
	if security != nil {
		p.guard = security.guard
	}
	if file := at(baseDir, c.WebConfigFile); file != "" {
		if p.web, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("read the web config file: %w", err)
		}
	}
	return p, nil
}

// reread takes the configuration into use as it is now: who may do what, the
// quotas and the limits of requests. All of it, or after a mistake nothing.
func (s *service) reread() error {
	s.loaded.mu.Lock()
	defer s.loaded.mu.Unlock()
	err := s.replace()
	if s.loaded.bad = err != nil; err != nil {
		s.loaded.failed++
		s.logger.Error("the configuration was not reloaded", "error", err)
		return err
	}
	s.loaded.ok++
	s.loaded.at = s.now()
	s.logger.Info("the configuration was reloaded")
	return nil
}

func (s *service) replace() error {
	next := s.policy.Load().config
	if s.load != nil {
		var err error
		if next, err = s.load(); err != nil {
			return err
		}
	}
	if fixed := fixedOptions(s.config, next); len(fixed) > 0 {
		return fmt.Errorf("%s: it takes a restart to change that", strings.Join(fixed, ", "))
	}
	p, err := next.policy(s.baseDir)
	if err != nil {
		return err
	}
	s.policy.Store(p)
	return nil
}

// fixedOptions lists the options that differ and take effect at the start alone.
func fixedOptions(a, b *Config) (names []string) {
	changing := []string{"auth", "quota", "insecure", "reload", "max_body", "max_decoded", "offline_after"}
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range x.NumField() {
		name, _, _ := strings.Cut(x.Type().Field(i).Tag.Get("netmon"), ",")
		fixed := !slices.Contains(changing, name)
		empty := x.Field(i).Kind() == reflect.Slice && x.Field(i).Len() == 0 && y.Field(i).Len() == 0
		if fixed && !empty && !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			names = append(names, name)
		}
	}
	return names
}

// reload is POST /-/reload.
func (s *service) reload(w http.ResponseWriter, r *http.Request) {
	if !s.policy.Load().config.Reload {
		s.fail(w, refuse(codeForbidden, "reloading is off: it takes reload = true"))
		return
	}
	if err := s.reread(); err != nil {
		s.fail(w, refuse(codeRefusedConfig, "nothing was reloaded: %s", brief(err.Error())))
		return
	}
	s.answer(w, http.StatusOK, map[string]string{"status": "reloaded"})
}

// certificateEnd is when the certificate expires that a handshake would show now;
// zero without TLS.
func (s *service) certificateEnd() time.Time {
	file := at(s.baseDir, s.config.WebConfigFile)
	if file == "" {
		return time.Time{}
	}
	c := web.Config{}
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, &c)
	}
	certificate := []byte(c.TLSConfig.TLSCert)
	if err == nil && c.TLSConfig.TLSCertPath != "" {
		c.TLSConfig.SetDirectory(filepath.Dir(file))
		certificate, err = os.ReadFile(c.TLSConfig.TLSCertPath)
	}
	block, _ := pem.Decode(certificate)
	if err != nil || block == nil {
		return time.Time{} // handshakes fail as well, and say so
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return leaf.NotAfter
}
