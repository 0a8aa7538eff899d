package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestImportYAML converts files of go-net-monitoring and has the programs check
// what came out.
func TestImportYAML(t *testing.T) {
	t.Parallel()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for file, checker := range map[string]string{
		"agent.yaml": sensorProgram, "agent-late.yaml": sensorProgram,
		"server.yaml": serverProgram, "server-late.yaml": serverProgram,
	} {
		t.Run(file, func(t *testing.T) {
			var stdout, stderr strings.Builder
			path := filepath.Join(root, "sensor/internal/importyaml/testdata", file)
			if code := run([]string{"import-yaml", path}, &stdout, &stderr); code != exitFine {
				t.Fatalf("exit code %d: %s", code, stderr.String())
			}
			if !strings.Contains(stderr.String(), "line ") {
				t.Errorf("no notes on standard error: %q", stderr.String())
			}
			// Interfaces and certificates of another machine.
			here := strings.NewReplacer(`["en0"]`, `["lo"]`, `["eth0", "wl*"]`, `["lo"]`, `"/etc/cert.pem"`, `""`, `"/etc/key.pem"`, `""`)
			converted := writeFile(t, "converted.hcl", here.Replace(stdout.String()))
			cmd := exec.Command(bin(t, checker), "-config", converted, "-check-config")
			cmd.Env = append(os.Environ(), "SERVER=server.example", "X=x")
			if code, out, text := call(t, cmd); code != exitFine {
				t.Errorf("%s refuses what was converted (exit code %d): %s%s\n%s", checker, code, out, text, stdout.String())
			}
		})
	}
	var stdout, stderr strings.Builder
	if code := run([]string{"import-yaml", filepath.Join(root, "sensor/internal/importyaml/testdata/mistakes.yaml")}, &stdout, &stderr); code != exitUsage || stdout.String() != "" {
		t.Errorf("a file with mistakes: exit code %d, printed %q", code, stdout.String())
	}
	if err := containsAll(stderr.String(), "mistakes.yaml:2:14: monitor.interfase", "mistakes.yaml:3:20"); err != nil {
		t.Error(err)
	}
}

// TestFormat lays files out, and says which it would with -check.
func TestFormat(t *testing.T) {
	const untidy, tidy = "sensor {\nid=\"a\" # who\n    interval = \"5s\"\n}\n", "sensor {\n  id       = \"a\" # who\n  interval = \"5s\"\n}\n"
	path := writeFile(t, "netmon.hcl", untidy)
	var stdout, stderr strings.Builder
	if code := run([]string{"fmt", "-check", path}, &stdout, &stderr); code != exitUsage || stdout.String() != path+"\n" {
		t.Errorf("-check: exit code %d, printed %q", code, stdout.String())
	}
	if text, _ := os.ReadFile(path); string(text) != untidy {
		t.Errorf("-check has written %q", text)
	}
	if code := run([]string{"fmt", path}, &stdout, &stderr); code != exitFine {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if text, _ := os.ReadFile(path); string(text) != tidy {
		t.Errorf("laid out as %q", text)
	}
	if code := run([]string{"fmt", "-check", path}, &stdout, &stderr); code != exitFine {
		t.Errorf("a tidy file: exit code %d", code)
	}
	bad := writeFile(t, "bad.hcl", "sensor {\n")
	if code := run([]string{"fmt", bad}, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "bad.hcl line") {
		t.Errorf("no HCL: exit code %d: %s", code, stderr.String())
	}
	// The reference configuration is laid out like this.
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if code := run([]string{"fmt", "-check", filepath.Join(root, "netmon.hcl"), filepath.Join(root, "examples/server.hcl")}, &stdout, &stderr); code != exitFine {
		t.Errorf("exit code %d for the files of this repository: %s", code, stderr.String())
	}
}

// TestPluginCommand lists the exporters beside the sensor, shows the options of
// each as a configuration, and begins a new one.
func TestPluginCommand(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	config := filepath.Join(dir, "netmon.hcl")
	text := fmt.Sprintf("plugins {\n  directory = %q\n}\n", filepath.Dir(bin(t, thirdParty)))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ask := func(args ...string) (int, string, string) {
		return call(t, exec.Command(bin(t, sensorProgram), append([]string{"plugin", "-config", config}, args...)...))
	}
	code, list, stderr := ask("list")
	if code != exitFine {
		t.Fatalf("list: exit code %d: %s", code, stderr)
	}
	if err := containsAll(list, "push ", "server ", "stdout ", thirdParty, "Prints the traffic of each domain."); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"push", "server", "stdout"} {
		code, docs, stderr := ask("docs", name)
		if code != exitFine || !strings.Contains(docs, "exporter "+strconv.Quote(name)+" {") {
			t.Errorf("docs %s: exit code %d: %s%s", name, code, docs, stderr)
		}
	}
	if code, _, stderr := ask("docs", "nobody"); code != exitUsage || !strings.Contains(stderr, "no program netmon-exporter-nobody") {
		t.Errorf("docs of nobody: exit code %d: %s", code, stderr)
	}
	if code, _, _ := ask("remove", "push"); code != exitUsage {
		t.Errorf("an unknown word: exit code %d", code)
	}
	// A new one, built in this module: elsewhere it asks for a release of it.
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	init := exec.Command(bin(t, sensorProgram), "plugin", "init", "my-own")
	init.Dir = dir
	if code, out, stderr := call(t, init); code != exitFine || !strings.Contains(out, "go build") {
		t.Fatalf("init: exit code %d: %s%s", code, out, stderr)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "netmon-exporter-my-own", "program"), filepath.Join(dir, "netmon-exporter-my-own", "main.go"))
	build.Dir = root
	if code, _, stderr := call(t, build); code != 0 {
		t.Errorf("what init wrote does not build: %s", stderr)
	}
	again := exec.Command(bin(t, sensorProgram), "plugin", "init", "my-own")
	again.Dir = dir
	if code, _, _ := call(t, again); code != exitUsage {
		t.Errorf("init over something: exit code %d", code)
	}
}
