package flow

import "math"

// elapsed is the time between two, 0 where it goes back. It may be longer than
// int64 holds.
func elapsed(from, to int64) uint64 {
	if to < from {
		return 0
	}
	return uint64(to) - uint64(from)
}

func duration(from, to int64) int64 { return int64(min(elapsed(from, to), math.MaxInt64)) }

// microseconds rounds up, so that a time stays on its side of a histogram's
// bound. It is at least 1: 0 stands for none.
func microseconds(from, to int64) uint32 {
	ns := elapsed(from, to)
	return uint32(min(max(ns/1000+min(ns%1000, 1), 1), math.MaxUint32))
}

// later is a time moved on, but not beyond int64.
func later(time, by int64) int64 {
	if time > math.MaxInt64-by {
		return math.MaxInt64
	}
	return time + by
}
