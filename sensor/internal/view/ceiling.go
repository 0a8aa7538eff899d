package view

import (
	"unsafe"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// RowBytes bounds what a row takes on its way: its message, with the longest name
// and the histograms of its view, and its key in a map.
const RowBytes = int64(unsafe.Sizeof(netmonpb.Row{})+unsafe.Sizeof(netmonpb.Key{})+unsafe.Sizeof(netmonpb.Counters{})) +
	2*253 + 4*(int64(unsafe.Sizeof(netmonpb.Histogram{}))+13*8) + 128

// Rows is how many rows all views may have at once. A window may have as many that
// end with it besides.
func Rows(o Options) int64 { return 4*int64(max(o.MaxRows, 1)) + Figures(o) + maxReserved }

// Figures is how many of them VIEW_SENSOR may have.
func Figures(o Options) int64 { return int64(max(o.MaxRows, minFigures)) }

// maxReserved is for the rows that stand for many: a few per interface and
// direction. Hosts with hundreds of interfaces have some hundred rows more.
const maxReserved = 4096

// Ceiling bounds the memory of a Set, the rows of the open window aside.
func Ceiling(o Options) int64 {
	rows := int64(max(o.MaxRows, 1))
	limit := max(rows, minCandidates)
	row := int64(unsafe.Sizeof(row{})+unsafe.Sizeof(health{})) + 13*8 + 253 + (int64(unsafe.Sizeof(key{}))+9)*16/7
	const sketches = 192
	return 4*((rows+2*limit)*row+2*limit*8*9/4+limit*sketches) +
		Figures(o)*(int64(unsafe.Sizeof(figureRow{}))+(int64(unsafe.Sizeof(figure{}))+9)*16/7+128)
}
