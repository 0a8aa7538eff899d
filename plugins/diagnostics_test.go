package plugins

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

func TestWriteDiagnostics(t *testing.T) {
	src := "top = 1\nexporter \"a\" \"b\" {\n\tx = [\n\t  1,\n\t]\n  y = \"e\u0301\" + nope\r\n  password = \"hunter2\"\n}"
	at := func(from, to string) *hcl.Range {
		start := strings.Index(src, from)
		end := start + strings.Index(src[start:], to) + len(to)
		pos := func(b int) hcl.Pos {
			line := strings.LastIndexByte(src[:b], '\n') + 1
			return hcl.Pos{Byte: b, Line: strings.Count(src[:b], "\n") + 1, Column: b - line + 1}
		}
		return &hcl.Range{Filename: "f.hcl", Start: pos(start), End: pos(end)}
	}
	empty := *at("top", "top")
	empty.End = empty.Start
	end := hcl.Pos{Byte: len(src), Line: 8, Column: 2}
	for name, test := range map[string]struct {
		d    hcl.Diagnostic
		want string
	}{
		"no place": {hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "S", Detail: "D."}, "Warning: S\nD.\n"},
		"no detail": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("top", "top")},
			"Error: S\n\n  on f.hcl line 1, column 1:\n  1: top = 1\n     ^^^\n"},
		"empty range": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: &empty},
			"Error: S\n\n  on f.hcl line 1, column 1:\n  1: top = 1\n     ^\n"},
		"several lines and tabs": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("[\n", "]")},
			"Error: S\n\n  on f.hcl line 3, column 6, in exporter \"a\" \"b\":\n  3: \tx = [\n     \t    ^\n"},
		"combining and return": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("nope", "nope")},
			"Error: S\n\n  on f.hcl line 6, column 15, in exporter \"a\" \"b\":\n  6:   y = \"e\u0301\" + nope\n                 ^^^^\n"},
		"guessed secret": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: at("password", "password")},
			"Error: S\n\n  on f.hcl line 7, column 3, in exporter \"a\" \"b\":\n  7:   password = (sensitive)\n       ^^^^^^^^\n"},
		"end of the file": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: &hcl.Range{Filename: "f.hcl", Start: end, End: end}},
			"Error: S\n\n  on f.hcl line 8, column 2:\n  8: }\n      ^\n"},
		"beyond the file": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: &hcl.Range{Filename: "f.hcl", Start: hcl.Pos{Line: 99, Column: 1, Byte: 9999}}},
			"Error: S\n\n  on f.hcl line 99, column 1:\n  (source not available)\n"},
		"another file": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "S", Subject: &hcl.Range{Filename: "g.hcl", Start: hcl.InitialPos, End: hcl.InitialPos}},
			"Error: S\n\n  on g.hcl line 1, column 1:\n  (source not available)\n"},
		"escapes": {hcl.Diagnostic{Severity: hcl.DiagError, Summary: "\x1b[2JS", Detail: "a\x07\nb"}, "Error: \ufffd[2JS\na\ufffd\nb\n"},
	} {
		var got strings.Builder
		if err := WriteDiagnostics(&got, map[string][]byte{"f.hcl": []byte(src)}, hcl.Diagnostics{&test.d}); err != nil {
			t.Fatal(err)
		}
		if got.String() != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got.String(), test.want)
		}
	}
}

// serverTest stands for an exporter that can run alone.
type serverTest struct {
	Listen  []string `netmon:"listen,format=listen_address"`
	Storage *storage `netmon:"storage"`
	Token   string   `netmon:"token,sensitive"`
}

func (s *serverTest) Check() error {
	if s.Storage != nil && s.Storage.Kind == "disk" && s.Storage.Path == "" {
		return &Problem{Path: []string{"storage"}, Summary: "Missing path", Detail: "A disk store needs one."}
	}
	return nil
}

func standaloneFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadStandalone(t *testing.T) {
	path := standaloneFile(t, `
locals { port = 8081 }
server {
  listen = [":${local.port}"]
  storage "disk" { path = "p" }
  token = "hunter2"
}
log { format = "json" }
`)
	got := &serverTest{Listen: []string{":8080"}}
	s, diags := LoadStandalone(path, "server", got)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	if got.Listen[0] != ":8081" || got.Storage.Kind != "disk" || got.Token != "hunter2" {
		t.Errorf("decoded %+v", got)
	}
	if want := (Log{Level: "info", Format: "json", Output: "stderr"}); s.Log != want || s.BaseDir != filepath.Dir(path) {
		t.Errorf("log %+v, base %s", s.Log, s.BaseDir)
	}

	var text strings.Builder
	err := errors.Join(
		&Problem{Path: []string{"listen", "0"}, Summary: "Address in use"},
		&Problem{Path: []string{"token"}, Summary: "Token too short"},
		errors.New("no space left on device"),
	)
	if err := s.Write(&text, s.Explain(err)); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`Error: Address in use

  on FILE line 4, column 13, in server:
  4:   listen = [":${local.port}"]
                 ^^^^^^^^^^^^^^^^

Error: Token too short

  on FILE line 6, column 11, in server:
  6:   token = (sensitive)
               ^^^^^^^^^^^

Error: no space left on device

  on FILE line 3, column 1, in server:
  3: server {
     ^^^^^^
`, "FILE", path)
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}

func TestLoadStandaloneMistakes(t *testing.T) {
	for text, says := range map[string]string{
		``:                                    "The file needs a block server { ... }",
		`log {}`:                              "The file needs a block server { ... }",
		`srever {}`:                           `Did you mean "server"?`,
		`server {} server {}`:                 "Missing newline after block definition",
		"server {}\nserver {}":                "There can be one block",
		`server { listen = ":1" }`:            "must be a list",
		"server {\n storage \"disk\" {}\n}":   "A disk store needs one.",
		"server {}\nlog { level = \"loud\" }": `"loud" is not one of`,
		"server {}\nlog { output = \"\" }":    "or a path",
		"server {}\nsensor {}":                `There is no block "sensor"`,
		`server {`:                            "Unclosed configuration block",
		"server { token = token }":            "Text stands in quotes",
		"locals { a = local.a }\nserver { token = local.a }": "cannot depend on itself",
	} {
		s, diags := LoadStandalone(standaloneFile(t, text), "server", new(serverTest))
		var shown strings.Builder
		if err := s.Write(&shown, diags); err != nil {
			t.Fatal(err)
		}
		if !diags.HasErrors() || !strings.Contains(shown.String(), says) {
			t.Errorf("%s: got\n%s\nwant %q", text, shown.String(), says)
		}
	}
	s, diags := LoadStandalone(filepath.Join(t.TempDir(), "absent.hcl"), "server", new(serverTest))
	if s == nil || !diags.HasErrors() || !strings.Contains(diags[0].Detail, "absent.hcl: no such file") {
		t.Errorf("an absent file gives %v, %v", s, diags)
	}
}

// The example is read as the server reads it.
func TestServerExample(t *testing.T) {
	config := &struct {
		Listen        []string `netmon:"listen,format=listen_address"`
		ProbeListen   []string `netmon:"probe_listen,format=listen_address"`
		WebConfigFile string   `netmon:"web_config_file,format=path"`
		Insecure      bool     `netmon:"insecure"`
		Storage       *storage `netmon:"storage"`
	}{}
	s, diags := LoadStandalone("../examples/server.hcl", "server", config)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	if config.Listen[0] != ":8080" || config.Storage.Kind != "disk" || s.Log.Format != "json" {
		t.Errorf("decoded %+v", config)
	}
}
