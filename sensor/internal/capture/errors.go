package capture

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// ErrPrivilege is what OpenRings returns, wrapped, where the process may not
// open a packet socket. It is an os.ErrPermission.
var ErrPrivilege = fmt.Errorf("no capability CAP_NET_RAW: %w", os.ErrPermission)

// ErrNoInterface is what a NoInterfaceError is.
var ErrNoInterface = errors.New("no such interface")

// NoInterfaceError names an interface that was asked for by its full name and
// does not exist.
type NoInterfaceError struct {
	Name    string
	Similar []string // interfaces with a similar name, the most similar first
	Others  []string // where there are none: the interfaces that exist
}

func newNoInterfaceError(name string, exist []string) *NoInterfaceError {
	near := max(2, len(name)/3)
	similar := slices.DeleteFunc(slices.Clone(exist), func(n string) bool { return distance(n, name) > near })
	slices.SortStableFunc(similar, func(a, b string) int { return distance(a, name) - distance(b, name) })
	e := &NoInterfaceError{Name: name, Similar: similar}
	if len(similar) == 0 {
		e.Others = exist
	}
	return e
}

func (e *NoInterfaceError) Error() string {
	switch {
	case len(e.Similar) > 0:
		return fmt.Sprintf("no interface %q; did you mean %s?", e.Name, strings.Join(e.Similar, " or "))
	case len(e.Others) > 0:
		return fmt.Sprintf("no interface %q; there are %s", e.Name, strings.Join(e.Others, ", "))
	}
	return fmt.Sprintf("no interface %q", e.Name)
}

// Unwrap makes it an ErrNoInterface.
func (e *NoInterfaceError) Unwrap() error { return ErrNoInterface }

// distance is how many letters to change, add or take away to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
