package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the dashboards")

// The dashboards are what this program makes, and nothing else is among them.
func TestDashboardsAreGenerated(t *testing.T) {
	made := map[string]bool{}
	for _, d := range dashboards() {
		path := filepath.Join("..", d.uid+".json")
		made[path] = true
		want := d.json()
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what is made here: go run ./examples/grafana/generate (%v)", path, err)
		}
	}
	files, err := filepath.Glob("../*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if !made[path] {
			t.Errorf("%s is made by nobody", path)
		}
	}
}

// Panels fill the width, do not overlap, and say what their numbers are.
func TestLayout(t *testing.T) {
	for _, d := range dashboards() {
		for _, r := range d.rows {
			x := 0
			for _, p := range (dashboard{rows: []row{r}}).panels() {
				if p["type"] == "row" {
					continue
				}
				at := p["gridPos"].(object)
				if at["x"] != x {
					t.Errorf("%s: %s begins at %v, not %d", d.title, p["title"], at["x"], x)
				}
				x += at["w"].(int)
			}
			if x < 22 || x > 24 {
				t.Errorf("%s: a row is %d wide", d.title, x)
			}
			for _, p := range r.panels {
				if p.title == "" || p.unit == "" || len(p.queries) == 0 {
					t.Errorf("%s: %+v lacks a title, a unit or a query", d.title, p)
				}
			}
		}
	}
}
