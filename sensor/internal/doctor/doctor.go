// Package doctor finds out what stands between a sensor and its work on this machine:
// what the process may, what the kernel can and what the machine has. It changes
// nothing; what it opens to try, it closes.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Levels of findings.
const (
	Fine    = "fine"
	Warning = "warning" // the sensor works, with less than it could have
	Problem = "problem" // it stands in the way
)

// A Finding is one thing that was looked at. Found says what is, and where that is
// not fine it is the cause; Cure is what to do about it, a command where there is one.
type Finding struct {
	Check string `json:"check"`
	Level string `json:"level"`
	Found string `json:"found"`
	Cure  string `json:"cure,omitempty"`
}

// A Report is all findings in the order in which they were made.
type Report []Finding

// OK says whether nothing stands in the way.
func (r Report) OK() bool { return r.count(Problem) == 0 }

func (r Report) count(level string) (n int) {
	for _, f := range r {
		if f.Level == level {
			n++
		}
	}
	return n
}

// fine, warn and fail make findings.
func fine(check, format string, args ...any) Finding {
	return Finding{Check: check, Level: Fine, Found: fmt.Sprintf(format, args...)}
}

func warn(check, cure, format string, args ...any) Finding {
	return Finding{check, Warning, fmt.Sprintf(format, args...), cure}
}

func fail(check, cure, format string, args ...any) Finding {
	return Finding{check, Problem, fmt.Sprintf(format, args...), cure}
}

// Write prints the report for people.
func (r Report) Write(w io.Writer) error {
	var out strings.Builder
	for _, f := range r {
		fmt.Fprintf(&out, "%-8s %-12s %s\n", f.Level, f.Check, indent(f.Found))
		if f.Cure != "" {
			fmt.Fprintf(&out, "%-8s %-12s -> %s\n", "", "", indent(f.Cure))
		}
	}
	switch problems, warnings := r.count(Problem), r.count(Warning); {
	case problems > 0:
		fmt.Fprintf(&out, "\n%d in the way of a sensor, %d to know of\n", problems, warnings)
	case warnings > 0:
		fmt.Fprintf(&out, "\nnothing in the way of a sensor, %d to know of\n", warnings)
	default:
		out.WriteString("\nnothing in the way of a sensor\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// indent puts further lines below the first.
func indent(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+strings.Repeat(" ", 22))
}

// WriteJSON prints the report for programs.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		OK       bool   `json:"ok"`
		Findings Report `json:"findings"`
	}{r.OK(), r})
}
