package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDashboards runs every query of every dashboard, and those that the
// predecessor's users know, against a real Prometheus that scraped a real server
// with real traffic. Each has to return something.
func TestDashboards(t *testing.T) {
	t.Parallel()
	needTools(t, "prometheus")
	w := newTown(t)
	w.client.sensor(sensorConfig(exporterServer))
	p := w.client.prometheus("", "127.0.0.1:8080", "127.0.0.1:9854")
	stop := w.crowd()
	defer stop()

	queries := map[string]string{
		"sample: domains": "topk(10, network_domains_accessed_total)",
		"sample: bytes":   "topk(10, network_domain_bytes_sent_total)",
		"sample: live":    "rate(network_connections_total[5m])",
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(root, "examples/grafana/*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, path := range paths {
		for where, query := range dashboardQueries(t, path) {
			queries[filepath.Base(path)+": "+where] = query
		}
	}
	if len(queries) < 60 {
		t.Errorf("only %d queries were found", len(queries))
	}
	eventually(t, 90*time.Second, "every query returns something", func() error {
		var empty []string
		for where, query := range queries {
			if rows, err := p.query(query); err != nil {
				empty = append(empty, fmt.Sprintf("%s: %v", where, err))
			} else if len(rows) == 0 {
				empty = append(empty, fmt.Sprintf("%s: %s returns nothing", where, query))
			}
		}
		return listed(empty)
	})
}

// dashboardQueries are the queries of panels and variables, with every variable
// at All and Grafana's own at something that suits a scrape each second.
func dashboardQueries(t testing.TB, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Templating struct {
			List []struct {
				Name, Definition, AllValue string
			}
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	set := []string{"$__rate_interval", "10s", "$__range", "20s"}
	for _, v := range board.Templating.List {
		set = append(set, "$"+v.Name, v.AllValue)
	}
	fill := strings.NewReplacer(set...)
	queries := map[string]string{}
	for _, v := range board.Templating.List {
		if inside, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			metric, label, _ := cutLast(strings.TrimSuffix(inside, ")"), ", ")
			queries["variable "+v.Name] = fill.Replace(fmt.Sprintf("group by (%s) (%s)", label, metric))
		}
	}
	for _, p := range board.Panels {
		for i, target := range p.Targets {
			query := fill.Replace(target.Expr)
			if strings.Contains(query, "$") {
				t.Errorf("%s: %s: %s has a variable that nobody sets", path, p.Title, query)
			}
			queries[fmt.Sprintf("%s %d", p.Title, i)] = query
		}
	}
	return queries
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// prometheus is a real one in a namespace that scrapes its targets each second.
type prometheus struct{ h *host }

const prometheusAddress = "127.0.0.1:9090"

// prometheus starts one and waits for its first scrape; more is further lines of
// the job.
func (h *host) prometheus(more string, targets ...string) prometheus {
	h.t.Helper()
	config := writeFile(h.t, "prometheus.yml", fmt.Sprintf(`
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: netmon
    static_configs:
      - targets: [%s]%s
`, strings.Join(targets, ","), more))
	server := start(h.t, "prometheus", h.command("prometheus", "--config.file="+config,
		"--storage.tsdb.path="+tempDir(h.t), "--web.listen-address="+prometheusAddress, "--log.level=warn"))
	p := prometheus{h}
	eventually(h.t, 30*time.Second, "Prometheus has scraped", func() error {
		if err := server.alive(); err != nil {
			h.t.Fatal(err)
		}
		rows, err := p.query(`up{job="netmon"} == 1`)
		if err == nil && len(rows) < len(targets) {
			err = errors.New("not yet")
		}
		return err
	})
	return p
}

type promRow struct {
	Metric map[string]string
	Value  [2]any
}

func (p prometheus) query(query string) ([]promRow, error) {
	text, err := p.h.get("http://" + prometheusAddress + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []promRow }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, errors.New(answer.Error)
	}
	return answer.Data.Result, nil
}
