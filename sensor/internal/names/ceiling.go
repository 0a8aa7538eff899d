package names

import (
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/index"
)

// MapBytes bounds what a map of n entries of a size takes: it is at worst
// half of seven eighths full, with a byte more per entry.
func MapBytes(n int, entry uintptr) int64 { return int64(n) * int64(entry+1) * 16 / 7 }

// Grown is what a slice may have that grew by appending, with the one that it grew
// from: a quarter more.
func Grown(bytes int64) int64 { return bytes * 9 / 4 }

// HarvestCeiling bounds the memory of a Harvest.
func (l Limits) HarvestCeiling() int64 {
	return Grown(int64(l.Facts)*int64(unsafe.Sizeof(Fact{})+unsafe.Sizeof(Own{})+unsafe.Sizeof(Hint{})) +
		int64(l.Covers)*int64(unsafe.Sizeof(Cover{})) +
		2*int64(l.DNSRows)*int64(unsafe.Sizeof(DNSCount{})) + // those without resolver come on top
		int64(l.TextBytes))
}

// Ceiling bounds the memory of an Observer of flows with so many slots, its harvest
// aside.
func (l Limits) Ceiling(slots int64) int64 {
	ring := func(n int, key, value uintptr) int64 {
		chunks := int64(n)/nodesPerChunk + 2
		return chunks*nodesPerChunk*int64(key+value+8) + Grown(24*chunks)
	}
	fifo := func(n int, key, value uintptr) int64 { return ring(n, key, value) + MapBytes(n, key+4) }
	chunks := slots/slotsPerChunk + 2
	return ring(l.HeadFlows, 4, unsafe.Sizeof(head{})) + chunks*int64(unsafe.Sizeof(slotChunk{})) + Grown(8*chunks) +
		fifo(max(l.HeadFlows/8, 1), 4, unsafe.Sizeof(quicFlow{})) +
		2*int64(l.HeadBytes) +
		fifo(l.DNSStreams, 4, unsafe.Sizeof(dnsStream{})) + fifo(l.DNSFragments, unsafe.Sizeof(fragmentKey{}), unsafe.Sizeof(datagram{})) +
		int64(l.DNSBytes) +
		ring(l.DNSTransactions, unsafe.Sizeof(transactionKey{}), unsafe.Sizeof(transaction{})) + index.Ceiling(int64(l.DNSTransactions)) +
		MapBytes(2*l.DNSRows, unsafe.Sizeof(rowKey{})+8) + MapBytes(l.Covers, 9) + MapBytes(l.Facts, unsafe.Sizeof(Hint{})+1)
}

// BookCeiling bounds the memory of a Book for so many addresses.
func BookCeiling(maxAddresses int) int64 {
	names := nameBound(maxAddresses)
	generations := func(max int, size uintptr) int64 { return 2 * tableCeiling((max+1)/2, size) }
	return generations(maxAddresses, unsafe.Sizeof(entry[answerKey, answer]{})) +
		generations(maxAddresses, unsafe.Sizeof(entry[[16]byte, byAddress]{})) +
		generations(min(maxAddresses, maxCoverNames), unsafe.Sizeof(entry[ID, uint64]{})) +
		index.Ceiling(int64(names)) + Grown(int64(names)*(16+4)) + int64(names)*textPerName +
		int64(names)*16 // a string is rounded up to a size of the allocator
}
