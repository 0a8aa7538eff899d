package export

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

// logged is what becomes of what a plugin writes.
func logged(text string) string {
	var out strings.Builder
	l := &stderrLog{logger: hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace, DisableTime: true}), failed: func(string, uint64) {}}
	l.copy(strings.NewReader(text))
	return out.String()
}

func TestStderr(t *testing.T) {
	for text, want := range map[string]string{
		"plain\n":                         "[INFO]  plain\n",
		"no newline":                      "[INFO]  no newline\n",
		"\n\r\n":                          "",
		"[WARN] careful\n":                "[WARN]  [WARN] careful\n",
		"esc \x1b[2J \a \u202e \xff\tx\n": "[INFO]  esc \\x1b[2J \\a \\u202e \\ufffd x\n",
		`{"@message":"hi","@level":"warn","n":1.5}` + "\n": "[WARN]  hi: n=1.5\n",
		`{"@message":"hi","@level":"off","@module":"m"}`:   "[INFO]  hi\n",
		`{"@message":"a\nb","@level":7,"k":"v\u0007"}`:     "[INFO]  a\\nb: k=v\\a\n",
		`{"@message":"hi","list":["x",{}],"t":true}`:       "[INFO]  hi: list=\"[x map[]]\" t=true\n",
		`{"@message":5}`:              "[INFO]  {\"@message\":5}\n",
		`{"broken`:                    "[INFO]  {\"broken\n",
		"panic: oh\n\ngoroutine 1:\n": "[ERROR] panic: oh\n[ERROR] goroutine 1:\n",
	} {
		if got := logged(text); got != want {
			t.Errorf("%q becomes\n%q, want\n%q", text, got, want)
		}
	}
	got := logged(strings.Repeat("x", 200_000) + "\nnext\n")
	if len(got) > maxLine+100 || !strings.HasSuffix(got, "x: cut=true\n[INFO]  next\n") {
		t.Errorf("a long line: %d bytes, %s", len(got), got[len(got)-60:])
	}
	if got := logged(strings.Repeat("line\n", 50_000)); len(got) > 100_000 || !strings.Contains(got, "were left out: lines=") {
		t.Errorf("many lines: %d bytes", len(got))
	}
}

func FuzzStderr(f *testing.F) {
	f.Add("plain\n")
	f.Add(`{"@message":5,"@level":[],"@timestamp":{}}`)
	f.Add(`{"@message":"x","@level":"error","k":{"a":[1,null]}}` + "\npanic: \x00\n")
	f.Fuzz(func(t *testing.T, text string) {
		got := logged(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(strings.ReplaceAll(got, "\n", ""), hidden) {
			t.Fatalf("%q becomes %q", text, got)
		}
		if n := strings.Count(text, "\n") + 1; strings.Count(got, "\n") > n+2 {
			t.Fatalf("%q becomes more lines: %q", text, got)
		}
	})
}
