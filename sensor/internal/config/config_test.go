package config

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The options of the exporters that netmon.hcl shows. They have them from their own
// packages; here it is enough that the blocks hold together.
type serverOptions struct {
	Listen        []string `netmon:"listen,format=listen_address"`
	ProbeListen   []string `netmon:"probe_listen,format=listen_address"`
	WebConfigFile string   `netmon:"web_config_file,format=path"`
	Storage       *struct {
		Kind string `netmon:"kind,label,enum=memory|disk|redis"`
		Path string `netmon:"path,format=path"`
	} `netmon:"storage"`

	Insecure bool `netmon:"insecure"`
	Reload   bool `netmon:"reload"`
	Auth     struct {
		Readers    []string `netmon:"readers"`
		Pushers    []string `netmon:"pushers"`
		Writers    []string `netmon:"writers"`
		TokensFile string   `netmon:"tokens_file,format=path"`
	} `netmon:"auth"`
	Quota struct {
		Pushes int           `netmon:"pushes_per_second,min=0"`
		Rows   int           `netmon:"rows_per_minute,min=0"`
		Bytes  plugins.Bytes `netmon:"bytes_per_minute,min=0B"`
	} `netmon:"quota"`

	MaxConnections   int           `netmon:"max_connections,min=10"`
	MaxSensors       int           `netmon:"max_sensors,min=1"`
	MaxRowsPerSensor int           `netmon:"max_rows_per_sensor,min=100"`
	MaxRows          int           `netmon:"max_rows,min=100"`
	MaxBody          plugins.Bytes `netmon:"max_body,min=64KiB"`
	MaxDecoded       plugins.Bytes `netmon:"max_decoded,min=64KiB"`
	OfflineAfter     time.Duration `netmon:"offline_after,min=1s"`
	ForgetAfter      time.Duration `netmon:"forget_after"`
}

type pushOptions struct {
	URL         string        `netmon:"url,required,format=url"`
	Timeout     time.Duration `netmon:"timeout,min=1s"`
	Compression string        `netmon:"compression,enum=zstd|none"`
	Heartbeat   time.Duration `netmon:"heartbeat,min=0s"`
	TLS         *struct {
		CAFile     string `netmon:"ca_file,format=path"`
		CertFile   string `netmon:"cert_file,format=path"`
		KeyFile    string `netmon:"key_file,format=path"`
		ServerName string `netmon:"server_name"`
	} `netmon:"tls"`
	Auth *struct {
		Username    string `netmon:"username"`
		Password    string `netmon:"password,sensitive"`
		BearerToken string `netmon:"bearer_token,sensitive"`
	} `netmon:"auth"`
}

func exporterOptions(kind string) any {
	if kind == "push" {
		return &pushOptions{Timeout: 10 * time.Second, Compression: "zstd", Heartbeat: 15 * time.Second}
	}
	o := &serverOptions{
		Listen: []string{"127.0.0.1:8080"}, MaxConnections: 2000, MaxSensors: 1000, MaxRowsPerSensor: 100_000, MaxRows: 1_000_000,
		MaxBody: 8 << 20, MaxDecoded: 32 << 20, OfflineAfter: time.Minute, ForgetAfter: 24 * time.Hour,
	}
	o.Quota.Pushes, o.Quota.Rows, o.Quota.Bytes = 50, 5_000_000, 512<<20
	return o
}

func schemaOf(t testing.TB, config any) *netmonpb.Block {
	t.Helper()
	schema, err := plugins.Schema(config)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// netmon.hcl promises to show every option with its default.
func TestReferenceIsTheDefaults(t *testing.T) {
	path := "../../../netmon.hcl"
	got, warnings, err := Load(path)
	if err != nil || warnings != "" {
		t.Fatal(err, warnings)
	}
	want := Default()
	want.Dir, want.bodies, want.files = got.Dir, got.bodies, got.files
	want.Exporters = got.Exporters
	empty(&want)
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("netmon.hcl says\n%+v\nthe defaults are\n%+v", *got, want)
	}

	var shown []string
	for _, e := range got.Exporters {
		shown = append(shown, e.Label())
		if e.Enabled != (e.Type != "push") || e.Command != "" || e.Checksum != "" || len(e.Env) != 0 {
			t.Errorf("exporter %s has %+v", e.Label(), e)
		}
		schema := schemaOf(t, exporterOptions(e.Type))
		text, err := e.Evaluate(schema)
		if err != nil {
			t.Fatal(err)
		}
		options, defaults := exporterOptions(e.Type), exporterOptions(e.Type)
		if err := plugins.Decode(text, options); err != nil {
			t.Fatal(err)
		}
		if err := plugins.Decode([]byte(shownBesides[e.Type]), defaults); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(options, defaults) {
			t.Errorf("exporter %s is shown as %+v, its defaults are %+v", e.Label(), options, defaults)
		}
	}
	if want := []string{"server", "push"}; !slices.Equal(shown, want) {
		t.Errorf("netmon.hcl shows exporters %q, want %q", shown, want)
	}

	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	for _, part := range []any{&c.Sensor, &c.Capture, &c.Filter, &c.Views, &c.Plugins, &c.Log, &c.Status, new(hostOptions), exporterOptions("server"), exporterOptions("push")} {
		for _, name := range optionNames(schemaOf(t, part)) {
			if !containsOption(string(source), name) {
				t.Errorf("netmon.hcl does not show %q with a comment", name)
			}
		}
	}
}

// What netmon.hcl shows of an exporter beyond its defaults.
var shownBesides = map[string]string{
	"server": `{"probe_listen": [], "auth": {"readers": [], "pushers": [], "writers": []}, "storage": {"kind": "memory"}}`,
	"push":   `{"url": "http://localhost:8080/api/v1/metrics", "tls": {}, "auth": {}}`,
}

// empty gives the lists that a file spells out as [] the same form.
func empty(c *Config) {
	c.Capture.Interfaces, c.Capture.HomeNetworks = []string{}, []netip.Prefix{}
	c.Filter = Filter{
		Protocols: []string{}, IgnoreLocalhost: true, IgnorePorts: []PortRange{}, IgnoreNets: []netip.Prefix{},
		OnlyDomains: []string{}, IgnoreDomains: []string{},
	}
}

func optionNames(schema *netmonpb.Block) []string {
	var names []string
	for _, a := range schema.Attributes {
		if a.Name != "kind" && a.Name != "path" { // of storage "disk", which is not shown
			names = append(names, a.Name)
		}
	}
	for _, b := range schema.Blocks {
		names = append(names, optionNames(b.Block)...)
	}
	return names
}

func containsOption(source, name string) bool {
	for line := range strings.Lines(source) {
		option, rest, _ := strings.Cut(line, "=")
		if strings.TrimSpace(option) == name && strings.Contains(rest, "#") {
			return true
		}
	}
	return false
}

func TestLoad(t *testing.T) {
	t.Setenv("NETMON_TEST_SITE", "lab")
	dir := t.TempDir()
	write(t, dir, "id", "sensor-1\n")
	write(t, dir, "netmon.hcl", `
locals {
  name = "${local.site}-${trimspace(file("id"))}"
  site = env("NETMON_TEST_SITE", "elsewhere")
}
sensor {
  id       = local.name
  interval = "250ms"

  state_dir     = "state"
  log_max_bytes = "32MiB"
  sync          = "1s"
}
capture {
  interfaces    = ["eth*", "lo"]
  shards        = 2
  ring_memory   = "8MiB"
  home_networks = ["10.0.0.0/8", "2001:db8::1", "::ffff:192.0.2.1"]
  snap          = "full"
}
filter {
  protocols      = ["tcp", 47]
  ignore_ports   = [22, 123, "6000-6010"]
  ignore_nets    = ["192.0.2.0/24", "198.51.100.7"]
  only_domains   = ["example.com", ".example.org", "*.example.net"]
}
plugins { directory = "plugins" }
log { output = "netmon.log" }
status { listen = "" }
exporter "server" {
  command  = "bin/server"
  checksum = "sha256:`+strings.Repeat("0a", 32)+`"
  env      = { A = "b" }
  listen   = [":1"]
}
exporter "server" "second" { enabled = false }
`)
	got, _, err := Load(filepath.Join(dir, "netmon.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Dir = dir
	want.Sensor = Sensor{ID: "lab-sensor-1", Interval: 250 * time.Millisecond, StateDir: filepath.Join(dir, "state"), LogMaxBytes: 32 << 20, Sync: time.Second}
	want.Capture.Interfaces, want.Capture.Shards, want.Capture.RingMemory, want.Capture.Snap = []string{"eth*", "lo"}, 2, 8<<20, "full"
	want.Capture.HomeNetworks = prefixes("10.0.0.0/8", "2001:db8::1/128", "192.0.2.1/32")
	want.Filter = Filter{
		Protocols: []string{"tcp", "47"}, IgnoreLocalhost: true,
		IgnorePorts: []PortRange{{22, 22}, {123, 123}, {6000, 6010}}, IgnoreNets: prefixes("192.0.2.0/24", "198.51.100.7/32"),
		OnlyDomains: []string{"example.com", ".example.org", "*.example.net"}, IgnoreDomains: []string{},
	}
	want.Plugins.Directory, want.Log.Output, want.Status.Listen = filepath.Join(dir, "plugins"), filepath.Join(dir, "netmon.log"), ""
	want.Exporters, want.bodies, want.files = got.Exporters, got.bodies, got.files
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("loaded\n%+v\nwant\n%+v", *got, want)
	}
	if n := len(got.Exporters); n != 2 {
		t.Fatalf("there are %d exporters, want 2", n)
	}
	first, second := got.Exporters[0], got.Exporters[1]
	if first.Label() != "server" || !first.Enabled || first.Command != filepath.Join(dir, "bin/server") || first.Env["A"] != "b" || !strings.HasSuffix(first.Checksum, "0a") {
		t.Errorf("first exporter is %+v", first)
	}
	if second.Label() != "server.second" || second.Enabled || second.Range.Start.Line != 36 {
		t.Errorf("second exporter is %+v", second)
	}
}

// TestChanged changes every option: it may be taken into use, or is refused at its
// place.
func TestChanged(t *testing.T) {
	dir := t.TempDir()
	load := func(text string) *Config {
		t.Helper()
		c, _, err := Load(write(t, dir, "netmon.hcl", text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := load("sensor {\n}\n")
	if changed, err := before.Changed(load("sensor {}\nlog {}\n")); changed != nil || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
	changed, err := before.Changed(load(`
capture {
  interfaces    = ["a"]
  snap          = "full"
  home_networks = ["10.0.0.0/8"]
}
filter {
  ignore_ports = [1]
}
log { level = "warn" }
`))
	want := []string{"capture interfaces", "capture home_networks", "capture snap", "filter ignore_ports", "log level"}
	if err != nil || !slices.Equal(changed, want) {
		t.Errorf("changed %v, want %v: %v", changed, want, err)
	}
	for _, text := range []string{
		`sensor { id = "other" }`, `sensor { interval = "7s" }`, `sensor { state_dir = "" }`, `capture { shards = 3 }`,
		`capture { ring_memory = "8MiB" }`, `views { max_rows = 7 }`, `plugins { user = "x" }`, `log { output = "stdout" }`,
		`status { listen = "" }`, `status { reload = true }`,
	} {
		changed, err := before.Changed(load(text))
		if err == nil || changed != nil || !strings.Contains(err.Error(), "Needs a restart\n\n  on "+dir+"/netmon.hcl line 1, column ") {
			t.Errorf("%s: %v, %v", text, changed, err)
		}
	}
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The files of a directory are one config: locals reach across them.
func TestLoadDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "20-exporters.hcl", `exporter "b" { listen = local.listen }`)
	write(t, dir, "10-main.hcl", `
sensor { id = "x" }
locals { listen = [":1"] }
exporter "a" {}`)
	write(t, dir, ".hidden.hcl", `nonsense`)
	write(t, dir, "notes.txt", `nonsense`)
	c, _, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.Sensor.ID != "x" || c.Dir != dir || len(c.Exporters) != 2 || c.Exporters[0].Type != "a" {
		t.Errorf("loaded %+v", c)
	}
	text, err := c.Exporters[1].Evaluate(schemaOf(t, exporterOptions("server")))
	if err != nil || !strings.Contains(string(text), `"listen":[":1"]`) {
		t.Errorf("exporter b is %s, %v", text, err)
	}

	write(t, dir, "30-more.hcl", `sensor {}`)
	_, _, err = Load(dir)
	if err == nil || !strings.Contains(err.Error(), "30-more.hcl line 1, column 1, in sensor") || !strings.Contains(err.Error(), "10-main.hcl line 2 already") {
		t.Errorf("a second sensor block is told as\n%v", err)
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	for path, says := range map[string]string{
		filepath.Join(dir, "absent.hcl"): "no such file or directory",
		dir:                              "has no file *.hcl",
		write(t, t.TempDir(), "large.hcl", strings.Repeat("#\n", 200000)): "large.hcl: more than 256KiB",
	} {
		_, _, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
}

// Goldens hold what a person is shown for each kind of mistake. Where a file has no
// mistake of its own, its exporters are evaluated by the options above.
func TestDiagnostics(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.hcl")
	if err != nil || len(paths) == 0 {
		t.Fatal("no testdata", err)
	}
	t.Setenv("NETMON_TEST_SECRET", "hunter2-from-the-environment")
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got := diagnose(t, path)
			golden := strings.TrimSuffix(path, ".hcl") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a secret is shown")
			}
		})
	}
}

func diagnose(t *testing.T, path string) string {
	c, _, err := Load(path)
	if err != nil {
		return err.Error() + "\n"
	}
	var text strings.Builder
	for _, e := range c.Exporters {
		if _, err := e.Evaluate(schemaOf(t, exporterOptions(e.Type))); err != nil {
			text.WriteString(err.Error() + "\n")
		}
	}
	if text.Len() == 0 {
		t.Fatal("there is no mistake in the file")
	}
	return text.String()
}

func TestExplain(t *testing.T) {
	path := write(t, t.TempDir(), "netmon.hcl", `
exporter "push" "main" {
  url = "http://a"
  auth {
    password = "hunter2"
  }
}
`)
	c, _, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	e := c.Exporters[0]
	if _, err := e.Evaluate(schemaOf(t, exporterOptions("push"))); err != nil {
		t.Fatal(err)
	}
	if err := e.Explain(nil); err != nil {
		t.Errorf("nothing is explained as %v", err)
	}
	err = e.Explain([]*netmonpb.Diagnostic{
		{Summary: "Certificate has expired", Path: []string{"tls", "cert_file"}},
		{Summary: "Password too short", Detail: "It has 8 characters.", Path: []string{"auth", "password"}},
		{Summary: "Server not reached", Path: []string{"url"}, Severity: netmonpb.Severity_SEVERITY_WARNING},
	})
	want := strings.ReplaceAll(`Error: Certificate has expired

  on FILE line 2, column 1, in exporter "push" "main":
  2: exporter "push" "main" {
     ^^^^^^^^^^^^^^^^^^^^^^

Error: Password too short

  on FILE line 5, column 16, in exporter "push" "main":
  5:     password = (sensitive)
                    ^^^^^^^^^^^
It has 8 characters.

Warning: Server not reached

  on FILE line 3, column 9, in exporter "push" "main":
  3:   url = "http://a"
             ^^^^^^^^^^`, "FILE", path)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if err := e.Error("No plugin", os.ErrNotExist); !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "file does not exist.") {
		t.Errorf("got %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	reference, err := os.ReadFile("../../../netmon.hcl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(reference))
	paths, _ := filepath.Glob("testdata/*.hcl")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{
		strings.Repeat("a = (", 1000), strings.Repeat("a { ", 1000), "a = " + strings.Repeat("!", 1000), "a = " + strings.Repeat("b ? c : ", 1000),
		"sensor { id = 1e999999999 }", `locals { a = jsondecode("1e999999") }`, `sensor { id = format("%99999999d", 1) }`, "\x00\xff", "exporter \"\xff\" {}",
	} {
		f.Add(text)
	}
	dir := f.TempDir()
	schema := schemaOf(f, exporterOptions("push"))
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := Load(write(t, dir, "fuzz.hcl", text))
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a word")
			}
			return
		}
		if c.Sensor.ID == "" || c.Sensor.Interval < 100*time.Millisecond || c.Sensor.Interval > time.Hour || c.Views.MaxRows < 1 || c.Capture.MaxFlows < 1 {
			t.Fatalf("accepted %+v", c)
		}
		for _, r := range c.Filter.IgnorePorts {
			if r.First > r.Last {
				t.Fatalf("accepted %v", r)
			}
		}
		for _, e := range c.Exporters {
			if text, err := e.Evaluate(schema); err == nil {
				options := exporterOptions("push")
				if err := plugins.Decode(text, options); err != nil {
					t.Fatalf("%s was evaluated, but not decoded: %v", text, err)
				}
			}
		}
	})
}
