package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

const (
	maxLine = 64 << 10 // bytes of a line of standard error; the rest of it is cut off

	// A plugin may log this many lines at once, and this many a second for long.
	lineBurst = 1000
	lineRate  = 100
)

// stderrLog turns what a plugin writes to standard error into log lines of its
// sink. go-plugin's own reader would do it, but a line such as {"@message":5}
// makes it panic, and so the sensor with it.
type stderrLog struct {
	logger    hclog.Logger
	failed    func(reason string, n uint64)
	panicking bool // a Go stack trace goes on to the end

	tokens   float64
	filled   time.Time
	dropped  int
	admitted time.Time // when dropped was last logged

	mu   sync.Mutex // guards last
	last string
}

// lastLine is the last thing the plugin said, stack traces apart.
func (l *stderrLog) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// copy reads lines until the end. It takes everything that comes, so that the
// plugin never blocks on its log.
func (l *stderrLog) copy(r io.Reader) {
	l.tokens, l.filled = lineBurst, time.Now()
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		cut := err == bufio.ErrBufferFull
		if len(line) > 0 {
			l.line(strings.TrimRight(string(line), "\r\n"), cut)
		}
		for err == bufio.ErrBufferFull {
			_, err = in.ReadSlice('\n')
		}
		if err != nil {
			l.admitDropped()
			return
		}
	}
}

func (l *stderrLog) line(text string, cut bool) {
	if text == "" {
		return
	}
	traced := l.panicking // then the first line of the trace says most
	level, message, args := l.parse(text)
	if cut {
		args = append(args, "cut", true)
	}
	if !traced {
		l.mu.Lock()
		l.last = message
		l.mu.Unlock()
	}
	if l.admit() {
		l.logger.Log(level, message, args...)
	}
}

// admit takes a token from the bucket.
func (l *stderrLog) admit() bool {
	now := time.Now()
	l.tokens = min(lineBurst, l.tokens+lineRate*now.Sub(l.filled).Seconds())
	l.filled = now
	if l.tokens < 1 {
		l.dropped++
		return false
	}
	l.tokens--
	if now.Sub(l.admitted) > time.Second {
		l.admitted = now
		l.admitDropped()
	}
	return true
}

func (l *stderrLog) admitDropped() {
	if l.dropped > 0 {
		l.failed(failedLines, uint64(l.dropped))
		l.logger.Warn("exporter logged too much, lines were left out", "lines", l.dropped)
		l.dropped = 0
	}
}

// parse understands hclog's JSON and, elsewhere, the usual prefixes.
func (l *stderrLog) parse(text string) (hclog.Level, string, []any) {
	var fields map[string]any
	if strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &fields) == nil {
		if message, ok := fields["@message"].(string); ok {
			return parseFields(message, fields)
		}
	}
	level := hclog.Info
	for prefix, its := range map[string]hclog.Level{
		"[TRACE]": hclog.Trace, "[DEBUG]": hclog.Debug, "[WARN]": hclog.Warn, "[ERROR]": hclog.Error, "[ERR]": hclog.Error,
	} {
		if strings.HasPrefix(text, prefix) {
			level = its
		}
	}
	l.panicking = l.panicking || strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
	if l.panicking {
		level = hclog.Error
	}
	return level, clean(text), nil
}

func parseFields(message string, fields map[string]any) (hclog.Level, string, []any) {
	level := hclog.Info
	if name, ok := fields["@level"].(string); ok {
		if level = hclog.LevelFromString(name); level == hclog.NoLevel || level == hclog.Off {
			level = hclog.Info
		}
	}
	var args []any
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if strings.HasPrefix(key, "@") {
			continue
		}
		switch value := fields[key].(type) {
		case string:
			args = append(args, clean(key), clean(value))
		case float64:
			args = append(args, clean(key), strconv.FormatFloat(value, 'f', -1, 64))
		case bool, nil:
			args = append(args, clean(key), value)
		default:
			args = append(args, clean(key), clean(fmt.Sprint(value)))
		}
	}
	return level, clean(message), args
}

// clean makes text fit for a terminal: what does not print is escaped.
func clean(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case hidden(r) || r == utf8.RuneError:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }
