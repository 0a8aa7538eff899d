package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const examples = "../examples/prometheus"

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	return files
}

// TestRules has promtool read the rules and run their tests.
func TestRules(t *testing.T) {
	needTools(t, "promtool")
	run(t, "promtool", append([]string{"check", "rules"}, glob(t, examples+"/rules/*.yml")...)...)
	run(t, "promtool", append([]string{"test", "rules"}, glob(t, examples+"/tests/*.yml")...)...)

	alerts := regexp.MustCompile(`(?m)^      - alert: (\S+)$`)
	tests := read(t, examples+"/tests/alerts.yml")
	rules := alerts.Split(read(t, examples+"/rules/alerts.yml"), -1)[1:]
	for i, name := range alerts.FindAllStringSubmatch(read(t, examples+"/rules/alerts.yml"), -1) {
		if !strings.Contains(tests, "- name: "+name[1]+"\n") {
			t.Errorf("%s has no test", name[1])
		}
		for _, word := range []string{"severity: ", "summary: ", "description: ", "runbook: "} {
			if !strings.Contains(rules[i], word) {
				t.Errorf("%s has no %s", name[1], strings.TrimSuffix(word, ": "))
			}
		}
	}
}

// TestRulesNameMetrics wants every metric in the rules and in their runbooks to be
// one that the sensor or the server has.
func TestRulesNameMetrics(t *testing.T) {
	known := map[string]bool{}
	for _, name := range regexp.MustCompile("`((?:netmon|network)_[a-z_]+)`").FindAllStringSubmatch(read(t, "../docs/metrics.md"), -1) {
		known[name[1]] = true
	}
	for _, name := range regexp.MustCompile(`desc\("([a-z_]+)"`).FindAllStringSubmatch(read(t, "../exporters/server/own.go"), -1) {
		known["netmon_server_"+name[1]] = true
	}
	words := regexp.MustCompile(`[a-zA-Z0-9_:]+`)
	names := 0
	for _, file := range glob(t, examples+"/rules/*.yml") {
		for _, word := range words.FindAllString(read(t, file), -1) {
			if strings.HasPrefix(word, "netmon_") || strings.HasPrefix(word, "network_") {
				names++
				if !known[strings.TrimSuffix(word, "_bucket")] {
					t.Errorf("%s: there is no metric %s", filepath.Base(file), word)
				}
			}
		}
	}
	if names < 20 {
		t.Errorf("only %d metrics were found", names)
	}
}

// TestScrapeConfigs runs a server and a Prometheus by each pair of example files,
// until one has scraped the other.
func TestScrapeConfigs(t *testing.T) {
	needTools(t, "prometheus", "promtool", "curl")
	makeOnce(t, "build")
	for name, pair := range map[string]struct{ prometheus, web, scheme string }{
		"plain": {"prometheus.yml", "", "http"}, "TLS and login": {"prometheus-tls.yml", "web-tls.yml", "https"},
		"client certificates": {"prometheus-mtls.yml", "web-mtls.yml", "https"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := netns(t)
			dir := t.TempDir()
			certificates(t, dir)
			write := func(name, text string) string {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			write("password", "test")
			for _, file := range glob(t, examples+"/rules/*.yml") {
				write("rules/"+filepath.Base(file), read(t, file))
			}
			config := write("prometheus.yml", strings.ReplaceAll(read(t, filepath.Join(examples, pair.prometheus)), "scrape_interval: 15s", "scrape_interval: 1s"))
			run(t, "promtool", "check", "config", config)
			if !strings.Contains(read(t, config), "scrape_interval") { // where the example leaves the default of a minute
				config = write("prometheus.yml", "global: {scrape_interval: 1s}\n"+read(t, config))
			}
			web := ""
			if pair.web != "" {
				write("web.yml", read(t, filepath.Join(examples, pair.web)))
				web = "web.yml"
			}
			server := write("server.hcl", fmt.Sprintf("server {\n  listen = [\"127.0.0.1:8080\"]\n  web_config_file = %q\n  storage \"memory\" {}\n}\n", web))
			for _, args := range [][]string{
				{filepath.Join(top(t), "bin/netmon-exporter-server"), "-config", server},
				{"prometheus", "--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:9090"},
			} {
				cmd := inside(ns, args[0], args[1:]...)
				var out strings.Builder
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
					if t.Failed() {
						t.Logf("%s says:\n%s", args[0], tail(out.String(), 2000))
					}
				})
			}
			eventually(t, 60*time.Second, "Prometheus has scraped the server", func() error {
				answer, err := try(inside(ns, "curl", "-sSf", "-m", "5", "-g", `http://127.0.0.1:9090/api/v1/query?query=netmon_server_build_info{job="netmon-server"}`))
				if err == nil && !strings.Contains(answer, `"goversion"`) {
					err = fmt.Errorf("it answers %s", answer)
				}
				return err
			})
			if pair.web != "" {
				if _, err := try(inside(ns, "curl", "-sSf", "-m", "5", "--cacert", filepath.Join(dir, "ca.pem"), "https://localhost:8080/metrics")); err == nil {
					t.Error("the server answers strangers")
				}
			}
		})
	}
}

// certificates makes an authority, and certificates of a server named localhost and
// of a Prometheus, under the names that the examples have for them.
func certificates(t testing.TB, dir string) {
	t.Helper()
	var authority *x509.Certificate
	var authorityKey *ecdsa.PrivateKey
	for serial, name := range []string{"ca", "server", "prometheus"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(serial + 1)), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			IsCA:        serial == 0, BasicConstraintsValid: true,
		}
		if serial == 0 {
			authority, authorityKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, authority, &key.PublicKey, authorityKey)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + "-key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
			if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
