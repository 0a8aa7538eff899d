package netmon_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/netmon-sensor/netmon"

// Packages are named from the top of the module; "a/..." is a and everything
// below it.

// mayImport says which of our packages a package may import beside itself. The
// first match counts, and what matches nothing may not exist.
var mayImport = []struct {
	pkg     string
	imports []string
}{
	{"proto/netmonpb", nil},
	{"proto/rows", []string{"proto/netmonpb"}},
	{"sensor/internal/packet", nil},
	{"sensor/internal/prefetch", nil},
	{"sensor/internal/index", []string{"sensor/internal/prefetch"}},
	{"sensor/internal/names", []string{"sensor/internal/index", "sensor/internal/prefetch"}},
	{"sensor/internal/flow", []string{"sensor/internal/packet", "sensor/internal/index", "sensor/internal/prefetch"}},
	{"sensor/internal/capture", []string{"sensor/internal/prefetch"}},
	{"sensor/internal/config", []string{"proto/...", "plugins"}}, // the exporters' schema
	{"sensor/internal/export", []string{"proto/...", "plugins"}}, // the other end of the contract
	{"sensor/internal/*", []string{"proto/..."}},
	{"sensor", []string{"sensor/internal/...", "proto/...", "plugins"}},
	{"sensor/cmd/*", []string{"sensor"}},
	{"plugins", []string{"proto/..."}},
	{"plugins/*", []string{"plugins", "proto/..."}},
	{"exporters/server/...", []string{"exporters/server/...", "plugins", "proto/..."}},
	{"exporters/push/...", []string{"exporters/push/...", "plugins", "proto/..."}},
	{"examples/...", []string{"plugins", "proto/..."}},
	{"examples/*", []string{"plugins", "proto/..."}},
	{"deploy/cmd/*", nil},
	{"bench/traffic", nil},
	{"bench/measure", nil},
	{"bench/*", []string{"bench/traffic", "bench/measure"}},
}

// doors says which packages may import what is not ours. The reasons are in
// docs/adr/0006-dependencies.md; a library that is not here has none yet.
var doors = []struct {
	library  string // and the packages below it
	packages []string
}{
	{"C", []string{"sensor/internal/capture"}},
	{"github.com/google/gopacket", []string{"sensor/internal/capture"}},
	{"github.com/vishvananda/netlink", []string{"sensor/internal/capture"}},
	{"golang.org/x/net/bpf", []string{"sensor/internal/capture"}},
	{"golang.org/x/sys/unix", []string{"sensor/internal/capture", "sensor/internal/confine", "sensor/internal/doctor", "sensor/internal/export", "sensor/internal/lineartest", "sensor/internal/top", "plugins/...", "sensor", "exporters/...", "bench/live"}},
	{"kernel.org/pub/linux/libs/security/libcap/psx", []string{"sensor/internal/confine"}},
	{"github.com/landlock-lsm/go-landlock", []string{"sensor/internal/confine"}},
	{"github.com/elastic/go-seccomp-bpf", []string{"sensor/internal/confine"}},
	{"golang.org/x/sync", []string{"sensor"}},
	{"charm.land/bubbletea/v2", []string{"sensor/internal/top"}},
	{"github.com/hashicorp/go-plugin", []string{"plugins/...", "sensor/internal/export"}},
	{"github.com/hashicorp/hcl/v2", []string{"plugins", "sensor/internal/config"}},
	{"github.com/zclconf/go-cty", []string{"plugins", "sensor/internal/config"}},
	{"github.com/agext/levenshtein", []string{"plugins", "sensor/internal/config"}},
	{"github.com/hashicorp/go-hclog", []string{"sensor/...", "plugins/...", "exporters/...", "examples/..."}},
	{"github.com/coreos/go-systemd/v22", []string{"sensor", "exporters/server"}},
	{"github.com/prometheus", []string{"exporters/server/...", "sensor"}},
	{"go.yaml.in/yaml/v3", []string{"sensor/internal/importyaml"}},
	{"github.com/klauspost/compress", []string{"exporters/..."}},
	{"golang.org/x/time", []string{"exporters/server"}},
	{"go.yaml.in/yaml/v2", []string{"exporters/server"}},
	{"github.com/redis/go-redis/v9", []string{"exporters/server/..."}},
	{"go.etcd.io/bbolt", []string{"exporters/server/...", "sensor/internal/windowlog"}},
	{"google.golang.org/grpc", []string{"proto/netmonpb", "plugins/...", "sensor/internal/export"}},
	{"google.golang.org/protobuf", []string{"proto/...", "plugins/...", "sensor/internal/export", "sensor/internal/windowlog", "exporters/...", "examples/..."}},
}

// impure is what packages without side effects have no use for.
var (
	pure   = []string{"sensor/internal/packet", "sensor/internal/flow", "sensor/internal/names", "sensor/internal/view", "proto/rows"}
	impure = []string{"log", "net", "net/http", "os", "os/exec", "syscall"}
)

func TestWhoMayImportWhom(t *testing.T) {
	packages := list(t)
	if len(packages["sensor"]) == 0 {
		t.Fatal("package sensor was not found")
	}
	for pkg, imports := range packages {
		allowed, known := ours(pkg)
		if !known {
			t.Errorf("package %s has no place in mayImport", pkg)
		}
		for _, imported := range imports {
			switch own, isOurs := strings.CutPrefix(imported, module+"/"); {
			case isOurs:
				if !matchAny(allowed, own) {
					t.Errorf("%s imports %s", pkg, own)
				}
			case imported == "C" || strings.Contains(firstElement(imported), "."):
				if d := door(imported); d == nil {
					t.Errorf("%s imports %s, which has no door", pkg, imported)
				} else if !matchAny(d, pkg) {
					t.Errorf("%s imports %s, whose door is %s", pkg, imported, strings.Join(d, ", "))
				}
			case slices.Contains(pure, pkg) && slices.Contains(impure, imported):
				t.Errorf("%s imports %s, but is to be pure", pkg, imported)
			}
		}
	}
}

func TestPatterns(t *testing.T) {
	tests := []struct {
		pattern, pkg string
		want         bool
	}{
		{"sensor", "sensor", true},
		{"sensor", "sensor/internal/view", false},
		{"sensor/...", "sensor", true},
		{"sensor/...", "sensor/internal/view", true},
		{"sensor/...", "sensors", false},
		{"sensor/internal/*", "sensor/internal/view", true},
		{"sensor/internal/*", "sensor/internal/view/deep", false},
		{"sensor/internal/*", "sensor/internal", false},
	}
	for _, tt := range tests {
		if got := match(tt.pattern, tt.pkg); got != tt.want {
			t.Errorf("%s matches %s: %v", tt.pattern, tt.pkg, got)
		}
	}
	if door("github.com/google/gopacketx") != nil || door("github.com/google/gopacket/layers") == nil {
		t.Error("doors are not matched by path")
	}
}

// list returns what the packages of the module import, tests excepted, by the
// folder of the package. It reads the files itself: go list would, too, but then
// go test could not see that its cached result is stale.
func list(t *testing.T) map[string][]string {
	t.Helper()
	packages := map[string][]string{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != ".":
			_, err := os.Stat(filepath.Join(file, "go.mod")) // a module of its own
			if err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		case filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(file))
		if pkg == "." {
			return nil
		}
		imports := packages[pkg]
		for _, i := range parsed.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, imported)
		}
		packages[pkg] = imports
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// ours returns which of our packages pkg may import.
func ours(pkg string) (imports []string, known bool) {
	for _, m := range mayImport {
		if match(m.pkg, pkg) {
			return m.imports, true
		}
	}
	return nil, false
}

// door returns the packages that may import a library, nil where it has none.
func door(imported string) []string {
	for _, d := range doors {
		if match(d.library+"/...", imported) {
			return d.packages
		}
	}
	return nil
}

func matchAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, pkg) })
}

func match(pattern, pkg string) bool {
	if prefix, deep := strings.CutSuffix(pattern, "/..."); deep {
		return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
	}
	matched, err := path.Match(pattern, pkg)
	return err == nil && matched
}

func firstElement(importPath string) string {
	first, _, _ := strings.Cut(importPath, "/")
	return first
}
