//go:build !linux || !cgo

package capture

import "errors"

var errMemory = errors.New("no memory for the ring")

func openEngine(ringSize) (engine, int, []byte, error) { return nil, -1, nil, errNoCgo }
