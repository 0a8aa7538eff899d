package top

import (
	"context"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// model is what is on the screen, and bubbletea's Model. It belongs to the goroutine
// that bubbletea calls it on.
type model struct {
	ask   func(ctx context.Context, view string) (*sample, error)
	ctx   context.Context // ends what is asked when the program ends
	peer  string
	every time.Duration
	now   func() time.Time
	fancy bool // the terminal takes UTF-8

	view      int // of views
	histories []*history
	trend     []float64 // bytes per second of everything, the newest last
	order     string
	filter    string
	typing    bool // the filter
	paused    bool
	help      bool
	lines     []line // of the view, filtered and sorted
	first     int    // line at the top
	width     int
	height    int

	err     error     // why the newest question has no answer
	changed time.Time // when the newest sample came
	round   int       // of asking; answers and ticks of former ones start no other
}

// maxTrend is how many rates the line at the top goes back.
const maxTrend = 120

func newModel(ctx context.Context, s *source, o Options) *model {
	m := &model{ask: s.ask, ctx: ctx, peer: s.shown, every: o.Every, now: time.Now, order: o.Sort, filter: o.Filter, view: slices.Index(views(), o.View)}
	for range views() {
		m.histories = append(m.histories, &history{over: o.Over})
	}
	return m
}

type (
	answered struct {
		view, round int
		sample      *sample
		err         error
	}
	due struct{ round int }
)

func (m *model) history() *history { return m.histories[m.view] }

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.question() }

// question begins a round: from now on only its answer asks again.
func (m *model) question() tea.Cmd {
	m.round++
	view, round := m.view, m.round
	return func() tea.Msg {
		s, err := m.ask(m.ctx, views()[view])
		return answered{view, round, s, err}
	}
}

// Update implements tea.Model.
func (m *model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	defer m.refresh()
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
	case answered:
		return m, m.answer(message)
	case due:
		if message.round == m.round && !m.paused {
			return m, m.question()
		}
	case tea.PasteMsg:
		if m.typing {
			m.filter = typed(m.filter, message.Content)
		}
	case tea.KeyPressMsg:
		if m.typing {
			m.typeKey(message)
			return m, nil
		}
		return m, m.key(message.String())
	}
	return m, nil
}

func (m *model) answer(a answered) tea.Cmd {
	if a.round != m.round {
		return nil
	}
	if m.err = a.err; a.err == nil {
		m.take(a.view, a.sample)
	}
	round := a.round
	return tea.Tick(m.every, func(time.Time) tea.Msg { return due{round} })
}

// take adds a sample to the history of a view.
func (m *model) take(view int, s *sample) {
	h := m.histories[view]
	was := h.last()
	if h.add(s); h.last() == was {
		return
	}
	m.changed = m.now()
	if sum := h.sum(); sum.known {
		m.trend = append(m.trend, sum.bytes)
		m.trend = m.trend[max(len(m.trend)-maxTrend, 0):]
	}
}

// refresh makes the lines that are on the screen.
func (m *model) refresh() {
	m.lines = m.history().lines(m.order, m.filter)
	m.first = max(min(m.first, len(m.lines)-m.room()), 0)
}

// maxFilter bounds what is typed, in bytes.
const maxFilter = 253

// typed adds printable ASCII to a filter, which is what names are shown in.
func typed(filter, text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	if len(filter)+len(text) > maxFilter {
		return filter
	}
	return filter + text
}

func (m *model) typeKey(k tea.KeyPressMsg) {
	switch k.String() {
	case "enter":
		m.typing = false
	case "esc", "ctrl+c":
		m.typing, m.filter = false, ""
	case "backspace":
		m.filter = m.filter[:max(len(m.filter)-1, 0)]
	case "ctrl+u":
		m.filter = ""
	default:
		m.filter = typed(m.filter, k.Text)
	}
	m.first = 0
}

// key does what a key says. Keys for columns are in columns.
func (m *model) key(key string) tea.Cmd {
	switch key {
	case "q", "ctrl+c":
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	case "?", "h", "f1":
		m.help = !m.help
	case "esc":
		if m.help {
			m.help = false
		} else {
			m.filter, m.first = "", 0
		}
	case "/":
		m.typing, m.help = true, false
	case "space":
		if m.paused = !m.paused; !m.paused {
			return m.question()
		}
	case "tab", "right", "l":
		return m.turn(m.view + 1)
	case "shift+tab", "left":
		return m.turn(m.view - 1)
	case "1", "2", "3":
		return m.turn(int(key[0] - '1'))
	case "up", "k":
		m.first--
	case "down", "j":
		m.first++
	case "pgup":
		m.first -= m.room()
	case "pgdown":
		m.first += m.room()
	case "home", "g":
		m.first = 0
	case "end", "G":
		m.first = len(m.lines)
	case "n":
		m.order, m.first = byName, 0
	default:
		for _, c := range columns() {
			if c.key != "" && c.key == key {
				m.order, m.first = c.sort, 0
			}
		}
	}
	return nil
}

// turn shows another view. Its figures are asked for at once, where nothing is
// paused or it was never seen.
func (m *model) turn(view int) tea.Cmd {
	n := len(views())
	m.view, m.first, m.help = (view+n)%n, 0, false
	if m.paused && m.history().last() != nil {
		return nil
	}
	return m.question()
}
