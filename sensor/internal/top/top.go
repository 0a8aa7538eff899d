package top

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"

	"github.com/netmon-sensor/netmon/proto/rows"
)

// Options are the command line of `netmon-sensor top`.
type Options struct {
	Peer   Peer
	View   string        // domains, addresses or protocols
	Sort   string        // one of Orders
	Filter string        // text that names contain
	Rows   int           // that are printed; 0: all
	Every  time.Duration // between questions
	Over   time.Duration // that rates are taken over; for Once 0: totals only, at once
	Once   bool          // print one table
	JSON   bool          // print lines of JSON
	Out    io.Writer
	Env    []string
}

// Views and Orders are what Options may name.
func Views() []string  { return views() }
func Orders() []string { return orders() }

// ErrUsage is what an error about the options is.
var ErrUsage = errors.New("usage")

type usageError struct{ error }

func (usageError) Is(target error) bool { return target == ErrUsage }

func (o *Options) check() error {
	switch {
	case !slices.Contains(views(), o.View):
		return fmt.Errorf("-view %q is not one of %s", o.View, strings.Join(views(), ", "))
	case !slices.Contains(orders(), o.Sort):
		return fmt.Errorf("-sort %q is not one of %s", o.Sort, strings.Join(orders(), ", "))
	case o.Rows < 0:
		return errors.New("-rows is 0, for all, or more")
	case o.Every < 100*time.Millisecond || o.Every > time.Hour:
		return fmt.Errorf("-every %v is not between 100ms and 1h", o.Every)
	case o.Over < 0 || o.Over > time.Hour:
		return fmt.Errorf("-over %v is not between 0 and 1h", o.Over)
	}
	return nil
}

// Run shows what a peer counts until ctx ends or a key says so; with Once, and
// where the first question has no answer, it returns at once.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return usageError{err}
	}
	s, err := newSource(o.Peer)
	if err != nil {
		return usageError{err}
	}
	defer s.client.CloseIdleConnections()
	switch {
	case o.Once:
		return once(ctx, s, o)
	case o.JSON:
		return follow(ctx, s, o)
	}
	return live(ctx, s, o)
}

func live(ctx context.Context, s *source, o Options) error {
	if f, ok := o.Out.(*os.File); !ok || !isTerminal(f) || variable(o.Env, "TERM") == "" || variable(o.Env, "TERM") == "dumb" {
		return usageError{errors.New("standard output is no terminal that can show a page: use -once, or -json")}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(ctx, s, o)
	m.fancy = utf8Terminal(o.Env)
	first, err := s.ask(ctx, o.View) // a page that only says that nobody answers helps nobody
	if err != nil {
		return err
	}
	m.take(m.view, first)
	environment := slices.Clone(o.Env)
	if variable(o.Env, "NO_COLOR") != "" {
		environment = append(environment, "NO_COLOR=1") // any value counts (no-color.org)
	}
	_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithOutput(o.Out), tea.WithEnvironment(environment), tea.WithFPS(20)).Run()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return nil
	}
	return err
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// variable is the last value of a variable of an environment.
func variable(env []string, name string) (value string) {
	for _, e := range env {
		if v, found := strings.CutPrefix(e, name+"="); found {
			value = v
		}
	}
	return value
}

// utf8Terminal is what the locale says.
func utf8Terminal(env []string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToUpper(variable(env, name)); v != "" {
			return strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8")
		}
	}
	return false
}

// once prints what there is, with rates where Over says how long to wait for them.
func once(ctx context.Context, s *source, o Options) error {
	h := &history{over: o.Over}
	for {
		found, err := s.ask(ctx, o.View)
		if err != nil {
			return err
		}
		h.add(found)
		if h.span() >= o.Over {
			break
		}
		if !sleep(ctx, o.Every) {
			return ctx.Err()
		}
	}
	if o.JSON {
		return printJSON(o.Out, h, o)
	}
	return printTable(o.Out, h, o)
}

// follow prints lines for every sample until ctx ends.
func follow(ctx context.Context, s *source, o Options) error {
	h := &history{over: o.Over}
	for {
		found, err := s.ask(ctx, o.View)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		was := h.last()
		if h.add(found); h.last() != was {
			if err := printJSON(o.Out, h, o); err != nil {
				return err
			}
		}
		if !sleep(ctx, o.Every) {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (o *Options) lines(h *history) []line {
	lines := h.lines(o.Sort, o.Filter)
	if o.Rows > 0 {
		lines = lines[:min(o.Rows, len(lines))]
	}
	return lines
}

// printTable prints all columns, plain: totals, and rates where there are some.
func printTable(out io.Writer, h *history, o Options) error {
	w := bufio.NewWriter(out)
	lines := o.lines(h)
	width := minName
	for i := range lines {
		width = max(width, len(Clean(lines[i].name)))
	}
	shown := slices.DeleteFunc(columns(), func(c column) bool { return c.rate != nil && h.span() == 0 })
	fmt.Fprintf(w, "%-*s", width, strings.ToUpper(o.View))
	for _, c := range shown {
		fmt.Fprintf(w, " %*s", c.width, c.title)
	}
	w.WriteByte('\n')
	for i := range lines {
		fmt.Fprintf(w, "%-*s", width, Clean(lines[i].name))
		for _, c := range shown {
			fmt.Fprintf(w, " %*s", c.width, c.cell(&lines[i]))
		}
		w.WriteByte('\n')
	}
	return w.Flush()
}

// jsonLine is a row for programs. Rates are per second, null while not known.
type jsonLine struct {
	Time time.Time `json:"time"`
	View string    `json:"view"`
	Name string    `json:"name"`
	rows.Volume
	Rates *jsonRates `json:"rates"`
}

type jsonRates struct {
	Bytes         float64 `json:"bytes"`
	BytesSent     float64 `json:"bytes_sent"`
	BytesReceived float64 `json:"bytes_received"`
	Packets       float64 `json:"packets"`
	Connections   float64 `json:"connections"`
	Accesses      float64 `json:"accesses"`
}

// printJSON prints a line of ASCII for each row.
func printJSON(out io.Writer, h *history, o Options) error {
	w := bufio.NewWriter(out)
	for _, l := range o.lines(h) {
		one := jsonLine{Time: h.last().at.UTC(), View: o.View, Name: l.name, Volume: l.total}
		if r := l.rate; r.known {
			one.Rates = &jsonRates{r.bytes, r.bytesSent, r.bytesReceived, r.packets, r.connections, r.accesses}
		}
		text, err := json.Marshal(one)
		if err != nil {
			return err
		}
		for _, r := range string(text) {
			switch {
			case r < 0x7f:
				w.WriteRune(r)
			case r > 0xffff:
				r -= 0x10000
				fmt.Fprintf(w, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			default:
				fmt.Fprintf(w, `\u%04x`, r)
			}
		}
		w.WriteByte('\n')
	}
	return w.Flush()
}
