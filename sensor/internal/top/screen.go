package top

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// What the screen is dressed with. Bubbletea leaves colours out where NO_COLOR or
// the terminal says so; nothing is told by colour alone.
const (
	bold    = "\x1b[1m"
	dim     = "\x1b[2m"
	reverse = "\x1b[7m"
	red     = "\x1b[31m"
	green   = "\x1b[32m"
	yellow  = "\x1b[33m"
	cyan    = "\x1b[36m"
	plain   = "\x1b[m"
)

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	v.WindowTitle = "netmon top"
	return v
}

// Lines of the screen that are no rows: title, figures, tabs, head, foot.
const furniture = 5

// room is how many rows the screen has.
func (m *model) room() int { return max(m.height-furniture, 1) }

// screen is exactly height lines of at most width columns.
func (m *model) screen() string {
	if m.width < 1 || m.height < 1 {
		return ""
	}
	out := []string{m.title(), m.figures(), m.tabs()}
	if m.help {
		out = append(out, m.helpLines()...)
	} else {
		out = append(out, m.tableLines()...)
	}
	for len(out) < m.height-1 {
		out = append(out, "")
	}
	out = append(out[:max(m.height-1, 0)], m.foot())
	return strings.Join(out, "\n")
}

// A strip is a line in the making that never becomes wider than the screen.
type strip struct {
	text strings.Builder
	left int // columns
}

func (m *model) strip() *strip { return &strip{left: m.width} }

// add puts clean text at the end, dressed.
func (s *strip) add(style, text string) *strip {
	text = cut(text, s.left)
	s.left -= len(text)
	if style == "" || text == "" {
		s.text.WriteString(text)
	} else {
		s.text.WriteString(style + text + plain)
	}
	return s
}

// end puts text at the right edge where there is room for all of it.
func (s *strip) end(style, text string) *strip {
	if len(text) < s.left {
		s.add("", strings.Repeat(" ", s.left-len(text))).add(style, text)
	}
	return s
}

func (s *strip) String() string { return s.text.String() }

func (m *model) title() string {
	s := m.strip().add(bold, "netmon top").add("", "  ").add(cyan, Clean(m.peer))
	if last := m.history().last(); last != nil {
		s.end(dim, last.at.UTC().Format("15:04:05 UTC"))
	}
	return s.String()
}

// figures is the line of what everything together does.
func (m *model) figures() string {
	h := m.history()
	s := m.strip()
	sum := h.sum()
	if !sum.known {
		if h.last() == nil {
			return s.add(dim, "asking").String()
		}
		return s.add(dim, "totals so far; rates come with the next window").String()
	}
	for i, f := range []struct {
		value float64
		unit  string
	}{{sum.bytesReceived, "B/s in"}, {sum.bytesSent, "B/s out"}, {sum.packets, "packets/s"}, {sum.connections, "connections/s"}} {
		if i > 0 {
			s.add("", "  ")
		}
		s.add(bold, short(f.value)).add("", " "+f.unit)
	}
	if m.fancy && s.left > 12 {
		n := min(s.left-3, 40)
		s.text.WriteString("   " + green + m.spark(n) + plain)
	}
	return s.String()
}

// spark is the trend as blocks, n columns of UTF-8.
func (m *model) spark(n int) string {
	trend := m.trend[max(len(m.trend)-n, 0):]
	most := 0.0
	for _, v := range trend {
		most = max(most, v)
	}
	blocks := []rune("▁▂▃▄▅▆▇█")
	out := make([]rune, 0, n)
	for _, v := range trend {
		step := 0
		if most > 0 {
			step = int(v / most * float64(len(blocks)-1))
		}
		out = append(out, blocks[step])
	}
	return string(out)
}

func (m *model) tabs() string {
	s := m.strip()
	for i, name := range views() {
		text := fmt.Sprintf(" %d %s ", i+1, name)
		if i == m.view {
			s.add(bold+reverse, "["+strings.TrimSpace(text)+"]")
		} else {
			s.add("", text)
		}
		s.add("", " ")
	}
	switch {
	case m.typing:
		s.add("", " ").add(bold, "/"+m.filter+"_")
	case m.filter != "":
		s.add("", " ").add(yellow, "/"+m.filter)
	}
	if h := m.history(); h.last() != nil {
		s.end(dim, fmt.Sprintf("%d of %d by %s", len(m.lines), h.last().total, m.order))
	}
	return s.String()
}

func (m *model) tableLines() []string {
	shown, nameWidth := fitting(m.width, m.history().span() > 0)
	head := m.strip()
	style := func(order string) string {
		if order == m.order {
			return bold + reverse
		}
		return reverse
	}
	title := map[string]string{"domains": "DOMAIN", "addresses": "ADDRESS", "protocols": "PROTOCOL"}[views()[m.view]]
	mark := func(text, order string) string {
		if order == m.order {
			return ">" + text
		}
		return text
	}
	head.add(style(byName), pad(mark(title, byName), nameWidth))
	for _, c := range shown {
		head.add(style(c.sort), fmt.Sprintf("%*s", c.width, mark(c.title, c.sort)))
	}
	out := []string{head.String()}
	lines := m.lines[min(m.first, len(m.lines)):]
	for i := range lines[:min(len(lines), m.room())] {
		l := &lines[i]
		row := m.strip()
		name := Clean(l.name)
		dress := ""
		if strings.HasPrefix(name, "(") {
			dress = dim
		}
		row.add(dress, pad(cut(name, nameWidth-1), nameWidth))
		for _, c := range shown {
			dress := ""
			switch {
			case c.rate != nil && !l.rate.known:
				dress = dim
			case c.sort == m.order:
				dress = bold
			}
			row.add(dress, fmt.Sprintf("%*s", c.width, c.cell(l)))
		}
		out = append(out, row.String())
	}
	return out
}

func pad(text string, width int) string { return fmt.Sprintf("%-*s", width, text) }

// staleAfter is when a peer that answers, but with nothing newer, is told of.
const staleAfter = time.Minute

func (m *model) foot() string {
	s := m.strip()
	switch {
	case m.err != nil:
		return s.add(red+bold, Clean(m.err.Error())).String()
	case m.paused:
		s.add(bold+yellow, "paused").add("", "  ")
	case !m.changed.IsZero() && m.now().Sub(m.changed) > staleAfter:
		s.add(bold+yellow, fmt.Sprintf("no new window for %v", m.now().Sub(m.changed).Round(time.Second))).add("", "  ")
	}
	for _, k := range []struct{ key, does string }{
		{"q", "quit"}, {"tab", "view"}, {"bsrpcatn", "sort"}, {"/", "filter"}, {"space", "pause"}, {"?", "help"},
	} {
		s.add(bold, k.key).add(dim, " "+k.does+"  ")
	}
	if span := m.history().span(); span > 0 {
		s.end(dim, "rates over "+span.Round(100*time.Millisecond).String())
	}
	return s.String()
}

func (m *model) helpLines() []string {
	out := []string{""}
	say := func(key, does string) {
		out = append(out, m.strip().add("", "  ").add(bold, pad(key, 14)).add("", does).String())
	}
	say("1 2 3, tab", "domains, addresses, protocols")
	for _, c := range columns() {
		if c.key != "" {
			say(c.key, "sort by "+c.title+" ("+c.sort+")")
		}
	}
	say("n", "sort by name")
	say("/", "show what contains a text; enter keeps it, esc clears it")
	say("up, down, pgdn", "scroll; home and end, too")
	say("space", "pause: ask nothing until space again")
	say("q", "quit")
	out = append(out, "")
	for _, text := range []string{
		"Rates are what totals grew by, from window to window. (other) is what was over",
		"the budget of rows, (retired) what was idle, (unattributed) what has no name.",
	} {
		out = append(out, m.strip().add(dim, "  "+text).String())
	}
	return out
}
