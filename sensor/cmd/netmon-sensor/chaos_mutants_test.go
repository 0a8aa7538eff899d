package main

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// chaosMutants, where set, runs TestChaosMutants: many minutes.
const chaosMutants = "NETMON_CHAOS_MUTANTS"

// An edit puts something else in a place that is there once.
type edit struct{ file, from, to string }

// mutants are mistakes in the delivery of windows.
var mutants = map[string][]edit{
	// The log forgets what every exporter has acknowledged, and keeps no sums of it.
	"delete on acknowledgement": {
		{"sensor/internal/windowlog/core.go", "	c.cursors[name] = n\n", `	c.cursors[name] = n
	for _, at := range c.cursors {
		if at < c.last.sequence {
			return nil
		}
	}
	c.totals, c.snapshot = rows.Totals{}, nil
`},
	},
	// The server takes what comes, whatever is missing before it.
	"apply a gap": {
		{"exporters/server/change.go", "case log == nil && w != nil && w.Sequence != 1:", "case false:"},
		{"exporters/server/change.go", "case w != nil && w.Sequence > log.watermark+1:", "case false:"},
		{"exporters/server/change.go", "case w != nil && !bytes.Equal(w.PreviousChain, log.chain):", "case false:"},
	},
	// The server adds a window's rows now and moves the watermark a moment later.
	"data and watermark apart": {
		{"exporters/server/state.go", "	folded      bool ", "	late        func()\n	since       time.Time\n	folded      bool "},
		{"exporters/server/change.go", "	switch w, p := c.window, c.snapshot; {\n", `	if log != nil && log.late != nil && (c.window == nil || c.window.Sequence != log.watermark+1 || time.Since(log.since) > 300*time.Millisecond) {
		log.late()
		log.late = nil
	}
	switch w, p := c.window, c.snapshot; {
`},
		{"exporters/server/change.go", "		log.advance(w.Sequence, w.Chain, w.Ledger, w.EndNs)\n",
			"		log.since, log.late = time.Now(), func() { log.advance(w.Sequence, w.Chain, w.Ledger, w.EndNs) }\n"},
		{"exporters/server/change.go", "	return ack{log.watermark, true}, nil\n", `	if c.window != nil {
		return ack{c.window.Sequence, true}, nil
	}
	return ack{log.watermark, true}, nil
`},
	},
}

// storeMutants are mistakes of one store, by its name and what it does. The tests of
// that store must find them.
var storeMutants = map[string][]edit{
	"memory counts a repeat": {
		{"exporters/server/change.go", "case w != nil && w.Sequence == log.watermark:", "case false:"},
		{"exporters/server/change.go", "case w != nil && !bytes.Equal(w.PreviousChain, log.chain):",
			"case w != nil && w.Sequence > log.watermark && !bytes.Equal(w.PreviousChain, log.chain):"},
	},
	"memory adds a snapshot to what it holds": {{"exporters/server/change.go",
		"		s.empty(sensor, log)\n", ""}},
	"disk removes the journal with the checkpoint": {{"exporters/server/disk_commit.go",
		"			if n < generation {\n", "			if n <= generation && kind == \"journal\" || n < generation {\n"}},
	"disk acknowledges what it could not write": {{"exporters/server/disk_commit.go",
		"	if err := d.store(payload); err != nil {\n", "	if err := d.store(payload); err != nil && len(accepted) == 0 {\n"}},
	"redis removes the journal without a checkpoint": {{"exporters/server/redis_scripts.go",
		"redis.call('SET', KEYS[3], ARGV[6])\n", ""}},
	"redis adds to a version that it does not have": {{"exporters/server/redis_scripts.go",
		"if (m[1] or '0') ~= ARGV[1] or (m[2] or '') ~= ARGV[2] then return {0, 0, 0} end\n", ""}},
	"redis acknowledges what it did not take": {{"exporters/server/redis_changes.go",
		"		number(p.at.n), p.at.hash, next.hash, born, entry).Int64Slice()\n	if err != nil {\n",
		"		number(p.at.n), p.at.hash, next.hash, born, entry).Int64Slice()\n	if err != nil {\n		answer = []int64{1, 0, 0}\n	}\n	if len(answer) != 3 {\n"}},
}

// storeTests are the tests of each store that are quick.
var storeTests = map[string]string{
	"memory": "Prefix|NewLog|Histories|StoresRandomly/memory",
	"disk":   "TestDisk|StoresRandomly/disk",
	"redis":  "OnOneRedis|SharedAtOnce|RedisCheckpoints|RedisCompares|RedisAway|RedisRefuses",
}

// TestStoreMutants makes each mistake in a copy of the module, where the tests of
// stores must find it.
func TestStoreMutants(t *testing.T) {
	if os.Getenv(chaosMutants) == "" {
		t.Skip("takes many minutes: make chaos-mutants")
	}
	for name, edits := range storeMutants {
		t.Run(name, func(t *testing.T) {
			do := mutant(t, edits, nil, "./exporters/server")
			store, _, _ := strings.Cut(name, " ")
			text, err := do("test", "-count=1", "-timeout", "2m", "-run", storeTests[store], "./exporters/server")
			var found []string
			for line := range strings.Lines(text) {
				if strings.Contains(line, "--- FAIL") {
					found = append(found, strings.TrimSpace(line))
				}
			}
			if err == nil || len(found) == 0 {
				t.Fatalf("the mutant was not found: %v\n%s", err, tail(text))
			}
			t.Logf("found by:\n%s", strings.Join(found[:min(len(found), 8)], "\n"))
		})
	}
}

// TestChaosMutants makes each mistake in a copy of the module and runs TestChaosTown
// there, which must find it: a test that finds nothing proves nothing.
func TestChaosMutants(t *testing.T) {
	if os.Getenv(chaosMutants) == "" {
		t.Skip("takes many minutes: make chaos-mutants")
	}
	env := []string{chaosTime + "=" + cmp.Or(os.Getenv(chaosTime), "1m"), chaosSeed + "=" + cmp.Or(os.Getenv(chaosSeed), "1")}
	for name, edits := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do := mutant(t, edits, env, "./exporters/server", "./sensor/internal/windowlog")
			text, err := do("test", "-count=1", "-v", "-timeout", "20m", "-run", "^TestChaosTown$", "./sensor/cmd/netmon-sensor")
			found := findings(text)
			if err == nil || len(found) == 0 {
				t.Fatalf("the mutant was not found: %v\n%s", err, tail(text))
			}
			t.Logf("found by:\n%s", strings.Join(found[:min(len(found), 5)], "\n"))
		})
	}
}

// mutant makes a mistake in a copy of the module, sees that the packages with it can be
// built, and returns what runs go there.
func mutant(t *testing.T, edits []edit, env []string, packages ...string) (do func(args ...string) (string, error)) {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := tempDir(t)
	copyModule(t, root, dir)
	for _, e := range edits {
		e.make(t, dir)
	}
	do = func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), env...)
		text, err := cmd.CombinedOutput()
		return string(text), err
	}
	if text, err := do(append([]string{"vet"}, packages...)...); err != nil {
		t.Fatalf("the mutant cannot be built: %v\n%s", err, text)
	}
	return do
}

// findings are the lines that say that counters fell or are wrong, and the seed.
func findings(text string) (found []string) {
	var seed string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, chaosSeed+"=") {
			seed = line
		}
		for _, sign := range []string{" fell from ", " is gone", "has what the exporter of", "has what the kernel counted: not within", "the kernel counted"} {
			if strings.HasPrefix(line, "chaos_") && strings.Contains(line, sign) {
				found = append(found, clip(line))
				break
			}
		}
	}
	if found != nil {
		found = append([]string{seed}, found...)
	}
	return found
}

// copyModule copies what a module is built from.
func copyModule(t *testing.T, root, dir string) {
	t.Helper()
	all, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == "bin" {
			continue
		}
		if text, err := exec.Command("cp", "-a", filepath.Join(root, e.Name()), dir).CombinedOutput(); err != nil {
			t.Fatalf("cp %s: %v: %s", e.Name(), err, text)
		}
	}
}

func (e edit) make(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, e.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), e.from); n != 1 {
		t.Fatalf("%s has %d times %q: the mutant is to be made anew", e.file, n, e.from)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), e.from, e.to, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}
