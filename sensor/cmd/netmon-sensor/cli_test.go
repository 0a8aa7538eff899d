package main

import (
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// command is the sensor, in the namespace of the test.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(bin(t, sensorProgram), args...)
}

func oneOf(code int, codes []int) bool { return slices.Contains(codes, code) }

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		args   string
		code   int
		stdout string // a regular expression
		stderr string
	}{
		{"-version", 0, `^netmon-sensor 1\.2\.3-test go1\.\d+\S* linux/\w+\nrevision: .+\nbuild: CGO_ENABLED=1.*\n$`, `^$`},
		{"--version", 0, `^netmon-sensor `, `^$`},
		{"", 2, `^$`, `^Usage: netmon-sensor -config FILE\n`},
		{"-h", 0, `^$`, `(?s)^Usage: .*-check-config`},
		{"-confg x", 2, `^$`, `not defined: -confg(?s).*Usage: `},
		{"-shards many -pcap x", 2, `^$`, `invalid value "many"`},
		{"-config x.hcl stray", 2, `^$`, `^netmon-sensor: unexpected argument "stray"`},
		{"-config /nonexistent/netmon.hcl", 2, `^$`, `/nonexistent/netmon.hcl`},
		{"-config /nonexistent/netmon.hcl -check-config", 2, `^$`, `/nonexistent/netmon.hcl`},
		{"-pcap x -log-level loud", 2, `^$`, `-log-level "loud" is not one of`},
		{"-pcap x -log-format xml", 2, `^$`, `-log-format "xml" is not`},
	} {
		t.Run(test.args, func(t *testing.T) {
			code, stdout, stderr := call(t, command(t, strings.Fields(test.args)...))
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, out := range []struct{ name, text, want string }{
				{"standard output", stdout, test.stdout}, {"standard error", stderr, test.stderr},
			} {
				if !regexp.MustCompile(out.want).MatchString(out.text) {
					t.Errorf("%s is %q, want %s", out.name, out.text, out.want)
				}
			}
		})
	}
}

// TestVersions asks every program for its version.
func TestVersions(t *testing.T) {
	for _, name := range []string{sensorProgram, serverProgram, pushProgram} {
		code, stdout, stderr := call(t, exec.Command(bin(t, name), "-version"))
		if want := `^` + name + ` 1\.2\.3-test go1\.\d+\S* linux/\w+\nrevision: .+\nbuild: .+\n$`; code != 0 || stderr != "" || !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("%s: exit code %d: %s%s", name, code, stdout, stderr)
		}
	}
}

// TestMistakesAreShown wants every mistake at its line, underlined, and exit
// code 2, whether only the sensor knows of it, the exporter's schema, or the
// exporter itself (P7).
func TestMistakesAreShown(t *testing.T) {
	broken := writeFile(t, "web.yml", "tls_server_config:\n  cert_fil: x\n")
	for name, test := range map[string]struct {
		config string
		place  string // "line N, column M"
		marked string // what is underlined
		says   []string
	}{
		"unknown option":  {"sensor {\n  intervall = \"1s\"\n}\n", "line 2, column 3", "intervall", []string{"Unknown option", `"interval"?`}},
		"unknown block":   {"\nsensors {}\n", "line 2, column 1", "sensors", []string{"Unknown block", `"sensor"?`}},
		"wrong type":      {"capture {\n  promiscuous = [1]\n}\n", "line 2, column 17", "[1]", nil},
		"bare number":     {"sensor {\n  interval = 5\n}\n", "line 2, column 14", "5", []string{`"5s"`}},
		"out of range":    {"capture {\n  shards = 1000\n}\n", "line 2, column 12", "1000", []string{"64"}},
		"unknown value":   {"capture {\n  fanout = \"hush\"\n}\n", "line 2, column 12", `"hush"`, []string{"hash"}},
		"port range":      {"filter {\n  ignore_ports = [22, \"9-1\"]\n}\n", "line 2, column 23", `"9-1"`, []string{"backwards"}},
		"syntax":          {"sensor {\n  id = \n}\n", "line 2, column ", "", nil},
		"exporter option": {"exporter \"server\" {\n  lissten = [\":1\"]\n}\n", "line 2, column 3", "lissten", []string{`"listen"?`}},
		"exporter type":   {"exporter \"server\" {\n  max_sensors = \"many\"\n}\n", "line 2, column 17", `"many"`, nil},
		"exporter range":  {"exporter \"server\" {\n  max_sensors = 0\n}\n", "line 2, column 17", "0", nil},
		"exporter nested": {"exporter \"push\" {\n  url = \"http://127.0.0.1:1/\"\n  tls {\n    ca_fil = \"x\"\n  }\n}\n", "line 4, column 5", "ca_fil", []string{"ca_file"}},
		"exporter's own": {"exporter \"server\" {\n  listen = [\"127.0.0.1:0\"]\n  web_config_file = \"" + broken + "\"\n}\n",
			"line 3, column 21", `"` + broken + `"`, []string{"cert_fil"}},
		"exporter's own file": {"exporter \"push\" {\n  url = \"https://127.0.0.1:1/\"\n  tls {\n    ca_file = \"/nonexistent/ca.pem\"\n  }\n}\n",
			"line 4, column 15", `"/nonexistent/ca.pem"`, []string{"/nonexistent/ca.pem"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, "netmon.hcl", test.config)
			code, stdout, stderr := call(t, command(t, "-config", path, "-check-config"))
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if stdout != "" {
				t.Errorf("printed %q", stdout)
			}
			if err := containsAll(stderr, append(test.says, "on "+path+" "+test.place)...); err != nil {
				t.Error(err)
			}
			if got := underlined(stderr); test.marked != "" && got != test.marked {
				t.Errorf("underlined is %q, want %q in:\n%s", got, test.marked, stderr)
			}
		})
	}
}

// underlined is the first part of text with a row of ^ below it.
func underlined(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) == "" || strings.Trim(line, " ^") != "" {
			continue
		}
		from, to := strings.Index(line, "^"), strings.LastIndex(line, "^")+1
		if above := lines[i-1]; to <= len(above) {
			return above[from:to]
		}
	}
	return ""
}

func TestSeveralMistakesAtOnce(t *testing.T) {
	path := writeFile(t, "netmon.hcl", "sensor {\n  intervall = 1\n}\ncapture {\n  fanout = \"hush\"\n}\n")
	code, _, stderr := call(t, command(t, "-config", path, "-check-config"))
	if err := containsAll(stderr, "line 2, column 3", "line 5, column 12"); code != 2 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestGoodConfigIsFine(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	path := writeFile(t, "netmon.hcl", sensorConfig(exporterServer+"exporter \"push\" {\n  url = \"http://127.0.0.1:1/api/v1/metrics\"\n}\n"))
	code, stdout, stderr := call(t, h.command(bin(t, sensorProgram), "-c", path, "-check-config"))
	if code != 0 || !strings.HasPrefix(stdout, "Memory where every bound") || !strings.HasSuffix(stdout, "\n"+path+": fine\n") || strings.Contains(stderr, "Error") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestMissingInterface(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	path := writeFile(t, "netmon.hcl", sensorConfig("status {\n  listen = \"\"\n}\n"))
	for _, flags := range [][]string{{"-check-config"}, nil} {
		code, stdout, stderr := call(t, h.command(bin(t, sensorProgram), append([]string{"-config", path}, flags...)...))
		if code != 4 || stdout != "" {
			t.Errorf("%v: exit code %d, want 4; printed %q", flags, code, stdout)
		}
		if err := containsAll(stderr, "eth0"); err != nil {
			t.Errorf("%v: %v", flags, err)
		}
	}
}

// TestMemoryLimit refuses a configuration that may take more than it allows, at its
// place, with the account.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "netmon.hcl", "sensor {\n  memory_limit = \"100MiB\"\n}\ncapture {\n  interfaces = [\"lo\"]\n}\n")
	code, stdout, stderr := call(t, command(t, "-config", path, "-check-config"))
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	if err := errors.Join(containsAll(stdout, "rings", "flow tables", "in all"),
		containsAll(stderr, "More memory than the limit", "line 2, column 18", `memory_limit = "100MiB"`, "max_flows")); err != nil {
		t.Error(err)
	}
}
