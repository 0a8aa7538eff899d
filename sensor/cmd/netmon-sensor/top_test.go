package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the pictures of the documents")

// pages are names that many a network knows the like of, for a picture; all lead to
// the town's web host.
func pages() map[string]int { // to bytes
	return map[string]int{
		"cdn.example.net": 900_000, "www.example.com": 60_000, "video.example.org": 2_400_000, "api.example.com": 9000,
		"static.example.net": 200_000, "mail.example.org": 14_000, "git.example.com": 120_000, "updates.example.net": 400_000,
		"telemetry.example.com": 700, "images.example.org": 300_000, "login.example.com": 2500, "registry.example.net": 650_000,
	}
}

// A busyTown is a client with a sensor, and a crowd that visits pages.
func busyTown(t *testing.T) *host {
	t.Helper()
	needTools(t, "curl")
	client, web := newHost(t), newHost(t)
	client.wire("eth0", "192.0.2.2/24", web, "eth0", "192.0.2.1/24")
	names, list := map[string]string{"one.example": "192.0.2.1"}, []string{}
	for i, name := range slices.Sorted(maps.Keys(pages())) {
		names[name] = fmt.Sprintf("192.0.2.%d", 10+i)
		web.run("ip", "addr", "add", names[name]+"/24", "dev", "eth0")
		list = append(list, fmt.Sprintf("http%s://%s/bytes/%d", map[bool]string{true: "s"}[i%3 != 0], name, pages()[name]))
	}
	web.serve(servers{DNS: "192.0.2.1:53", Names: names, HTTP: []string{":80"}, TLS: []string{":443"}})
	client.sensor(sensorConfig(exporterServer))
	resolv := writeFile(t, "resolv.conf", "nameserver 192.0.2.1\noptions timeout:1 attempts:5\n")
	start(t, "crowd", client.command("sh", "-c", fmt.Sprintf(`
mount --bind %s /etc/resolv.conf || exit
trap 'exit 0' TERM
i=0
while :; do
	for u in %s; do
		i=$((i + 1))
		curl -4 -sk --max-time 5 -o /dev/null "$u"
		sleep 0.$((i / 9 %% 4))
	done
done`, resolv, strings.Join(list, " "))))
	return client
}

// top runs `netmon-sensor top` in the namespace.
func (h *host) topCommand(flags ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	return call(h.t, h.command(bin(h.t, sensorProgram), append([]string{"top"}, flags...)...))
}

type topLine struct {
	Time  time.Time
	View  string
	Name  string
	Bytes uint64
	Rates *struct{ Bytes, Packets, Connections float64 }
}

// lines reads what `top -json` printed, by name.
func topLines(text string) (map[string]topLine, error) {
	found := map[string]topLine{}
	for line := range strings.Lines(text) {
		var one topLine
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return nil, err
		}
		found[one.Name] = one
	}
	return found, nil
}

// TestTop asks a sensor and its server what goes on, for scripts and on a terminal.
func TestTop(t *testing.T) {
	t.Parallel()
	needTools(t, "tmux")
	h := busyTown(t)
	eventually(t, 30*time.Second, "every page has been seen", func() error {
		_, stdout, stderr := h.topCommand("-once")
		return errors.Join(containsAll(stdout, slices.Sorted(maps.Keys(pages()))...), containsAll(stdout, "DOMAINS", "BYTES"), unless(stderr == "", stderr))
	})
	// Rates, by scripts, of the sensor and of the server in its exporter.
	for _, flags := range [][]string{nil, {"-url", "http://127.0.0.1:8080", "-host", "lab"}} {
		code, stdout, stderr := h.topCommand(append(flags, "-once", "-json", "-over", "2s", "-every", "500ms")...)
		lines, err := topLines(stdout)
		if code != exitFine || err != nil {
			t.Fatalf("%v: exit code %d: %s%v", flags, code, stderr, err)
		}
		sum := 0.0
		for _, l := range lines {
			if l.Rates == nil {
				t.Errorf("%v: no rates of %s", flags, l.Name)
				continue
			}
			sum += l.Rates.Bytes
		}
		if sum < 10_000 || lines["video.example.org"].Bytes < uint64(pages()["video.example.org"]) || time.Since(lines["video.example.org"].Time) > time.Minute {
			t.Errorf("%v: %v bytes/s in all, %+v", flags, sum, lines["video.example.org"])
		}
	}
	for view, want := range map[string]string{"addresses": "192.0.2.21", "protocols": "https"} {
		if code, stdout, stderr := h.topCommand("-once", "-view", view); code != exitFine || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d: %s%s", view, code, stdout, stderr)
		}
	}
	for _, test := range []struct {
		code  int
		says  string
		flags []string
	}{
		{exitRuntime, "http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused", []string{"-once", "-url", "http://127.0.0.1:1"}},
		{exitRuntime, "http://127.0.0.1:9854: refused with 400 Bad Request", []string{"-once", "-host", "lab"}},
		{exitUsage, "-sort", []string{"-once", "-sort", "size"}},
		{exitUsage, "is no terminal", nil},
		{exitUsage, "unexpected argument", []string{"now"}},
	} {
		if code, stdout, stderr := h.topCommand(test.flags...); code != test.code || !strings.Contains(stderr, test.says) || stdout != "" {
			t.Errorf("%v: exit code %d, want %d: %s%s", test.flags, code, test.code, stdout, stderr)
		}
	}
	s := h.screen(100, 20, "NO_COLOR= LANG=C.UTF-8", "top -every 500ms -over 5s")
	s.shows("video.example.org", "B/s in", "rates over 5s", "[1 domains]", "█")
	if *update { // a trend to look at
		eventually(t, time.Minute, "half a minute has passed", func() error {
			return unless(strings.ContainsAny(s.capture(""), "▁▂▃▄▅▆▇█") && len([]rune(strings.Split(s.capture(""), "\n")[1])) > 94, "not yet")
		})
	}
	picture := s.capture("-e")
	if s.colours() == 0 {
		t.Error("no colours")
	}
	s.keys("/", "c", "d", "n", "Enter", "n")
	s.shows("/cdn", "by name", "cdn.example.net")
	s.lacks("video.example.org")
	s.keys("Escape") // at once with the next key it would be another
	s.shows("video.example.org")
	s.keys("2")
	s.shows("[2 addresses]", "192.0.2.21")
	s.keys("?")
	s.shows("sort by name")
	s.keys("?", "Space")
	s.shows("paused")
	s.resize(36, 8)
	s.shows("paused", "ADDRESS")
	s.lacks("PKTS/s")
	s.keys("Space", "q")
	s.ends(exitFine)

	s = h.screen(80, 24, "NO_COLOR=yes LC_ALL=C", "top -every 500ms -over 5s")
	s.shows("video.example.org", "rates over")
	if text := s.capture(""); s.colours() > 0 || strings.ContainsFunc(text, func(r rune) bool { return r > '~' }) {
		t.Errorf("%d colours with NO_COLOR, or more than ASCII without UTF-8:\n%s", s.colours(), text)
	}
	s.keys("C-c")
	s.ends(exitFine)

	drawn := drawTerminal(picture, 100)
	if err := xml.Unmarshal([]byte(drawn), new(struct{})); err != nil {
		t.Errorf("the picture is no SVG: %v", err)
	}
	if *update {
		if err := os.WriteFile("../../../docs/images/top.svg", []byte(drawn), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func unless(fine bool, what string) error {
	if fine {
		return nil
	}
	return errors.New(what)
}

// A screen is a terminal of tmux in which the sensor's program runs.
type screen struct {
	*host
	socket, status string
}

// screen runs a command line of the sensor's program in a terminal of its own.
func (h *host) screen(width, height int, environment, line string) *screen {
	h.t.Helper()
	dir := tempDir(h.t)
	s := &screen{h, filepath.Join(dir, "tmux"), filepath.Join(dir, "status")}
	script := fmt.Sprintf("env %s %s %s; echo $? >%s", environment, bin(h.t, sensorProgram), line, s.status)
	h.tmux(s, "-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), script)
	h.t.Cleanup(func() { _ = exec.Command("tmux", "-S", s.socket, "kill-server").Run() })
	return s
}

func (h *host) tmux(s *screen, args ...string) string {
	h.t.Helper()
	cmd := h.command("tmux", append([]string{"-u", "-S", s.socket}, args...)...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TMUX") }), "TERM=xterm-256color", "LC_ALL=C.UTF-8", "SHELL=/bin/sh")
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

func (s *screen) keys(keys ...string) {
	s.t.Helper()
	s.tmux(s, append([]string{"send-keys"}, keys...)...)
}

func (s *screen) resize(width, height int) {
	s.t.Helper()
	s.tmux(s, "resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
}

func (s *screen) capture(flag string) string {
	s.t.Helper()
	args := []string{"capture-pane", "-p"}
	if flag != "" {
		args = append(args, flag)
	}
	return s.tmux(s, args...)
}

// colours is how many changes of colour are on the screen.
func (s *screen) colours() int {
	return len(regexp.MustCompile(`\x1b\[(\d+;)*3[1-7]m`).FindAllString(s.capture("-e"), -1))
}

func (s *screen) shows(parts ...string) {
	s.t.Helper()
	eventually(s.t, 20*time.Second, "the screen shows it", func() error { return containsAll(s.capture(""), parts...) })
}

func (s *screen) lacks(part string) {
	s.t.Helper()
	eventually(s.t, 20*time.Second, "the screen does not show "+part, func() error { return unless(!strings.Contains(s.capture(""), part), part) })
}

// ends waits for the end of the program.
func (s *screen) ends(code int) {
	s.t.Helper()
	eventually(s.t, 20*time.Second, "the program ends", func() error {
		text, err := os.ReadFile(s.status)
		if err == nil && strings.TrimSpace(string(text)) != strconv.Itoa(code) {
			err = fmt.Errorf("exit code %q", text)
		}
		return err
	})
}

// drawTerminal makes an SVG of a screen that tmux captured with its colours.
func drawTerminal(text string, columns int) string {
	const wide, high, margin = 8.4, 18, 14
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	width, height := wide*float64(columns)+2*margin, high*len(lines)+2*margin
	var w strings.Builder
	fmt.Fprintf(&w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0f" height="%d" role="img" aria-label="netmon-sensor top">
<style>text { font: 14px "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; fill: #d8dee4 }</style>
<rect width="100%%" height="100%%" rx="8" fill="#161b22"/>
`, width, height, width, height)
	for y, line := range lines {
		column := 0
		var dress dress
		for i, run := range strings.Split(line, "\x1b[") {
			if i > 0 {
				codes, rest, _ := strings.Cut(run, "m")
				dress.apply(codes)
				run = rest
			}
			if run == "" {
				continue
			}
			n := len([]rune(run))
			x, base := margin+wide*float64(column), margin+high*y
			if dress.reverse {
				fmt.Fprintf(&w, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#d8dee4"/>`+"\n", x, base, wide*float64(n), high)
			}
			if strings.TrimSpace(run) != "" {
				fmt.Fprintf(&w, `<text x="%.1f" y="%d" textLength="%.1f"%s>%s</text>`+"\n", x, base+13, wide*float64(n), dress.attributes(), html.EscapeString(run))
			}
			column += n
		}
	}
	return w.String() + "</svg>\n"
}

type dress struct {
	bold, dim, reverse bool
	colour             string
}

func (d *dress) apply(codes string) {
	for code := range strings.SplitSeq(codes, ";") {
		switch code {
		case "", "0":
			*d = dress{}
		case "1":
			d.bold = true
		case "2":
			d.dim = true
		case "7":
			d.reverse = true
		default:
			d.colour = map[string]string{"31": "#ff7b72", "32": "#56d364", "33": "#e3b341", "36": "#56d4dd"}[code]
		}
	}
}

func (d *dress) attributes() string {
	out, fill := "", d.colour
	if d.bold {
		out += ` font-weight="bold"`
	}
	if d.reverse {
		fill = "#161b22"
	} else if d.dim {
		fill = "#8b949e"
	}
	if fill != "" {
		out += ` style="fill: ` + fill + `"`
	}
	return out
}
