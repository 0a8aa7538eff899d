package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPages looks at the pages of the status listener, and compares its API with that
// of the exporter.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.client.sensor(sensorConfig(exporterServer))
	m := w.client.meter("eth0")

	// A name that is markup is no name, but what a question is for comes back escaped.
	visited := append(tour(), visit{"http://one.example/bytes/90000", 1, 90_000})
	w.visit(visited)
	eventually(t, 20*time.Second, "a page has the answers", func() error {
		text, err := w.client.get(statusURL + "/names?q=one.example")
		if err == nil {
			err = containsAll(text, "<td>one.example</td>", "<td>"+webAddress+"</td>", "<td>192.0.2.2</td>")
		}
		return err
	})
	stop := w.crowd()
	eventually(t, 30*time.Second, "a page has flows", func() error {
		text, err := w.client.get(statusURL + "/flows")
		if err == nil {
			err = containsAll(text, "<td>eth0</td>", "<td>outbound</td>", "<td>"+webAddress+":", "<td>192.0.2.2:", "two.example</td>")
		}
		return err
	})
	stop()
	for page, parts := range map[string][]string{
		"/":                      {"<td>ready</td>", "/metrics", `href="/flows"`},
		"/names?q=" + webAddress: {"In the book", "example</td>"},
		"/names?q=%3Cscript%3E":  {"&lt;script&gt;"},
		"/cursors":               {"<td>server</td><td>running</td>", "127.0.0.1:8080", "<td>fine</td>"},
		"/ledger":                {"<td>netmon_frames_total</td><td>eth0</td>", "netmon_audit_imbalance", "netmon_coverage_ratio", "netmon_capture_dropped_total"},
		"/flows?format=json":     {`"bytes_received"`, `"rows":[`},
		"/cursors?format=json":   {`"server","running"`},
		"/style.css":             {"table"},
	} {
		answer, err := w.client.http().Get(statusURL + page)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err == nil {
			err = containsAll(string(body), parts...)
		}
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s: %v", page, answer.Status, err)
		}
		if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", page, policy)
		}
		if strings.Contains(strings.ToLower(string(body)), "<script") {
			t.Errorf("%s has a script", page)
		}
	}

	w.settle(m, func() (scrape, error) { return w.client.scrape(localMetrics) })
	for _, query := range []string{"domains", "addresses", "protocols", "domains?sort=connections&limit=2"} {
		eventually(t, 10*time.Second, "sensor and server answer the same", func() error {
			own, err := w.client.top(statusURL + "/api/v1/" + query)
			if err != nil {
				return err
			}
			theirs, err := w.client.top("http://127.0.0.1:8080/api/v1/" + query)
			if err != nil {
				return err
			}
			if own != theirs {
				return fmt.Errorf("%s\n%s", own, theirs)
			}
			if !strings.Contains(own, "total") || strings.Contains(own, `"total": 0`) {
				return errors.New(own)
			}
			return nil
		})
	}
	if _, err := w.client.get(statusURL + "/api/v1/domains?limit=0"); err == nil || !strings.Contains(err.Error(), "INVALID_REQUEST") {
		t.Errorf("limit=0: %v", err)
	}
}

// top is the answer of an API, laid out in one way.
func (h *host) top(url string) (string, error) {
	text, err := h.get(url)
	if err != nil {
		return "", err
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "", err
	}
	out, err := json.MarshalIndent(v, "", " ")
	return string(out), err
}
