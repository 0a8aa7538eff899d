package flow

import (
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/index"
)

// Ceiling bounds the memory of a Table with a MaxFlows: as many ended flows may
// wait for their harvest as live, and either IP version may have left its chunks in
// pieces when the other one comes.
func Ceiling(maxFlows int) int64 {
	chunks := int64(2*maxFlows)/chunkSlots + 2
	return chunks*int64(unsafe.Sizeof(chunk[key4]{})+unsafe.Sizeof(chunk[key6]{})+4*8) +
		2*index.Ceiling(int64(maxFlows)) +
		maxFragments*int64(unsafe.Sizeof(fragmentKey{})+unsafe.Sizeof(firstFragment{})+1)*16/7 +
		holePlaces*int64(unsafe.Sizeof(place{})+unsafe.Sizeof(holes{})+2)
}

// RecordsCeiling bounds the memory of the records of one harvest.
func RecordsCeiling(maxFlows int) int64 {
	return (int64(2*maxFlows) + partRecords) * int64(unsafe.Sizeof(Record{}))
}
