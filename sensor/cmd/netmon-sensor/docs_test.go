package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	pushexporter "github.com/netmon-sensor/netmon/exporters/push"
	serverexporter "github.com/netmon-sensor/netmon/exporters/server"
	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
)

// A table of a page is made from code: what stands between its two comments.
var madeTable = regexp.MustCompile(`(?s)(<!-- made: (.+?) -->\n)(.*?)(<!-- end of made -->)`)

// TestConfigurationPage holds docs/configuration.md against the schemas: its tables
// are theirs, and an example after each table sets every option of it.
func TestConfigurationPage(t *testing.T) {
	sections, err := config.Sections()
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string]any{"server": serverexporter.DefaultConfig(), "push": pushexporter.DefaultConfig()} {
		schema, err := plugins.Schema(options)
		if err != nil {
			t.Fatal(err)
		}
		sections = append(sections, plugins.Explain("exporter "+fmt.Sprintf("%q", name), schema))
	}
	page := readPage(t, "docs/configuration.md")
	made := map[string]bool{}
	places := madeTable.FindAllStringSubmatchIndex(page, -1)
	for i, at := range places {
		head := page[at[4]:at[5]]
		s := slices.IndexFunc(sections, func(s plugins.Section) bool { return s.Head == head })
		if s < 0 {
			t.Errorf("there is no block %s", head)
			continue
		}
		made[head] = true
		after := page[at[1]:]
		if i+1 < len(places) {
			after = page[at[1]:places[i+1][0]]
		}
		example := ""
		for _, block := range codeBlocks(after) {
			example += block.text
		}
		for _, option := range allOptions(sections[s]) {
			if !regexp.MustCompile(`(?m)(^|[{#])\s*` + option + `\s*(=|"|\{)`).MatchString(example) {
				t.Errorf("no example after the table of %s sets %q", head, option)
			}
		}
	}
	for _, s := range sections {
		if !made[s.Head] {
			t.Errorf("the page has no table of %s", s.Head)
		}
	}
	for name := range plugins.EvalContext("").Functions {
		if !strings.Contains(page, "`"+name+"(") {
			t.Errorf("the page does not tell of %s()", name)
		}
	}
	current(t, "docs/configuration.md", madeTable.ReplaceAllStringFunc(page, func(old string) string {
		m := madeTable.FindStringSubmatch(old)
		if s := slices.IndexFunc(sections, func(s plugins.Section) bool { return s.Head == m[2] }); s >= 0 {
			return m[1] + table(sections[s], "") + m[4]
		}
		return old
	}))
}

// table is the options of a section in Markdown, and of the blocks inside it.
func table(s plugins.Section, above string) string {
	var w strings.Builder
	if s.Text != "" {
		fmt.Fprintf(&w, "\n%s\n", escape(s.Text))
	}
	w.WriteByte('\n')
	w.WriteString("| option | type | default | may be | meaning |\n|---|---|---|---|---|\n")
	for _, o := range s.Options {
		bounds := ""
		switch {
		case len(o.Enum) > 0:
			bounds = "`" + strings.Join(o.Enum, "`, `") + "`"
		case o.Min != "" && o.Max != "":
			bounds = o.Min + " to " + o.Max
		case o.Min != "":
			bounds = o.Min + " or more"
		case o.Max != "":
			bounds = "up to " + o.Max
		}
		standard := "`" + o.Default + "`"
		if o.Required {
			standard = "must be given"
		}
		text := escape(o.Text)
		if o.Sensitive {
			text += " Never printed."
		}
		fmt.Fprintf(&w, "| `%s` | %s | %s | %s | %s |\n", o.Name, o.Type, standard, bounds, text)
	}
	w.WriteByte('\n')
	for _, block := range s.Blocks {
		path := above + block.Head
		times := ""
		if block.Repeated {
			times = " (any number of times)"
		}
		fmt.Fprintf(&w, "**`%s`**%s: %s", path, times, strings.TrimPrefix(table(block, path+" > "), "\n"))
	}
	return w.String()
}

// allOptions are the names of options and blocks, those of blocks inside included.
func allOptions(s plugins.Section) (names []string) {
	for _, o := range s.Options {
		if strings.ToUpper(o.Name) != o.Name { // else the label
			names = append(names, o.Name)
		}
	}
	for _, b := range s.Blocks {
		name, _, _ := strings.Cut(b.Head, " ")
		names = append(append(names, name), allOptions(b)...)
	}
	return names
}

func escape(text string) string {
	return strings.NewReplacer("*", `\*`, "|", `\|`, "<", "&lt;").Replace(text)
}

func readPage(t testing.TB, path string) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// current fails where a page of the repository is not what it should be, or makes it so.
func current(t testing.TB, path, want string) {
	t.Helper()
	if readPage(t, path) == want {
		return
	}
	if !*update {
		t.Errorf("%s is not what the code says: make docs", path)
		return
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, path), []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A row of a table of docs/metrics.md: names, types, labels.
var (
	metricsRow = regexp.MustCompile("(?m)^\\| (`netmon_\\w+`[^|]*)\\| ([^|]*) \\| ([^|]*) \\|")
	codeWord   = regexp.MustCompile("`(\\w+)`")
)

// TestSensorMetricsTables holds what docs/metrics.md says of a sensor's own metrics
// against a sensor: names and types in both directions, and the labels of those that
// have a value. What the server exporter shows itself is its own test's.
func TestSensorMetricsTables(t *testing.T) {
	t.Parallel()
	told, types := map[string]string{}, map[string]string{}
	for _, row := range metricsRow.FindAllStringSubmatch(readPage(t, "docs/metrics.md"), -1) {
		var labels []string
		for _, label := range codeWord.FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, label[1])
		}
		kinds := strings.Split(row[2], ", ")
		for i, name := range codeWord.FindAllStringSubmatch(row[1], -1) {
			if !strings.HasPrefix(name[1], "netmon_server_") {
				told[name[1]], types[name[1]] = strings.Join(labels, ","), kinds[min(i, len(kinds)-1)]
			}
		}
	}
	items := map[string]bool{}
	for _, item := range rows.Items() {
		name, kind := "netmon_"+item, "gauge"
		if strings.HasSuffix(name, "_total") {
			kind = "counter"
		}
		items[name] = true
		if types[name] != kind {
			t.Errorf("%s is a %s, and the page says %q", name, kind, types[name])
		}
	}

	h := newHost(t)
	const nobody = "\nexporter \"push\" {\n  url = \"http://127.0.0.1:1/api/v1/metrics\"\n}\n" // so that something fails
	h.sensor(strings.Replace(sensorConfig("filter { ignore_localhost = false }"+exporterServer+nobody), "eth0", "lo", 1))
	own := map[string]bool{} // of the listener alone
	for url, last := range map[string]string{statusURL + "/metrics": "netmon_exporter_failures_total{", localMetrics: "netmon_rows{"} {
		var s scrape
		eventually(t, 30*time.Second, url+" shows the sensor", func() (err error) {
			if s, err = h.scrape(url); err == nil {
				err = containsAll(s.text, "netmon_frames_total{", "netmon_coverage_ratio{", last)
			}
			return err
		})
		labels := map[string][]string{}
		for _, sample := range s.samples {
			if !strings.HasPrefix(sample.name, "netmon_") || strings.HasPrefix(sample.name, "netmon_server_") {
				continue
			}
			for _, label := range []string{"interface", "shard", "detail", "exporter", "reason", "result", "kind", "version"} {
				value, has := sample.labels[label]
				if has && value != "" && (label != "shard" || value != "0") && !slices.Contains(labels[sample.name], label) {
					labels[sample.name] = append(labels[sample.name], label)
				}
			}
			if _, any := labels[sample.name]; !any {
				labels[sample.name] = nil
			}
		}
		for name, labels := range labels {
			if said, ok := told[name]; !ok {
				t.Errorf("%s has %s, and the page has not", url, name)
			} else if extra := slices.DeleteFunc(labels, func(l string) bool { return slices.Contains(strings.Split(said, ","), l) }); len(extra) > 0 {
				t.Errorf("%s: %s has labels %q that the page does not name", url, name, extra)
			}
			if want := "# TYPE " + name + " " + types[name] + "\n"; !strings.Contains(s.text, want) {
				t.Errorf("%s does not say %q", url, want)
			}
			own[name] = true
		}
	}
	for name := range told {
		if !items[name] && !own[name] {
			t.Errorf("the page has %s, and the sensor has not", name)
		}
	}
}
