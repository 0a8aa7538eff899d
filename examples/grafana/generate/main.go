// Command generate writes the Grafana dashboards beside it: go run ./examples/grafana/generate
//
// The dashboards are data here and JSON there, so that a panel is a line and all
// of them look alike.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := "examples/grafana"
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	for _, d := range dashboards() {
		path := filepath.Join(dir, d.uid+".json")
		if err := os.WriteFile(path, d.json(), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// A dashboard is rows of panels, from left to right and from top to bottom.
type dashboard struct {
	uid, title, about string
	variables         []variable
	rows              []row
}

// A row is as high as its panels, which share its width by their weight.
type row struct {
	title  string // "": none is shown
	height int
	panels []panel
}

type panel struct {
	kind        kind
	title, help string
	unit        unit
	width       int // of 24; 0: an equal share of what is left
	queries     []query
	good        []threshold // colours of a stat, lowest first
}

// A query is an expression and how its series are called.
type query struct {
	expr, legend string
	mirrored     bool // drawn below zero
}

// A threshold is the value from which on a colour holds.
type threshold struct {
	colour string
	from   float64
}

// A variable is a label to choose values of.
type variable struct{ name, label, from string }

type kind string

const (
	graph kind = "timeseries"
	stat  kind = "stat"
	bars  kind = "bargauge"
	table kind = "table"
)

// unit is a unit of Grafana's.
type unit string

const (
	bytesPerSecond unit = "Bps"
	byteCount      unit = "bytes"
	perSecond      unit = "cps"
	packets        unit = "pps"
	seconds        unit = "s"
	share          unit = "percentunit"
	count          unit = "short"
)

// object is a piece of JSON.
type object map[string]any

var source = object{"type": "prometheus", "uid": "${datasource}"}

func (d dashboard) json() []byte {
	variables := []object{{
		"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
	}}
	for _, v := range d.variables {
		query := fmt.Sprintf("label_values(%s, %s)", v.from, v.name)
		variables = append(variables, object{
			"name": v.name, "label": v.label, "type": "query", "datasource": source,
			"definition": query, "query": object{"query": query, "refId": v.name},
			"includeAll": true, "allValue": ".*", "multi": true, "refresh": 2, "sort": 1,
			"current": object{"text": "All", "value": "$__all"},
		})
	}
	body, err := json.MarshalIndent(object{
		"uid": "netmon-" + d.uid, "title": "netmon / " + d.title, "description": d.about, "tags": []string{"netmon"},
		"schemaVersion": 39, "editable": true, "graphTooltip": 1, "refresh": "30s",
		"time":       object{"from": "now-1h", "to": "now"},
		"templating": object{"list": variables},
		"links": []object{{
			"title": "netmon", "type": "dashboards", "tags": []string{"netmon"}, "asDropdown": true, "includeVars": true, "keepTime": true,
		}},
		"panels": d.panels(),
	}, "", "  ")
	if err != nil {
		panic(err) // strings, numbers and lists of them
	}
	return append(body, '\n')
}

func (d dashboard) panels() []object {
	var out []object
	y := 0
	place := func(x, y, w, h int) object { return object{"x": x, "y": y, "w": w, "h": h} }
	for _, r := range d.rows {
		if r.title != "" {
			out = append(out, object{"id": len(out) + 1, "type": "row", "title": r.title, "collapsed": false, "gridPos": place(0, y, 24, 1), "panels": []object{}})
			y++
		}
		free, shared := 24, 0
		for _, p := range r.panels {
			free -= p.width
			if p.width == 0 {
				shared++
			}
		}
		x := 0
		for _, p := range r.panels {
			w := p.width
			if w == 0 {
				w = free / shared
			}
			o := p.json()
			o["id"], o["gridPos"] = len(out)+1, place(x, y, w, r.height)
			out = append(out, o)
			x += w
		}
		y += r.height
	}
	return out
}

func (p panel) json() object {
	var targets, overrides []object
	for i, q := range p.queries {
		id := string(rune('A' + i))
		t := object{"refId": id, "datasource": source, "expr": q.expr, "legendFormat": q.legend, "editorMode": "code"}
		if p.kind == graph {
			t["range"] = true
		} else {
			t["instant"] = true
		}
		if p.kind == table {
			t["format"] = "table"
		}
		targets = append(targets, t)
		if q.mirrored {
			overrides = append(overrides, object{
				"matcher":    object{"id": "byFrameRefID", "options": id},
				"properties": []object{{"id": "custom.transform", "value": "negative-Y"}},
			})
		}
	}
	defaults := object{"unit": p.unit, "min": nil}
	if len(p.good) > 0 {
		steps := []object{}
		for i, t := range p.good {
			var from any = t.from
			if i == 0 {
				from = nil // minus infinity
			}
			steps = append(steps, object{"color": t.colour, "value": from})
		}
		defaults["thresholds"] = object{"mode": "absolute", "steps": steps}
	}
	o := object{
		"type": p.kind, "title": p.title, "description": p.help, "datasource": source, "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": list(overrides)},
	}
	switch p.kind {
	case graph:
		defaults["custom"] = object{"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
		o["options"] = object{
			"legend":  object{"displayMode": "table", "placement": "bottom", "calcs": []string{"mean", "max"}, "sortBy": "Mean", "sortDesc": true},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	case stat:
		o["options"] = object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "colorMode": "value", "graphMode": "none"}
	case bars:
		o["options"] = object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "orientation": "horizontal", "displayMode": "gradient"}
	case table:
		o["options"] = object{"showHeader": true}
		o["transformations"] = []object{{"id": "merge", "options": object{}}, {"id": "organize", "options": object{
			"excludeByName": object{"Time": true},
		}}}
	}
	return o
}

// list is never null in JSON.
func list(o []object) []object {
	if o == nil {
		return []object{}
	}
	return o
}
