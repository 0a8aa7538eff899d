package names

import (
	"fmt"
	"strings"
)

// Patterns is a set of domain names and suffixes. A nil Patterns matches nothing.
type Patterns struct {
	exact map[string]bool
	below map[string]bool // parents of every name that matches
}

// NewPatterns reads patterns: "example.com" is that name, "*.example.com" every
// name below it, ".example.com" both.
func NewPatterns(patterns []string) (*Patterns, error) {
	p := &Patterns{exact: map[string]bool{}, below: map[string]bool{}}
	for _, s := range patterns {
		name, below := strings.CutPrefix(s, "*.")
		name, both := strings.CutPrefix(name, ".")
		if below && both {
			return nil, fmt.Errorf("pattern %q: no label between the dots", s)
		}
		text, ok := appendNormal(nil, []byte(name))
		if !ok {
			return nil, fmt.Errorf("pattern %q: not a domain name; write \"example.com\", \"*.example.com\" or \".example.com\"", s)
		}
		if !below {
			p.exact[string(text)] = true
		}
		if below || both {
			p.below[string(text)] = true
		}
	}
	return p, nil
}

// Match says whether name, in its normal form, matches one of the patterns.
func (p *Patterns) Match(name string) bool {
	if p == nil {
		return false
	}
	if p.exact[name] {
		return true
	}
	for len(p.below) > 0 {
		_, parent, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		if p.below[parent] {
			return true
		}
		name = parent
	}
	return false
}
