package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// TestMistakes gives every option of server.hcl each kind of bad value that it can have,
// and holds what is said, and where, against testdata/mistakes.txt.
func TestMistakes(t *testing.T) {
	schema, err := plugins.Schema(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	path := filepath.Join(t.TempDir(), "server.hcl")
	eachBad(schema, "server {\n", "}\n", func(option, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		file, diags := plugins.LoadStandalone(path, "server", DefaultConfig())
		var shown strings.Builder
		if err := file.Write(&shown, diags); err != nil {
			t.Fatal(err)
		}
		said := strings.ReplaceAll(shown.String(), filepath.Dir(path)+"/", "")
		if !diags.HasErrors() || !strings.Contains(said, " line ") {
			t.Errorf("nothing is said of this, or not where:\n%s%s", text, said)
		}
		fmt.Fprintf(&out, "%s\n", said)
	})
	golden := filepath.Join("testdata", "mistakes.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("(- golden, + now)\n%s", d)
	}
}

// eachBad calls f with a file for every bad value of every option of a block.
func eachBad(b *netmonpb.Block, before, after string, f func(option, text string)) {
	for _, a := range b.Attributes {
		bad := []string{"{}"} // no option is an object
		if a.Minimum != nil && a.Type == `"number"` {
			bad = append(bad, fmt.Sprintf("%.0f", *a.Minimum-1))
		}
		if a.Maximum != nil && a.Type == `"number"` {
			bad = append(bad, fmt.Sprintf("%.0f", *a.Maximum+1))
		}
		switch {
		case a.EnumValues != nil:
			bad = append(bad, `"nonsense"`)
		case a.Format == netmonpb.Format_FORMAT_DURATION:
			bad = append(bad, "5", `"-1s"`)
		case a.Format == netmonpb.Format_FORMAT_BYTES:
			bad = append(bad, "5", `"-1MiB"`)
		case a.Format == netmonpb.Format_FORMAT_LISTEN_ADDRESS && a.Type != `"string"`:
			bad = append(bad, `["no port"]`)
		}
		for _, v := range bad {
			f(a.Name, before+a.Name+" = "+v+"\n"+after)
		}
	}
	for _, n := range b.Blocks {
		label := ""
		if n.Label != "" {
			label = ` "redis"`
		}
		eachBad(n.Block, before+n.Type+label+" {\n", "}\n"+after, f)
	}
}
