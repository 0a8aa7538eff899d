//go:build amd64 || arm64

package prefetch

import "unsafe"

// Line asks for the cache line at p and does not wait for it. A load would be
// waited for in the end: at a million flows that is four times slower.
//
//go:noescape
func Line(p unsafe.Pointer)
