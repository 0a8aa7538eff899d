package top

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/netmon-sensor/netmon/proto/rows"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// noon is when the samples of tests begin.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func volume(sent, received, connections uint64) rows.Volume {
	return rows.Volume{
		BytesSent: sent, BytesReceived: received, Bytes: sent + received, PacketsSent: sent / 100, PacketsReceived: received / 1000,
		Connections: connections, Accesses: connections / 2,
	}
}

// totals is a sample some seconds after noon that lists these rows and no others.
func totals(seconds int, list map[string]rows.Volume) *sample {
	s := &sample{at: noon.Add(time.Duration(seconds) * time.Second), rows: list, whole: true, total: len(list)}
	for _, v := range list {
		s.sum.Add(&v)
	}
	return s
}

func TestRates(t *testing.T) {
	type list = map[string]rows.Volume
	cut := func(s *sample) *sample { s.whole = false; s.total++; return s }
	for name, test := range map[string]struct {
		samples []*sample
		span    time.Duration
		want    map[string]float64 // bytes per second; -1: not known
	}{
		"one sample":     {[]*sample{totals(0, list{"a": volume(10, 0, 1)})}, 0, map[string]float64{"a": -1}},
		"growth":         {[]*sample{totals(0, list{"a": volume(10, 0, 1)}), totals(5, list{"a": volume(30, 30, 1)})}, 5 * time.Second, map[string]float64{"a": 10}},
		"rest":           {[]*sample{totals(0, list{"a": volume(10, 0, 1)}), totals(5, list{"a": volume(10, 0, 1)})}, 5 * time.Second, map[string]float64{"a": 0}},
		"no window":      {[]*sample{totals(0, list{"a": volume(10, 0, 1)}), totals(0, list{"a": volume(10, 0, 1)})}, 0, map[string]float64{"a": -1}},
		"a new row":      {[]*sample{totals(0, list{"a": volume(10, 0, 1)}), totals(5, list{"a": volume(10, 0, 1), "b": volume(5, 0, 1)})}, 5 * time.Second, map[string]float64{"a": 0, "b": 1}},
		"a row come up":  {[]*sample{cut(totals(0, list{"a": volume(10, 0, 1)})), totals(5, list{"a": volume(10, 0, 1), "b": volume(5, 0, 1)})}, 5 * time.Second, map[string]float64{"a": 0, "b": -1}},
		"a row retired":  {[]*sample{totals(0, list{"a": volume(10, 0, 1), "(retired)": volume(7, 0, 1)}), totals(5, list{"(retired)": volume(17, 0, 2)})}, 5 * time.Second, map[string]float64{"a": -1, "(retired)": -1}},
		"and back":       {[]*sample{totals(0, list{"a": volume(10, 0, 1)}), totals(5, list{"a": volume(5, 0, 1), "(retired)": volume(10, 0, 1)})}, 5 * time.Second, map[string]float64{"a": 1}},
		"sensor reset":   {[]*sample{totals(0, list{"a": volume(100, 0, 9)}), totals(5, list{"a": volume(10, 0, 1)})}, 0, map[string]float64{"a": -1}},
		"and after it":   {[]*sample{totals(0, list{"a": volume(100, 0, 9)}), totals(5, list{"a": volume(10, 0, 1)}), totals(15, list{"a": volume(40, 0, 1)})}, 10 * time.Second, map[string]float64{"a": 3}},
		"clock set back": {[]*sample{totals(5, list{"a": volume(10, 0, 1)}), totals(0, list{"a": volume(20, 0, 1)})}, 0, map[string]float64{"a": -1}},
		"over ten seconds": {[]*sample{
			totals(0, list{"a": volume(1000, 0, 1)}), totals(5, list{"a": volume(1000, 0, 1)}), totals(10, list{"a": volume(1050, 0, 1)}), totals(15, list{"a": volume(1100, 0, 1)}),
		}, 10 * time.Second, map[string]float64{"a": 10}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &history{over: 10 * time.Second}
			for _, s := range test.samples {
				h.add(s)
			}
			if h.span() != test.span {
				t.Errorf("over %v, want %v", h.span(), test.span)
			}
			for row, want := range test.want {
				got := h.of(row)
				if got.known != (want >= 0) || got.known && got.bytes != want {
					t.Errorf("%s: %+v, want %v", row, got, want)
				}
			}
		})
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.001: "<0.01", 0.2: "0.2", 1.5: "1.5", 9.99: "9.99", 9.996: "10", 42: "42", 999.4: "999", 999.6: "1.00k", 1234: "1.23k", 12345: "12.3k",
		999_499: "999k", 999_600: "1.00M", 1.5e9: "1.50G", 18446744073709551615: "18.4E", 1e30: "1000000000Z",
	} {
		if got := short(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

// town is a model that has watched for ten seconds.
func town(width, height int) *model {
	m := newModel(context.Background(), &source{shown: "http://127.0.0.1:9854"}, Options{View: "domains", Sort: "bytes", Every: time.Second, Over: 10 * time.Second})
	m.now = func() time.Time { return noon.Add(11 * time.Second) }
	for i := range 3 {
		n := uint64(i)
		m.take(0, totals(5*i, map[string]rows.Volume{
			"cdn.example.net":  volume(1_000_000+50_000*n, 90_000_000+12_000_000*n, 400+20*n),
			"www.example.com":  volume(400_000+7000*n, 5_000_000+80_000*n, 90+3*n),
			"mail.example.org": volume(90_000, 300_000, 12),
			"(unattributed)":   volume(70_000+100*n, 20_000+300*n, 40+n),
			"(retired)":        volume(10, 10, 1),
			"a-name-that-is-far-too-long-for-a-column.of-its-own.telemetry.example": volume(2000+30*n, 1000, 5),
		}))
	}
	m.take(1, totals(0, map[string]rows.Volume{"192.0.2.1": volume(5, 6, 7), "2001:db8:1234:5678:9abc:def0:1234:5678": volume(2, 3, 1), "(other)": volume(1, 1, 1)}))
	m.take(2, totals(0, map[string]rows.Volume{"https": volume(5_000_000, 6_000_000, 70), "dns": volume(200, 300, 10)}))
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return m
}

// press presses keys, one for each word.
func press(m *model, keys string) (last tea.Cmd) {
	for word := range strings.FieldsSeq(keys) {
		_, last = m.Update(key(word))
	}
	return last
}

func key(word string) tea.KeyPressMsg {
	for name, code := range map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "backspace": tea.KeyBackspace, "up": tea.KeyUp, "down": tea.KeyDown,
		"left": tea.KeyLeft, "right": tea.KeyRight, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "home": tea.KeyHome, "end": tea.KeyEnd,
	} {
		if word == name {
			return tea.KeyPressMsg{Code: code}
		}
	}
	switch word {
	case "space":
		return tea.KeyPressMsg{Code: ' ', Text: " "}
	case "shift+tab":
		return tea.KeyPressMsg{Code: tea.KeyTab, Mod: tea.ModShift}
	case "ctrl+c", "ctrl+u", "ctrl+z":
		return tea.KeyPressMsg{Code: rune(word[5]), Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(word)[0], Text: word}
}

func TestFrames(t *testing.T) {
	for name, test := range map[string]struct {
		width, height int
		keys          string
		change        func(*model)
		styled        bool
	}{
		"80x24":      {80, 24, "", nil, false},
		"120x40":     {120, 40, "", nil, false},
		"160x20":     {160, 20, "t", nil, false},
		"40x12":      {40, 12, "", nil, false},
		"20x6":       {20, 6, "", nil, false},
		"utf8":       {120, 12, "", func(m *model) { m.fancy = true }, true},
		"addresses":  {80, 10, "tab", nil, false},
		"protocols":  {80, 10, "3", nil, false},
		"filter":     {80, 10, "/ e x enter n", nil, false},
		"typing":     {80, 10, "/ c d n", nil, false},
		"paused":     {80, 10, "space", nil, false},
		"scrolled":   {80, 8, "down", nil, false},
		"help":       {80, 24, "?", nil, false},
		"error":      {80, 10, "", func(m *model) { m.err = errors.New("http://127.0.0.1:9854: connection refused") }, true},
		"stale":      {80, 10, "", func(m *model) { m.now = func() time.Time { return noon.Add(3 * time.Minute) } }, false},
		"empty":      {80, 10, "", func(m *model) { m.histories[0] = &history{} }, false},
		"first":      {80, 10, "", func(m *model) { m.histories[0].samples = m.histories[0].samples[2:] }, false},
		"80x24-ansi": {80, 12, "", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := town(test.width, test.height)
			press(m, test.keys)
			if test.change != nil {
				test.change(m)
			}
			m.refresh()
			frame := m.View().Content
			checkFrame(t, m, frame)
			if test.styled {
				frame = strings.ReplaceAll(frame, "\x1b", "^")
			} else {
				frame = ansi.Strip(frame)
			}
			golden(t, "frames/"+name+".txt", frame+"\n")
		})
	}
}

// checkFrame wants a frame of the screen's size in which nothing is but our own
// colours, printable ASCII and the blocks of the trend.
func checkFrame(t *testing.T, m *model, frame string) {
	t.Helper()
	lines := strings.Split(frame, "\n")
	if len(lines) != m.height {
		t.Errorf("%d lines in a frame of %d", len(lines), m.height)
	}
	ours := strings.NewReplacer(bold, "", dim, "", reverse, "", red, "", green, "", yellow, "", cyan, "", plain, "")
	for _, line := range lines {
		if w := ansi.StringWidth(line); w > m.width {
			t.Errorf("%d columns in a frame of %d: %q", w, m.width, line)
		}
		for _, r := range ours.Replace(line) {
			if (r < ' ' || r > '~') && !strings.ContainsRune("▁▂▃▄▅▆▇█", r) {
				t.Fatalf("%q is on the screen: %q", r, line)
			}
		}
	}
}

func TestEverySize(t *testing.T) {
	m := town(80, 24)
	m.fancy = true
	for _, keys := range []string{"", "?", "? /", "x enter space"} {
		press(m, keys)
		for width := range 131 {
			for _, height := range []int{0, 1, 2, 3, 4, 5, 6, 7, 24} {
				m.Update(tea.WindowSizeMsg{Width: width, Height: height})
				if frame := m.View().Content; width > 0 && height > 0 {
					checkFrame(t, m, frame)
				} else if frame != "" {
					t.Errorf("%dx%d: %q", width, height, frame)
				}
			}
		}
	}
}

func TestKeys(t *testing.T) {
	many := func() *model {
		m := town(80, 15)
		list := map[string]rows.Volume{}
		for i := range 100 {
			list[fmt.Sprintf("n%03d", i)] = volume(uint64(1000-i), 0, 1)
		}
		m.take(0, totals(20, list))
		m.refresh()
		return m
	}
	for keys, want := range map[string]func(*model) bool{
		"q":                                 func(m *model) bool { return true },
		"tab tab tab tab":                   func(m *model) bool { return m.view == 1 },
		"shift+tab":                         func(m *model) bool { return m.view == 2 },
		"left left":                         func(m *model) bool { return m.view == 1 },
		"2":                                 func(m *model) bool { return m.view == 1 },
		"c":                                 func(m *model) bool { return m.order == "connections" },
		"n":                                 func(m *model) bool { return m.order == "name" && m.lines[0].name == "n000" },
		"x ":                                func(m *model) bool { return m.order == "bytes" },
		"/ q 9 9 enter":                     func(m *model) bool { return m.filter == "q99" && len(m.lines) == 0 && !m.typing },
		"/ 9 9":                             func(m *model) bool { return m.typing && len(m.lines) == 1 && m.lines[0].name == "n099" },
		"/ 9 9 backspace 8":                 func(m *model) bool { return m.filter == "98" },
		"/ 9 9 ctrl+u 1":                    func(m *model) bool { return m.filter == "1" },
		"/ 9 9 esc":                         func(m *model) bool { return m.filter == "" && !m.typing && len(m.lines) == 100 },
		"/ 9 9 enter esc":                   func(m *model) bool { return m.filter == "" && len(m.lines) == 100 },
		"/ \u202e x":                        func(m *model) bool { return m.filter == "x" },
		"/ backspace":                       func(m *model) bool { return m.filter == "" },
		"up":                                func(m *model) bool { return m.first == 0 },
		"down down j up":                    func(m *model) bool { return m.first == 2 },
		"pgdown":                            func(m *model) bool { return m.first == 10 },
		"end":                               func(m *model) bool { return m.first == 90 },
		"end down pgdown":                   func(m *model) bool { return m.first == 90 },
		"end home":                          func(m *model) bool { return m.first == 0 },
		"end c":                             func(m *model) bool { return m.first == 0 },
		"space":                             func(m *model) bool { return m.paused },
		"space space":                       func(m *model) bool { return !m.paused },
		"? ?":                               func(m *model) bool { return !m.help },
		"? esc":                             func(m *model) bool { return !m.help },
		"? tab":                             func(m *model) bool { return !m.help && m.view == 1 },
		"/ " + strings.Repeat("long ", 100): func(m *model) bool { return len(m.filter) <= maxFilter },
	} {
		t.Run(keys, func(t *testing.T) {
			m := many()
			press(m, keys)
			if !want(m) {
				t.Errorf("view %d, order %s, filter %q, typing %v, paused %v, first %d, %d lines", m.view, m.order, m.filter, m.typing, m.paused, m.first, len(m.lines))
			}
		})
	}
	for _, word := range []string{"q", "ctrl+c"} {
		command := press(many(), word)
		if command == nil {
			t.Fatalf("%s does nothing", word)
		}
		if _, quit := command().(tea.QuitMsg); !quit {
			t.Errorf("%s does not quit", word)
		}
	}
	if _, suspends := press(many(), "ctrl+z")().(tea.SuspendMsg); !suspends {
		t.Error("ctrl+z does not suspend")
	}
	if m := many(); press(m, "/ q") != nil || m.filter != "q" {
		t.Error("a q that is typed quits")
	}
}

// TestRounds follows who asks next: one round at a time, none while paused, a new one
// after a change of view, and answers of former rounds start none.
func TestRounds(t *testing.T) {
	m := town(80, 24)
	asked := 0
	m.ask = func(_ context.Context, view string) (*sample, error) {
		asked++
		if view == "protocols" {
			return nil, errors.New("gone")
		}
		return totals(100+asked, map[string]rows.Volume{view: volume(1e9, 1e9, 1e6)}), nil
	}
	m.every = time.Millisecond
	first := m.question()()
	turned := press(m, "tab")
	if _, next := m.Update(first); next != nil || m.histories[0].last().rows["domains"].Bytes != 0 {
		t.Error("the answer of a former round counts")
	}
	_, next := m.Update(turned())
	if next == nil || m.histories[1].last().rows["addresses"].Bytes != 2e9 {
		t.Fatal("no answer for the view that was turned to")
	}
	tick := next().(due)
	press(m, "space")
	if _, next := m.Update(tick); next != nil {
		t.Error("it asks while paused")
	}
	resumed := press(m, "space")
	if _, next := m.Update(tick); next != nil {
		t.Error("a former tick asks")
	}
	_, next = m.Update(resumed())
	if _, ask := m.Update(next().(due)); ask == nil {
		t.Error("a tick does not ask")
	}
	_, next = m.Update(press(m, "3")())
	if m.err == nil || next == nil || asked != 4 {
		t.Errorf("after an error: %v, goes on %v, asked %d times", m.err, next != nil, asked)
	}
}

// Names that would do something to a terminal.
var hostile = []string{
	"\x1b[2J\x1b]0;owned\x07", "\x9b31m", "a\u202egro.elpmaxe", "\u4f8b\u3048.\u30c6\u30b9\u30c8", "zero\u200bwidth", "combining\u0301\u0301\u0301", "line\nbreak\r\ttab",
	"\U0001f600.example", string([]byte{0xff, 0xfe}), "\x00\x7f", strings.Repeat("\u202e", 300),
}

func TestHostileNames(t *testing.T) {
	list := map[string]rows.Volume{}
	for i, name := range hostile {
		list[name] = volume(uint64(i+1), 1, 1)
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		out := []map[string]any{}
		for name := range list {
			out = append(out, map[string]any{"domain": name, "bytes": 5, "bytes_sent": 5})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"domains": out, "total": len(list), "sum": rows.Volume{Bytes: 5}})
	}
	server := httptest.NewServer(http.HandlerFunc(answer))
	defer server.Close()
	o := options(server.URL)
	for _, o.JSON = range []bool{false, true} {
		var out bytes.Buffer
		o.Out = &out
		if err := Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "\n"); o.JSON && n != len(list) || !o.JSON && n != len(list)+1 {
			t.Errorf("%d lines of %d names", n, len(list))
		}
		for _, r := range out.String() {
			if r != '\n' && (r < ' ' || r > '~') {
				t.Fatalf("%q is printed", r)
			}
		}
		for line := range strings.Lines(out.String()) {
			if o.JSON && !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	}
	m := town(80, 24)
	m.take(0, totals(20, list))
	m.err = errors.New(hostile[0])
	for _, size := range []int{10, 40, 80, 120} {
		m.Update(tea.WindowSizeMsg{Width: size, Height: 24})
		checkFrame(t, m, m.View().Content)
	}
	if got := Clean("a\u202eb\xff\x1b"); got != `a\u{202e}b\u{fffd}\u{1b}` {
		t.Errorf("clean is %s", got)
	}
}

func options(url string) Options {
	return Options{Peer: Peer{URL: url}, View: "domains", Sort: "bytes", Every: time.Second, Once: true, Out: &bytes.Buffer{}}
}

const oneDomain = `{"domains":[{"domain":"a.example","bytes_sent":7,"bytes_received":5,"bytes":12,"packets_sent":1,"packets_received":1,"connections":1,"accesses":1}],"count":1,"total":1,"sort":"bytes","sum":{"bytes":12}}`

// TestPeers asks peers that answer well and badly. Each error names the peer, and none
// a secret.
func TestPeers(t *testing.T) {
	const token = "s3cret-token"
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good/api/v1/domains":
			fmt.Fprint(w, oneDomain)
		case "/auth/api/v1/domains":
			if user, password, _ := r.BasicAuth(); r.Header.Get("Authorization") != "Bearer "+token && (user != "u" || password != "hunter2") {
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"error":{"code":"UNAUTHENTICATED","message":"this takes a login"}}`)
				return
			}
			fmt.Fprint(w, oneDomain)
		case "/moved/api/v1/domains":
			http.Redirect(w, r, "/good/api/v1/domains", http.StatusFound)
		case "/page/api/v1/domains":
			fmt.Fprint(w, "<html>")
		case "/other/api/v1/domains":
			fmt.Fprint(w, `{"status":"ok"}`)
		case "/negative/api/v1/domains":
			fmt.Fprint(w, `{"domains":[{"bytes":-1}],"total":1}`)
		case "/angry/api/v1/domains":
			http.Error(w, "\x1b[31mno\nmore", http.StatusServiceUnavailable)
		default:
			http.NotFound(w, r)
		}
	})
	open, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer open.Close()
	defer secure.Close()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	tokenFile := file("token", token+"\n")
	gone := httptest.NewServer(handler)
	gone.Close()
	withUser := strings.Replace(open.URL, "http://", "http://u:hunter2@", 1)
	for name, test := range map[string]struct {
		peer  Peer
		usage bool
		says  []string // nothing: it works
	}{
		"good":            {Peer{URL: open.URL + "/good/"}, false, nil},
		"token":           {Peer{URL: open.URL + "/auth", Token: token + "\n"}, false, nil},
		"token file":      {Peer{URL: secure.URL + "/auth", TokenFile: tokenFile, CAFile: ca}, false, nil},
		"user":            {Peer{URL: withUser + "/auth"}, false, nil},
		"no token":        {Peer{URL: open.URL + "/auth"}, false, []string{"401", "this takes a login", "-token-file", open.URL}},
		"user, not found": {Peer{URL: withUser}, false, []string{"404", "http://u:xxxxx@"}},
		"wrong token":     {Peer{URL: open.URL + "/auth", Token: "hunter2"}, false, []string{"401", open.URL}},
		"other CA":        {Peer{URL: secure.URL + "/good"}, false, []string{"certificate", secure.URL}},
		"refused":         {Peer{URL: gone.URL}, false, []string{"connection refused", gone.URL}},
		"moved":           {Peer{URL: open.URL + "/moved"}, false, []string{"302", open.URL}},
		"page":            {Peer{URL: open.URL + "/page"}, false, []string{"no list of traffic", open.URL}},
		"other":           {Peer{URL: open.URL + "/other"}, false, []string{"no list of traffic", open.URL}},
		"negative":        {Peer{URL: open.URL + "/negative"}, false, []string{"no list of traffic", open.URL}},
		"angry":           {Peer{URL: open.URL + "/angry"}, false, []string{"503", `\u{1b}[31mno`}},
		"no URL":          {Peer{URL: "localhost:9854"}, true, []string{"http://HOST:PORT", "localhost:9854"}},
		"file URL":        {Peer{URL: "file:///etc/passwd"}, true, []string{"http://HOST:PORT"}},
		"broken URL":      {Peer{URL: "http://u:hunter2@[::1"}, true, []string{"http://HOST:PORT"}},
		"plain token":     {Peer{URL: "http://192.0.2.1:80", Token: token}, true, []string{"use https", "192.0.2.1"}},
		"two tokens":      {Peer{URL: open.URL, Token: "a\nb"}, true, []string{"line ends"}},
		"no file":         {Peer{URL: open.URL, TokenFile: dir + "/absent"}, true, []string{"-token-file", "absent"}},
		"no CA":           {Peer{URL: secure.URL, CAFile: tokenFile}, true, []string{"-ca-file", "no certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options("")
			o.Peer = test.peer
			err := Run(t.Context(), o)
			text := o.Out.(*bytes.Buffer).String()
			if test.says == nil {
				if err != nil || !strings.Contains(text, "a.example") || !strings.Contains(text, " 12") {
					t.Errorf("%v; printed %q", err, text)
				}
				return
			}
			if err == nil {
				t.Fatalf("no error; printed %q", text)
			}
			if errors.Is(err, ErrUsage) != test.usage {
				t.Errorf("a mistake of usage: %v; %v", !test.usage, err)
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not say %s", err, part)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), token) {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
}

// TestPrinted looks at what scripts get: totals at once, rates after a while, lines of
// JSON for every window until the end.
func TestPrinted(t *testing.T) {
	windows := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		windows++
		if r.URL.Query().Get("host") != "" && r.URL.Query().Get("host") != "web-1" {
			http.Error(w, "no such host", http.StatusNotFound)
			return
		}
		w.Header().Set(windowEnd, fmt.Sprint(noon.Add(time.Duration(windows)*5*time.Second).UnixNano()))
		v := volume(100*uint64(windows), 1000*uint64(windows), uint64(windows))
		_ = json.NewEncoder(w).Encode(map[string]any{"protocols": []any{
			struct {
				Protocol string `json:"protocol"`
				rows.Volume
			}{"https", v}, struct {
				Protocol string `json:"protocol"`
				rows.Volume
			}{"dns", volume(1, 1, 3)},
		}, "total": 2, "sum": v})
	}))
	defer server.Close()
	o := options(server.URL)
	o.View, o.Every = "protocols", 100*time.Millisecond
	run := func(name string, ctx context.Context) {
		t.Helper()
		var out bytes.Buffer
		o.Out, windows = &out, 0
		if err := Run(ctx, o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, name, out.String())
	}
	run("once.txt", t.Context())
	o.Sort = "connections"
	run("once-connections.txt", t.Context())
	o.Sort, o.Rows, o.Peer.Host = "bytes", 1, "web-1"
	run("once-one.txt", t.Context())
	o.Rows, o.Over, o.Filter = 0, 7*time.Second, "TTP"
	run("once-rates.txt", t.Context())
	o.JSON = true
	run("once.json", t.Context())

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &ender{lines: 3, cancel: cancel}
	o.Once, o.Out, o.Over = false, out, 10*time.Second
	if err := Run(ctx, o); err != nil {
		t.Fatal(err)
	}
	var last jsonLine
	lines := strings.Split(strings.TrimSpace(out.text.String()), "\n")
	if err := json.Unmarshal([]byte(lines[2]), &last); err != nil || last.Rates == nil || last.Rates.Bytes != 220 || last.Name != "https" {
		t.Errorf("%v: %s", err, lines[2])
	}
}

// TestNothingNew asks a peer that says so where it has no newer window.
func TestNothingNew(t *testing.T) {
	whole, tag := 0, `"1"`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		whole++
		fmt.Fprint(w, strings.ReplaceAll(oneDomain, "domain", strings.TrimSuffix(filepath.Base(r.URL.Path), "s")))
	}))
	defer server.Close()
	s, err := newSource(Peer{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct {
		view, tag string
		whole     int
	}{{"domains", `"1"`, 1}, {"domains", `"1"`, 1}, {"protocols", `"1"`, 2}, {"domains", `"2"`, 3}, {"domains", `"2"`, 3}} {
		tag = test.tag
		found, err := s.ask(t.Context(), test.view)
		if err != nil || found.rows["a.example"].Bytes != 12 || whole != test.whole {
			t.Errorf("%d: %v, %+v, %d whole answers, want %d", i, err, found, whole, test.whole)
		}
	}
}

// ender cancels once it has so many lines.
type ender struct {
	text   bytes.Buffer
	lines  int
	cancel func()
}

func (e *ender) Write(p []byte) (int, error) {
	e.text.Write(p)
	if bytes.Count(e.text.Bytes(), []byte("\n")) >= e.lines {
		e.cancel()
	}
	return len(p), nil
}

// TestUsage refuses options that make no sense, and a page without a terminal.
func TestUsage(t *testing.T) {
	for says, change := range map[string]func(*Options){
		"-view":              func(o *Options) { o.View = "ports" },
		"-sort":              func(o *Options) { o.Sort = "size" },
		"-rows":              func(o *Options) { o.Rows = -1 },
		"-every":             func(o *Options) { o.Every = 0 },
		"-over":              func(o *Options) { o.Over = -1 },
		"is no terminal":     func(o *Options) { o.Once = false },
		"can show a page: u": func(o *Options) { o.Once, o.Out, o.Env = false, os.Stdin, []string{"TERM=dumb"} },
	} {
		o := options("http://127.0.0.1:1")
		change(&o)
		if err := Run(t.Context(), o); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
