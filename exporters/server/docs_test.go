package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// TestAPIExamples runs the commands of docs/api.md, block by block, against a
// server that listens elsewhere and wants a token.
func TestAPIExamples(t *testing.T) {
	tool(t, "curl")
	bash := tool(t, "bash")
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	e, bound := begin(t, "", func(c *Config) {
		c.Reload = true
		c.Auth.Tokens = []Token{{Sensors: "*", Secret: writeToken, Allow: []string{"read", "push", "write"}}}
	})
	window := oneOfEach()
	window.SensorId = "web-1"
	mustTake(t, e.running.service, windowRequest(window))
	_, port, err := net.SplitHostPort(bound[0])
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	settings := fmt.Sprintf("fail-with-body\nsilent\nshow-error\nmax-time = 20\nnoproxy = \"*\"\nconnect-to = \"localhost:8080:127.0.0.1:%s\"\nheader = \"Authorization: Bearer %s\"\n", port, writeToken)
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	blocks := strings.Split(string(text), "```sh\n")[1:]
	var answers string
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		c := exec.CommandContext(ctx, bash, "-e", "-c", block)
		c.Env = append(os.Environ(), "HOME="+home, "CURL_HOME="+home, "TOKEN="+writeToken)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s%s", err, block, out)
		}
		answers += string(out)
	}
	for _, want := range []string{
		`"agents":[{"id":"web-1"`, `"named_ratio":`, `"storage":"memory"`, `"domain":"www.example.com"`, `"places":[{"host":"web-1"`,
		`"addresses":[`, `"resolver":"192.0.2.53"`, `"resolution_seconds":10`, "event: digest", `"status":"deleted"`, `"status":"reloaded"`,
		`"applied":true`, `"known":false`,
	} {
		if !strings.Contains(answers, want) {
			t.Errorf("the answers lack %s", want)
		}
	}
	if t.Failed() {
		t.Log(answers)
	}
}

// A row of a table of docs/metrics.md: names, types, labels.
var metricsRow = regexp.MustCompile("(?m)^\\| (`n\\w+`[^|]*)\\| ([^|]*) \\| ([^|]*) \\|")

// TestMetricsTables holds docs/metrics.md against the families that the server has,
// whatever the store, in both directions. What sensors tell of themselves is held
// against a sensor's own page.
func TestMetricsTables(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	word := regexp.MustCompile("`(\\w+)`")
	for _, row := range metricsRow.FindAllStringSubmatch(string(text), -1) {
		var labels []string
		for _, label := range word.FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, label[1])
		}
		types := strings.Split(row[2], ", ")
		for i, name := range word.FindAllStringSubmatch(row[1], -1) {
			if strings.HasPrefix(name[1], "network_") || strings.HasPrefix(name[1], "netmon_server_") {
				told[name[1]] = types[min(i, len(types)-1)] + " " + strings.Join(labels, ",")
			}
		}
	}

	there := map[string]string{}
	label := regexp.MustCompile(`(\w+)=`)
	for _, f := range families() {
		labels := appendLabels(nil, "", f.group, new(netmonpb.Key))
		var names []string
		for _, m := range label.FindAllSubmatch(labels, -1) {
			names = append(names, string(m[1]))
		}
		for _, o := range f.histograms[:min(1, len(f.histograms))] {
			for _, m := range label.FindAllStringSubmatch(o.label, -1) {
				names = append(names, m[1])
			}
		}
		there[f.name] = string(f.kind) + " " + strings.Join(names[2:], ",") // less host and interface
	}
	descs := make(chan *prometheus.Desc, 100)
	for _, store := range []store{newMemory(limits{}, time.Now), new(disk), new(shared)} {
		s := &service{store: store}
		if r, ok := store.(*shared); ok {
			r.remarks.Store(new(remarks))
		}
		newOwn(s, summary{}).Describe(descs)
	}
	close(descs)
	form := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
	for d := range descs {
		m := form.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("%s is of another form", d)
		}
		kind := isGauge
		if strings.HasSuffix(m[1], "_total") { // promtool sees to it
			kind = isCounter
		}
		there[m[1]] = string(kind) + " " + m[2]
	}
	if diff := cmp.Diff(there, told); diff != "" {
		t.Errorf("docs/metrics.md is not what the server has (- there, + told):\n%s", diff)
	}
}
