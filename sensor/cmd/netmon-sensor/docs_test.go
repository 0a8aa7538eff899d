package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	pushexporter "github.com/netmon-sensor/netmon/exporters/push"
	serverexporter "github.com/netmon-sensor/netmon/exporters/server"
	"github.com/netmon-sensor/netmon/plugins"
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
