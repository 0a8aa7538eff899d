package plugins

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

type testConfig struct {
	Shared
	URL      string            `netmon:"url,required,format=url" doc:"Where to."`
	Mode     string            `netmon:"mode,enum=hash|cpu"`
	On       bool              `netmon:"on"`
	Shards   int               `netmon:"shards,min=0,max=64"`
	Ratio    float64           `netmon:"ratio,max=1"`
	Timeout  time.Duration     `netmon:"timeout,min=100ms,max=1h"`
	Memory   Bytes             `netmon:"memory,min=2MiB"`
	Listen   []string          `netmon:"listen,format=listen_address"`
	Nets     []netip.Prefix    `netmon:"nets"`
	Env      map[string]string `netmon:"env"`
	Password string            `netmon:"password,sensitive"`
	Path     string            `netmon:"path,format=path"`
	Untagged chan int

	Retry   retry    `netmon:"retry" doc:"How to go on."`
	TLS     *tlsTest `netmon:"tls"`
	Storage *storage `netmon:"storage"`
	Rules   []rule   `netmon:"rule"`
}

// Shared is embedded: its options are the config's own.
type Shared struct {
	Name string `netmon:"name"`
}

type retry struct {
	Initial time.Duration `netmon:"initial"`
}

type tlsTest struct {
	KeyFile    string `netmon:"key_file,required,format=path"`
	MinVersion string `netmon:"min_version,enum=TLS12|TLS13"`
}

func (t *tlsTest) SetDefaults() { t.MinVersion = "TLS12" }

type storage struct {
	Kind string `netmon:"kind,label,enum=memory|disk"`
	Path string `netmon:"path,format=path"`
}

type rule struct {
	Name  string `netmon:"name,label"`
	Limit int    `netmon:"limit,min=1"`
}

func (r *rule) SetDefaults() { r.Limit = 7 }

func testDefaults() *testConfig {
	return &testConfig{
		Shared: Shared{Name: "main"}, Mode: "hash", Shards: 4, Ratio: 0.5, Timeout: 5 * time.Second, Memory: 64 << 20,
		Listen: []string{"127.0.0.1:8080"}, Retry: retry{Initial: time.Minute},
		Storage: &storage{Kind: "memory"},
	}
}

func TestSchema(t *testing.T) {
	schema, err := Schema(testDefaults())
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*netmonpb.Attribute{}
	for _, a := range schema.Attributes {
		byName[a.Name] = a
	}
	for name, want := range map[string]string{
		"name":     `{"name":"name","type":"\"string\"","defaultJson":"\"main\""}`,
		"url":      `{"name":"url","type":"\"string\"","required":true,"format":"FORMAT_URL","description":"Where to."}`,
		"mode":     `{"name":"mode","type":"\"string\"","defaultJson":"\"hash\"","enumValues":["hash","cpu"]}`,
		"on":       `{"name":"on","type":"\"bool\"","defaultJson":"false"}`,
		"shards":   `{"name":"shards","type":"\"number\"","defaultJson":"4","minimum":0,"maximum":64}`,
		"timeout":  `{"name":"timeout","type":"\"string\"","defaultJson":"\"5s\"","minimum":0.1,"maximum":3600,"format":"FORMAT_DURATION"}`,
		"memory":   `{"name":"memory","type":"\"string\"","defaultJson":"\"64MiB\"","minimum":2097152,"format":"FORMAT_BYTES"}`,
		"listen":   `{"name":"listen","type":"[\"list\",\"string\"]","defaultJson":"[\"127.0.0.1:8080\"]","format":"FORMAT_LISTEN_ADDRESS"}`,
		"nets":     `{"name":"nets","type":"[\"list\",\"string\"]","defaultJson":"[]","format":"FORMAT_CIDR"}`,
		"env":      `{"name":"env","type":"[\"map\",\"string\"]","defaultJson":"{}"}`,
		"password": `{"name":"password","type":"\"string\"","defaultJson":"\"\"","sensitive":true}`,
	} {
		want, got := sameJSON(t, want), sameJSON(t, protojson.Format(byName[name]))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
	}
	if byName["Untagged"] != nil || len(byName) != 13 {
		t.Errorf("there are %d attributes, want 13", len(byName))
	}

	var blocks []string
	for _, b := range schema.Blocks {
		blocks = append(blocks, strings.Join([]string{b.Type, b.Label, b.Block.Description, map[bool]string{true: "repeated"}[b.Repeated]}, "/"))
	}
	if want := []string{"retry//How to go on./", "tls///", "storage/kind//", "rule/name//repeated"}; !reflect.DeepEqual(blocks, want) {
		t.Errorf("blocks are %q, want %q", blocks, want)
	}
	if got := schema.Blocks[1].Block.Attributes[1].DefaultJson; got != `"TLS12"` {
		t.Errorf("default of a block behind a nil pointer is %s", got)
	}
}

func sameJSON(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

type selfish struct {
	Inner []selfish `netmon:"inner"`
}

func TestSchemaRefusesTheProgrammersMistakes(t *testing.T) {
	for name, config := range map[string]any{
		"no pointer": testConfig{},
		"nil":        (*testConfig)(nil),
		"no struct":  new(int),
		"bad name": &struct {
			A string `netmon:"Not-A-Name"`
		}{},
		"unknown tag option": &struct {
			A string `netmon:"a,needed"`
		}{},
		"unknown format": &struct {
			A string `netmon:"a,format=colour"`
		}{},
		"bad bound": &struct {
			A time.Duration `netmon:"a,min=5"`
		}{},
		"type": &struct {
			A chan int `netmon:"a"`
		}{},
		"list of lists": &struct {
			A [][]string `netmon:"a"`
		}{},
		"unexported": &struct {
			a string `netmon:"a"`
		}{},
		"twice": &struct {
			A string `netmon:"a"`
			B string `netmon:"a"`
		}{},
		"label at the top": &struct {
			A string `netmon:"a,label"`
		}{},
		"label no string": &struct {
			B struct {
				A int `netmon:"a,label"`
			} `netmon:"b"`
		}{},
		"two labels": &struct {
			B struct {
				A string `netmon:"a,label"`
				C string `netmon:"c,label"`
			} `netmon:"b"`
		}{},
		"default not in enum": &struct {
			A string `netmon:"a,enum=x|y"`
		}{A: "z"},
		"default out of bounds": &struct {
			A int `netmon:"a,min=1"`
		}{},
		"sensitive block": &struct {
			B struct{} `netmon:"b,sensitive"`
		}{},
		"contains itself": &selfish{},
	} {
		if schema, err := Schema(config); err == nil {
			t.Errorf("%s: accepted as %v", name, schema)
		}
	}
}

// The schema's own defaults, decoded, must give the value they were read from.
func TestSchemaRoundTrip(t *testing.T) {
	schema, err := Schema(testDefaults())
	if err != nil {
		t.Fatal(err)
	}
	object := map[string]json.RawMessage{}
	for _, a := range schema.Attributes {
		if a.DefaultJson != "" {
			object[a.Name] = json.RawMessage(a.DefaultJson)
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	got, want := &testConfig{Storage: &storage{Kind: "memory"}, Retry: retry{Initial: time.Minute}}, testDefaults()
	want.Nets, want.Env = []netip.Prefix{}, map[string]string{}
	if err := Decode(text, got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v\nwant %+v", got, want)
	}
}

func TestDecode(t *testing.T) {
	got := testDefaults()
	err := Decode([]byte(`{
		"url": "http://a", "timeout": "1h30m", "memory": "1GiB", "shards": 8, "ratio": 0.25, "on": true, "password": null,
		"nets": ["192.0.2.0/24", "2001:db8::1"], "env": {"A": "b"}, "listen": [],
		"tls": {"key_file": "k"}, "storage": {"kind": "disk", "path": "p"},
		"rule": [{"name": "x"}, {"name": "y", "limit": 2}]
	}`), got)
	if err != nil {
		t.Fatal(err)
	}
	want := testDefaults()
	want.URL, want.Timeout, want.Memory, want.Shards, want.Ratio, want.On = "http://a", 90*time.Minute, 1<<30, 8, 0.25, true
	want.Nets = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}
	want.Env, want.Listen = map[string]string{"A": "b"}, []string{}
	want.TLS = &tlsTest{KeyFile: "k", MinVersion: "TLS12"}
	want.Storage = &storage{Kind: "disk", Path: "p"}
	want.Rules = []rule{{"x", 7}, {"y", 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v\nwant %+v", got, want)
	}
}

func TestDecodeProblems(t *testing.T) {
	for _, test := range []struct{ json, path, says string }{
		{`{"timeout": 5}`, "timeout", `write "5s"`},
		{`{"memory": 64}`, "memory", `write "64MiB"`},
		{`{"timeout": "5"}`, "timeout", `write "5s"`},
		{`{"timeout": "soon"}`, "timeout", `"soon" is no duration`},
		{`{"memory": "64 parsecs"}`, "memory", "is no size"},
		{`{"nets": ["192.0.2.0/24", "192.0.2.1/24"]}`, "nets.1", "write 192.0.2.0/24 for the network"},
		{`{"shards": "4"}`, "shards", "must be a number, not a string"},
		{`{"shards": 1.5}`, "shards", "no whole number"},
		{`{"shards": 1e30}`, "shards", "no whole number"},
		{`{"on": "true"}`, "on", "must be true or false"},
		{`{"listen": "a"}`, "listen", "must be a list"},
		{`{"env": []}`, "env", "must be a map"},
		{`{"env": {"A": 1}}`, "env.A", "must be a string"},
		{`{"listen": [null]}`, "listen.0", "not null"},
		{`{"tls": 1}`, "tls", "must be a block"},
		{`{"rule": {}}`, "rule", "must be a list of blocks"},
		{`{"rule": [{"name": "x"}, {"limit": "y"}]}`, "rule.1.limit", "must be a number"},
		{`{"tls": {"minversion": "TLS13"}}`, "tls.minversion", `Did you mean "min_version"?`},
	} {
		err := Decode([]byte(test.json), testDefaults())
		var p *Problem
		if !errors.As(err, &p) {
			t.Errorf("%s: the error is %v, want a *Problem", test.json, err)
			continue
		}
		if path := strings.Join(p.Path, "."); path != test.path || !strings.Contains(p.Error(), test.says) {
			t.Errorf("%s: at %q: %v; want at %q: %s", test.json, path, p, test.path, test.says)
		}
	}
	for _, text := range []string{"", "{", "[]", "null", "5"} {
		if err := Decode([]byte(text), testDefaults()); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	if err := Decode([]byte("{}"), testConfig{}); err == nil {
		t.Error("a struct that cannot be written to was accepted")
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0B": 0, "1B": 1, "1000B": 1000, "1KiB": 1024, "64MiB": 64 << 20, "3GiB": 3 << 30, "2TiB": 2 << 40, "5 MiB": 5 << 20,
		"1KB": 1000, "1MB": 1e6,
	} {
		got, err := ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
		if back, err := ParseBytes(got.String()); err != nil || back != got {
			t.Errorf("%d is written %q and read back as %d, %v", got, got, back, err)
		}
	}
	for _, text := range []string{"", "64", "MiB", "-1MiB", "1.5GiB", "64mib", "9000000TiB", "0x1B "} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 90 * time.Minute: "1h30m", time.Minute: "1m", 5 * time.Second: "5s",
		64 * time.Millisecond: "64ms", 0: "0s", 10 * time.Hour: "10h", time.Hour + 5*time.Second: "1h0m5s", 10 * time.Minute: "10m",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func prefixes(texts ...string) []netip.Prefix {
	list := []netip.Prefix{}
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
