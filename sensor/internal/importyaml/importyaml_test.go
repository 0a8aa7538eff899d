package importyaml

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the goldens")

// Files of the forms that releases of go-net-monitoring read, and what they become.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			if r, err := Convert(filepath.Base(path), text); err != nil {
				got = "error: " + err.Error() + "\n"
			} else {
				got = r.HCL
				for _, n := range r.Notes {
					got += "# note: " + n + "\n"
				}
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(golden); err != nil || string(want) != got {
				t.Errorf("not what %s says (%v):\n%s", golden, err, got)
			}
		})
	}
}

// No key is forgotten: each has an option or says why not.
func TestEveryKeyIsUsed(t *testing.T) {
	source, err := os.ReadFile("write.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []map[string]key{agentKeys, serverKeys} {
		for path, k := range keys {
			if path == "server.host" || path == "server.port" {
				continue // a server's in one file, an agent's in the other
			}
			if used := strings.Contains(string(source), `"`+path+`"`); used != (k.note == "") {
				t.Errorf("%s: used: %v, note %q", path, used, k.note)
			}
		}
	}
}

func FuzzConvert(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.yaml")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Convert("fuzz.yaml", text)
		if err == nil && (r.Kind == "" || r.HCL == "") {
			t.Errorf("neither a result nor an error: %+v", r)
		}
	})
}
