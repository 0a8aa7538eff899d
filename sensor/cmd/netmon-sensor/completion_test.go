package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Command lines without their program, whose last word is to be completed, and what to.
// What begins with ! must not be offered.
var completed = map[string][]string{
	"":                     {"top", "doctor", "completion", "fmt", "import-yaml", "plugin"},
	"to":                   {"top"},
	"-conf":                {"-config"},
	"-p":                   {"-pcap", "-print-config", "!-once"},
	"-log-level ":          {"trace", "debug", "info", "warn", "error"},
	"-config one":          {"one.hcl"},
	"top -o":               {"-once", "-over", "!-pcap"},
	"top -view ":           {"domains", "addresses", "protocols", "!top"},
	"top -once -sort con":  {"connections"},
	"top -token-file o":    {"one.hcl"},
	"fmt -check o":         {"one.hcl"},
	"plugin ":              {"list", "docs", "init"},
	"completion f":         {"fish", "!fmt"},
	"import-yaml on":       {"one.hcl"},
	"doctor -j":            {"-json"},
	"-config one.hcl -che": {"-check-config"},
}

// TestCompletion has the shells themselves complete command lines by the scripts.
func TestCompletion(t *testing.T) {
	dir := tempDir(t)
	if err := os.WriteFile(filepath.Join(dir, "one.hcl"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	script := func(shell string) string {
		var out, stderr strings.Builder
		if code := run([]string{"completion", shell}, &out, &stderr); code != exitFine || stderr.String() != "" {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		return out.String()
	}
	in := func(t *testing.T, shell string, args ...string) string {
		t.Helper()
		cmd := exec.Command(shell, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", shell, err, out)
		}
		return string(out)
	}
	want := func(t *testing.T, line string, offered []string) {
		t.Helper()
		for _, word := range completed[line] {
			if not, found := strings.CutPrefix(word, "!"); found {
				if slices.Contains(offered, not) {
					t.Errorf("%q is completed to %s", line, not)
				}
			} else if !slices.Contains(offered, word) {
				t.Errorf("%q is not completed to %s, but to %q", line, word, offered)
			}
		}
	}
	t.Run("bash", func(t *testing.T) {
		needTools(t, "bash")
		more := map[string][]string{"top --on": {"--once"}, "top -view = d": {"domains"}, "top -view =": {"addresses"}}
		for _, lines := range []map[string][]string{completed, more} {
			for line := range lines {
				words := append([]string{"netmon-sensor"}, strings.Split(line, " ")...)
				code := script("bash") + `
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_netmon_sensor
printf '%s\n' "${COMPREPLY[@]}"
`
				offered := strings.Split(strings.TrimSpace(in(t, "bash", append([]string{"--norc", "-uc", code, "bash"}, words...)...)), "\n")
				want(t, line, offered)
				for _, word := range more[line] {
					if !slices.Contains(offered, word) {
						t.Errorf("%q is not completed to %s, but to %q", line, word, offered)
					}
				}
			}
		}
	})
	t.Run("fish", func(t *testing.T) {
		needTools(t, "fish")
		for line := range completed {
			out := in(t, "fish", "--no-config", "-c", script("fish")+"\ncomplete -C 'netmon-sensor "+line+"'")
			var offered []string
			for text := range strings.Lines(out) {
				word, _, _ := strings.Cut(strings.TrimSpace(text), "\t")
				offered = append(offered, word)
			}
			want(t, line, offered)
		}
	})
	t.Run("zsh", func(t *testing.T) {
		needTools(t, "zsh")
		functions := filepath.Join(dir, "functions")
		if err := os.Mkdir(functions, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(functions, "_netmon-sensor"), []byte(script("zsh")), 0o644); err != nil {
			t.Fatal(err)
		}
		// A shell on a terminal of its own, whose Tab lists what it would offer.
		shell := fmt.Sprintf(`zmodload zsh/zpty
zpty shell 'zsh -f -i'
reads() { local line; while zpty -r shell line "*$1*"; do print -r -- "$line"; [[ $line == *$1* ]] && break; done }
zpty -w shell 'PS1=; fpath=(%s $fpath); autoload -U compinit; compinit -u -D; compadd() { local -a offered; builtin compadd -O offered "$@"; (( $#offered )) && print -rl -- "offered:"${^offered}; builtin compadd "$@" }; list() { zle -M ""; print BEGIN; zle complete-word; print; print END; zle send-break }; zle -N list; bindkey "^I" list; cd %s; print READ\Y!'
reads 'READY!'
for line in "$@"; do
	zpty -w -n shell "netmon-sensor $line"$'\t'
	print -r -- "line:$line"
	reads END
done
zpty -d shell
`, functions, dir)
		lines := []string{}
		for line := range completed {
			lines = append(lines, line)
		}
		begin := time.Now()
		out := in(t, "zsh", append([]string{"-fc", shell, "zsh"}, lines...)...)
		if time.Since(begin) > 30*time.Second {
			t.Errorf("that took %v", time.Since(begin))
		}
		offered, line := map[string][]string{}, ""
		for text := range strings.Lines(strings.ReplaceAll(out, "\r", "\n")) {
			text = strings.TrimRight(text, "\n")
			if after, found := strings.CutPrefix(text, "line:"); found {
				line = after
			}
			if _, word, found := strings.Cut(text, "offered:"); found {
				offered[line] = append(offered[line], word)
			}
		}
		for line := range completed {
			want(t, line, offered[line])
		}
		if t.Failed() {
			t.Log(out)
		}
	})
	for _, args := range [][]string{{"completion"}, {"completion", "tcsh"}, {"completion", "bash", "zsh"}} {
		var out, stderr strings.Builder
		if code := run(args, &out, &stderr); code != exitUsage || out.String() != "" || stderr.String() == "" {
			t.Errorf("%v: exit code %d: %s", args, code, out.String())
		}
	}
}
