package plugins

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// evaluate runs text through schema, host and decoder, as for a plugin.
func evaluate(t testing.TB, text string) (*testConfig, hcl.Diagnostics) {
	t.Helper()
	body, diags := parseHCL([]byte(text), "a.hcl")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	schema, err := Schema(testDefaults())
	if err != nil {
		t.Fatal(err)
	}
	object, diags := EvaluateBody(schema, body, EvalContext("."))
	if diags.HasErrors() {
		if object != nil {
			t.Errorf("JSON %s in spite of %v", object, diags)
		}
		return nil, diags
	}
	config := testDefaults()
	if err := Decode(object, config); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	return config, diags
}

func TestEvaluateBody(t *testing.T) {
	got, diags := evaluate(t, `
url     = "http://${lower("EXAMPLE")}.com:80/"
on      = "true"
shards  = 2 * 4
ratio   = 0.125
timeout = format("%ds", 10)
memory  = null
listen  = ["[::1]:0", ":80"]
nets    = ["192.0.2.7", "2001:db8::/32"]
env     = { A = "b", "c d" = 5 }

retry {}
tls { key_file = "k" }
storage "disk" { path = "p" }
rule "x" {}
rule "y" { limit = 2 }
`)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := testDefaults()
	want.URL, want.On, want.Shards, want.Ratio, want.Timeout = "http://example.com:80/", true, 8, 0.125, 10*time.Second
	want.Listen, want.Nets, want.Env = []string{"[::1]:0", ":80"}, prefixes("192.0.2.7/32", "2001:db8::/32"), map[string]string{"A": "b", "c d": "5"}
	want.TLS, want.Storage = &tlsTest{KeyFile: "k", MinVersion: "TLS12"}, &storage{Kind: "disk", Path: "p"}
	want.Rules = []rule{{"x", 7}, {"y", 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEvaluateBodyFillsInDefaults(t *testing.T) {
	got, diags := evaluate(t, `url = "http://a"`)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := testDefaults()
	want.URL, want.Nets, want.Env = "http://a", prefixes(), map[string]string{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Each mistake is at the source text that it is about.
func TestEvaluateBodyMistakes(t *testing.T) {
	for _, test := range []struct{ text, at, says string }{
		{`ur = "http://a"`, `ur`, `There is no option "ur" here. Did you mean "url"?`},
		{`mode = "hsah"`, `"hsah"`, `"hsah" is not one of hash, cpu. Did you mean "hash"?`},
		{`shards = 1e99`, `1e99`, `must be between 0 and 64`},
		{`shards = -1`, `-1`, `must be between 0 and 64, not -1`},
		{`ratio = 1.5`, `1.5`, `must be at most 1, not 1.5`},
		{`timeout = "99ms"`, `"99ms"`, `must be between 100ms and 1h, not 99ms`},
		{`timeout = 10`, `10`, `write "10s"`},
		{`memory = "1MiB"`, `"1MiB"`, `must be at least 2MiB, not 1MiB`},
		{`memory = "64 MB/s"`, `"64 MB/s"`, `is no size`},
		{`listen = [":1", ":x"]`, `":x"`, `"x" is no port`},
		{`nets = ["::/129"]`, `"::/129"`, `is no prefix`},
		{`env = { A = "b", C = [] }`, `[]`, `A value in "env" must be a string`},
		{`env = { A = null }`, `null`, `null cannot stand in "env"`},
		{`tls { min_version = "TLS9" }`, `"TLS9"`, `"TLS9" is not one of TLS12, TLS13.`},
		{`tls {}`, ``, `"key_file" must be given`},
		{`storage "tape" {}`, `"tape"`, `"tape" is not one of memory, disk`},
		{`rule "x" { limit = 0 }`, `0`, `at least 1, not 0`},
		{`shards = nothing.at_all`, `nothing`, `There is no variable named "nothing"`},
		{`password = jsondecode("hunter2")`, `jsondecode(`, `Details are not shown`},
	} {
		_, diags := evaluate(t, test.text)
		found := slices.ContainsFunc(diags, func(d *hcl.Diagnostic) bool {
			at := test.text[min(d.Subject.Start.Byte, len(test.text)):min(d.Subject.End.Byte, len(test.text))]
			return at == test.at && strings.Contains(d.Detail, test.says)
		})
		if !found {
			t.Errorf("%s: want %q at %q, got %v", test.text, test.says, test.at, diags)
		}
		for _, d := range diags {
			if strings.Contains(d.Detail, "hunter2") {
				t.Errorf("%s: the secret is told: %v", test.text, d)
			}
		}
	}
}

// A schema comes from somebody else's program and may be anything.
func TestEvaluateBodyForeignSchemas(t *testing.T) {
	body, _ := parseHCL([]byte(`a = { x = 1 }`), "a.hcl")
	for kind, want := range map[string]string{
		`["object",{"x":"number"}]`: `{"a":{"x":1}}`,
		`"dynamic"`:                 `{"a":{"x":1}}`,
		`["map","number"]`:          `{"a":{"x":1}}`,
		`["object",{"y":"number"}]`: ``,
		`"colour"`:                  ``,
		``:                          ``,
	} {
		schema := &netmonpb.Block{Attributes: []*netmonpb.Attribute{{Name: "a", Type: kind}}}
		got, diags := EvaluateBody(schema, body, EvalContext("."))
		if string(got) != want || (want == "") != diags.HasErrors() {
			t.Errorf("type %s: %s, %v; want %s", kind, got, diags, want)
		}
	}
	schema := &netmonpb.Block{Attributes: []*netmonpb.Attribute{{Name: "b", Type: `"string"`, DefaultJson: `{`}, {Name: "a", Type: `["map","number"]`}}}
	if got, diags := EvaluateBody(schema, body, EvalContext(".")); !diags.HasErrors() {
		t.Errorf("a default that is no JSON gives %s", got)
	}
	if _, diags := EvaluateBody(nil, body, EvalContext(".")); !diags.HasErrors() {
		t.Error("an exporter without options takes some")
	}
}

func TestLocate(t *testing.T) {
	text := `url = "http://a"
listen = ["one", "two"]
env = { A = "b", "c d" = ["e"] }
tls {
  key_file = "k"
}
rule "x" { limit = 1 }
rule "y" { limit = 2 }
`
	body, diags := parseHCL([]byte(text), "a.hcl")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for path, want := range map[string]string{
		"url":                 `"http://a"`,
		"url/deeper":          `"http://a"`,
		"listen":              `["one", "two"]`,
		"listen/1":            `"two"`,
		"listen/2":            `["one", "two"]`,
		"listen/-1":           `["one", "two"]`,
		"env/A":               `"b"`,
		"env/c d":             `["e"]`,
		"env/c d/0":           `"e"`,
		"env/nothing":         `{ A = "b", "c d" = ["e"] }`,
		"tls":                 `tls`,
		"tls/key_file":        `"k"`,
		"tls/min_version":     `tls`,
		"rule/0/limit":        `1`,
		"rule/1/limit":        `2`,
		"rule/1":              `rule "y"`,
		"rule/1/name":         `rule "y"`,
		"rule/7/limit":        `1`,
		"rule/limit":          `1`,
		"nothing/of/the/kind": ``,
		"":                    ``,
	} {
		var steps []string
		if path != "" {
			steps = strings.Split(path, "/")
		}
		got := Locate(body, []*netmonpb.Diagnostic{{Summary: "It is wrong.", Path: steps}})
		if s := text[got[0].Subject.Start.Byte:got[0].Subject.End.Byte]; s != want {
			t.Errorf("%s leads to %q, want %q", path, s, want)
		}
		if got[0].Summary != "It is wrong" || got[0].Severity != hcl.DiagError {
			t.Errorf("got %v", got[0])
		}
	}
}

func TestFunctions(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"token": " secret\n", "binary": "\xff\xfe", "large": strings.Repeat("a", maxInclude+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NETMON_TEST_SET", "set")
	t.Setenv("NETMON_TEST_EMPTY", "")
	for expression, want := range map[string]any{
		`env("NETMON_TEST_SET")`:              "set",
		`env("NETMON_TEST_SET", "default")`:   "set",
		`env("NETMON_TEST_EMPTY", "default")`: "",
		`env("NETMON_TEST_UNSET", "default")`: "default",
		`trimspace(file("token"))`:            "secret",
		`file("` + dir + `/token")`:           " secret\n",
		`hostname()`:                          hostname,
		`upper(lower("aB"))`:                  "AB",
		`join("-", split(",", "a,b"))`:        "a-b",
		`concat(["a"], ["b"])[1]`:             "b",
		`format("%03d %s", 7, "x")`:           "007 x",
		`replace("a.b", ".", "-")`:            "a-b",
		`jsondecode("{\"a\": [1]}").a[0]`:     1.0,
	} {
		got, err := value(t, dir, expression)
		if err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", expression, got, err, want)
		}
	}
	for expression, says := range map[string]string{
		`env("NETMON_TEST_UNSET")`:        "NETMON_TEST_UNSET is not set",
		`env("A", "B", "C")`:              "not 3 arguments",
		`env()`:                           "Not enough",
		`file("absent")`:                  "absent: no such file",
		`file(".")`:                       "no regular file",
		`file("binary")`:                  "not text in UTF-8",
		`file("large")`:                   "more than 1MiB",
		`format("%9999d", 1)`:             "at most three digits",
		`format("%*d", 1000000, 1)`:       "at most three digits",
		`jsondecode("1e999999")`:          "out of range",
		`jsondecode("[{\"a\":1e999999}]`:  "",
		`jsondecode("[{\"a\":1e99999}]")`: "out of range",
	} {
		if got, err := value(t, dir, expression); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s is %v, %v; want %q", expression, got, err, says)
		}
	}
}

func value(t *testing.T, dir, expression string) (any, error) {
	t.Helper()
	body, diags := parseHCL([]byte("a = "+expression+"\n"), "a.hcl")
	if diags.HasErrors() {
		return nil, diags
	}
	v, diags := body.Attributes["a"].Expr.Value(EvalContext(dir))
	if diags.HasErrors() {
		return nil, diags
	}
	if v.Type() == cty.Number {
		n, _ := v.AsBigFloat().Float64()
		return n, nil
	}
	return v.AsString(), nil
}

func TestLocals(t *testing.T) {
	one, diags := parseHCL([]byte(`
locals {
  c = "${local.b}c"
  list = [local.a, local["b"]]
}
`), "1.hcl")
	two, more := parseHCL([]byte(`
locals { a = "a" }
locals { b = "${local.a}b" }
`), "2.hcl")
	if diags = append(diags, more...); diags.HasErrors() {
		t.Fatal(diags)
	}
	ctx := EvalContext(".")
	if diags := Locals(ctx, one, two); len(diags) > 0 {
		t.Fatal(diags)
	}
	locals := ctx.Variables["local"]
	if got := locals.GetAttr("c").AsString(); got != "abc" {
		t.Errorf("c is %q, want abc", got)
	}
	if got := locals.GetAttr("list").LengthInt(); got != 2 {
		t.Errorf("list has %d elements, want 2", got)
	}
}

// Doubling a text forty times must not be tried.
func TestLocalsAreBounded(t *testing.T) {
	text := "locals {\n a0 = \"0123456789\"\n"
	for i := range 40 {
		text += strings.NewReplacer("N", string(rune('a'+i%26))+strings.Repeat("x", i), "P", previous(i)).Replace(" N = \"${local.P}${local.P}\"\n")
	}
	body, diags := parseHCL([]byte(text+"}\n"), "a.hcl")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	diags = Locals(EvalContext("."), body)
	if len(diags) != 1 || diags[0].Summary != "Value too large" {
		t.Errorf("got %v", diags)
	}
}

func previous(i int) string {
	if i == 0 {
		return "a0"
	}
	return string(rune('a'+(i-1)%26)) + strings.Repeat("x", i-1)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"url": "http://a", "timeout": "1s", "rule": [{"name": "x"}], "storage": {"kind": "disk"}, "nets": ["::1"], "env": {"a": "b"}}`))
	f.Add([]byte(`{"timeout": 5, "memory": "", "shards": 1e400, "tls": [], "retry": {"initial": null}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		config := testDefaults()
		if err := Decode(text, config); err != nil && err.Error() == "" {
			t.Fatal("an error without a word")
		} else if err == nil && !json.Valid(firstValue(text)) {
			t.Fatalf("%q was decoded", text)
		}
	})
}

// firstValue is the JSON value that text begins with.
func firstValue(text []byte) json.RawMessage {
	var raw json.RawMessage
	_ = json.NewDecoder(strings.NewReader(string(text))).Decode(&raw)
	return raw
}
