package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// A center is a standalone server on a town's web host, with TLS by a CA of the
// test's and a login.
type center struct {
	*town
	dir    string // ca.pem, web.yml, server.hcl
	client *http.Client
	server *program
}

const (
	serverPort     = "8443"
	serverUser     = "netmon"
	serverPassword = "correct horse"
)

func newCenter(w *town) *center {
	w.t.Helper()
	dir := authority(w.t, mgmtAddress)
	hash, err := bcrypt.GenerateFromPassword([]byte(serverPassword), bcrypt.MinCost)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"web.yml": fmt.Sprintf("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  %s: %s\n", serverUser, hash),
		"server.hcl": fmt.Sprintf(`
server {
  listen          = ["%s:%s"]
  web_config_file = "web.yml"
  storage "memory" {}
}
`, mgmtAddress, serverPort),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c := &center{town: w, dir: dir, client: w.web.http()}
	c.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	c.up()
	return c
}

// up starts the server and waits until it answers.
func (c *center) up() {
	c.t.Helper()
	c.server = start(c.t, "server", c.web.command(bin(c.t, serverProgram), "-config", filepath.Join(c.dir, "server.hcl")))
	eventually(c.t, 20*time.Second, "the server is up", func() error {
		if err := c.server.alive(); err != nil {
			c.t.Fatal(err)
		}
		_, err := c.scrape()
		return err
	})
}

// scrape reads the server's metrics with its login.
func (c *center) scrape() (scrape, error) {
	return scrapeAs(c.client, "https://"+mgmtAddress+":"+serverPort+"/metrics", serverUser, serverPassword)
}

// push is the exporter block of a sensor that pushes to the server.
func (c *center) push() string {
	return fmt.Sprintf(`
exporter "push" {
  url     = "https://%s:%s/api/v1/metrics"
  timeout = "3s"
  tls {
    ca_file = "%s/ca.pem"
  }
  auth {
    username = "%s"
    password = "%s"
  }
}
`, mgmtAddress, serverPort, c.dir, serverUser, serverPassword)
}

// TestPushChain follows windows from a sensor through push and a standalone
// server, with TLS and a login, into a real Prometheus, which answers the
// questions that users have.
func TestPushChain(t *testing.T) {
	t.Parallel()
	needTools(t, "prometheus", "promtool")
	w := newTown(t)
	c := newCenter(w)
	w.client.sensor(sensorConfig(c.push()))
	m := w.client.meter("eth0")
	w.visit(tour())
	s := w.settle(m, c.scrape)
	checkDomains(t, s, tour())
	checkHealth(t, w.client)
	checkMetricsPage(t, w.web, s.text)

	if _, err := scrapeAs(c.client, "https://"+mgmtAddress+":"+serverPort+"/metrics", "", ""); err == nil {
		t.Error("the server shows its metrics without a login")
	}
	p := c.web.prometheus(fmt.Sprintf(`
    scheme: https
    honor_labels: true
    tls_config:
      ca_file: %s/ca.pem
    basic_auth:
      username: %s
      password: %s`, c.dir, serverUser, serverPassword), mgmtAddress+":"+serverPort)
	connections := s.by("network_domain_connections_total", "domain")
	for query, want := range map[string]int{
		"topk(10, network_domains_accessed_total)":          len(connections),
		"topk(10, network_domain_bytes_sent_total)":         len(connections),
		"network_domain_bytes_received_total":               len(connections),
		"rate(network_connections_total[5m])":               2, // TCP and UDP
		`sum(network_domain_connections_total{host="lab"})`: 1,
	} {
		eventually(t, 30*time.Second, "Prometheus answers "+query, func() error {
			rows, err := p.query(query)
			if err == nil && len(rows) != want {
				err = fmt.Errorf("%d rows, want %d: %v", len(rows), want, rows)
			}
			return err
		})
	}
	rows, err := p.query("network_domain_connections_total")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if d := r.Metric["domain"]; r.Value[1] != fmt.Sprint(connections[d]) {
			t.Errorf("Prometheus has %v connections of %s, the server %v", r.Value[1], d, connections[d])
		}
	}
}

// checkMetricsPage has promtool look at a page of metrics.
func checkMetricsPage(t testing.TB, h *host, page string) {
	t.Helper()
	cmd := h.command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(page)
	if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
		t.Errorf("promtool check metrics: %v: %s", err, text)
	}
}
