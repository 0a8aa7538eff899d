package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
)

// tool finds a program, or skips the test.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("NETMON_REQUIRE_NET") == "1" {
			t.Fatalf("%s is missing, and NETMON_REQUIRE_NET=1", name)
		}
		t.Skipf("%s is missing (Debian: apt install curl prometheus redis-server)", name)
	}
	return path
}

// TestPromtool: what `promtool check metrics` says of a scrape is nothing.
func TestPromtool(t *testing.T) {
	promtool := tool(t, "promtool")
	s := testService(t, nil)
	mustTake(t, s, windowRequest(oneOfEach()))
	c := exec.Command(promtool, "check", "metrics")
	c.Stdin = strings.NewReader(whole(t, s, expfmt.FmtText))
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPrometheus has a real one scrape over TLS with a login, and asks it what
// the dashboards ask.
func TestPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	prometheus := tool(t, "prometheus")
	dir := t.TempDir()
	webConfig(t, dir)
	e, bound := begin(t, dir, func(c *Config) { c.WebConfigFile = "web.yml" })
	window := oneOfEach()
	if err := e.Export(t.Context(), window); err != nil {
		t.Fatal(err)
	}
	server := startPrometheus(t, prometheus, dir, bound[0])

	// A second window, once the first was scraped, so that rate() has two points.
	server.wait(`network_connections_total{protocol="tcp",direction="outbound"}`, "3")
	window.Sequence, window.PreviousChain, window.Chain = 2, chainOf(aLog, 1), chainOf(aLog, 2)
	if err := e.Export(t.Context(), window); err != nil {
		t.Fatal(err)
	}
	server.wait(`network_connections_total{protocol="tcp",direction="outbound"}`, "6")
	server.wait(`topk(10, network_domain_bytes_sent_total{domain="www.example.com"})`, "4000")
	server.wait(`topk(1, network_domains_accessed_total)`, "8")
	server.wait(`rate(network_connections_total[5m]) > 0`, "")
	server.wait(`network_protocol_stats{protocol="https"}`, "60")
	server.wait(`sum(network_domain_bytes_sent_total) - sum(network_bytes_sent_total)`, "2000")
	server.wait(`histogram_quantile(0.5, rate(network_dns_response_seconds_bucket[5m])) > 0`, "")
	server.wait(`netmon_server_sensor_up{host="host-1"}`, "1")

	var metadata struct {
		Data map[string][]struct{ Type, Help string }
	}
	server.ask("/api/v1/metadata", &metadata)
	for name, want := range map[string]string{
		"network_protocol_stats": "unknown", "network_domains_accessed_total": "counter", "network_dns_response_seconds": "histogram",
	} {
		if entries := metadata.Data[name]; len(entries) != 1 || entries[0].Type != want || entries[0].Help == "" {
			if short := metadata.Data[strings.TrimSuffix(name, "_total")]; len(short) != 1 || short[0].Type != want {
				t.Errorf("metadata of %s: %v", name, entries)
			}
		}
	}
}

// realPrometheus is a process that scrapes one target each second.
type realPrometheus struct {
	t       *testing.T
	address string
	log     *bytes.Buffer
}

func startPrometheus(t *testing.T, program, dir, target string) *realPrometheus {
	t.Helper()
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: netmon
  scheme: https
  tls_config: {ca_file: %s}
  basic_auth: {username: prom, password: secret}
  static_configs: [{targets: [%q]}]
`, filepath.Join(dir, "cert.pem"), target)
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &realPrometheus{t: t, address: l.Addr().String(), log: &bytes.Buffer{}}
	l.Close()
	c := exec.Command(program, "--config.file="+path, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address, "--log.level=warn")
	c.Stdout, c.Stderr = p.log, p.log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // its data is thrown away
		_ = c.Wait()
	})
	return p
}

func (p *realPrometheus) ask(path string, into any) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+p.address+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.NewDecoder(answer.Body).Decode(into)
}

// wait asks until the first value of a query is want; "" is any value.
func (p *realPrometheus) wait(query, want string) {
	p.t.Helper()
	var last string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var answer struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		if err := p.ask("/api/v1/query?query="+url.QueryEscape(query), &answer); err != nil {
			last = err.Error()
			continue
		}
		last = "no result"
		if len(answer.Data.Result) > 0 {
			if last = fmt.Sprint(answer.Data.Result[0].Value[1]); last == want || want == "" {
				return
			}
		}
	}
	p.t.Fatalf("%s is %s, want %s", query, last, want)
}
