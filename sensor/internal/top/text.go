package top

import (
	"fmt"
	"strconv"
	"strings"
)

// Clean makes text of others harmless to a terminal: what is not printable ASCII is
// shown as its code, so that nothing moves the cursor, changes colours, runs from
// right to left, or is wider than it seems. Names are ASCII on the wire.
func Clean(text string) string {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return escape(text)
		}
	}
	return text
}

func escape(text string) string {
	var w strings.Builder
	for _, r := range text {
		switch {
		case r >= ' ' && r <= '~':
			w.WriteRune(r)
		default:
			fmt.Fprintf(&w, `\u{%x}`, r)
		}
	}
	return w.String()
}

// cut shortens clean text to a width and says so with a tilde.
func cut(text string, width int) string {
	if len(text) <= width {
		return text
	}
	if width <= 0 {
		return ""
	}
	return text[:width-1] + "~"
}

// short is a number in five characters at most: 0, 0.25, 7.5, 42, 1.50k, 12.0M.
func short(v float64) string {
	switch {
	case v <= 0 || v != v:
		return "0"
	case v < 0.005:
		return "<0.01"
	case v < 9.995:
		return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
	case v < 999.5:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	units := "kMGTPEZ"
	for v >= 999.5 && units != "" {
		v /= 1000
		if v < 999.5 || len(units) == 1 {
			break
		}
		units = units[1:]
	}
	digits := 0
	switch {
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + units[:1]
}
