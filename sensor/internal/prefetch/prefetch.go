// Package prefetch asks for memory before it is read.
package prefetch

// LineSize is how many bytes a cache line has on most CPUs, and at least.
const LineSize = 64
