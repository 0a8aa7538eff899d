// Package prefetch asks for memory before it is read.
package prefetch

import "unsafe"

// LineSize is how many bytes a cache line has on most CPUs, and at least.
const LineSize = 64

// Value asks for all of *p, which is no longer than a line.
func Value[T any](p *T) {
	first, last := unsafe.Pointer(p), unsafe.Sizeof(*p)-1
	Line(first)
	if uintptr(first)%LineSize+last >= LineSize {
		Line(unsafe.Add(first, last))
	}
}
