//go:build !cgo

package capture

import (
	"errors"
	"testing"
)

func TestWithoutCgo(t *testing.T) {
	if _, err := OpenRings(Options{Interfaces: []string{"lo"}}); !errors.Is(err, errNoCgo) {
		t.Errorf("got %v", err)
	}
}
