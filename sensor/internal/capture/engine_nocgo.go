//go:build !linux || !cgo

package capture

import "errors"

var (
	errMemory = errors.New("no memory for the ring")
	errNoCgo  = errors.New("built without cgo: live capture is not available, -pcap still works")
)

func openEngine(ringSize) (engine, int, []byte, error) { return nil, -1, nil, errNoCgo }
