package names

// Limits bounds what an Observer may hold. Reaching one loses names, never
// packets, and is counted in Stats.
type Limits struct {
	// HeadFlows is how many TCP flows, and an eighth as many QUIC flows, may be
	// under observation. The oldest gives way.
	HeadFlows int
	// HeadBytes is the memory for first bytes of TCP flows that did not come in
	// one piece, and as much again for QUIC.
	HeadBytes int
	// DNSStreams is how many TCP flows of port 53 are followed.
	DNSStreams int
	// DNSFragments is how many fragmented UDP datagrams may be incomplete.
	DNSFragments int
	// DNSBytes is the memory for parts of DNS messages.
	DNSBytes int
	// DNSTransactions is how many queries may wait for their response.
	DNSTransactions int
	// DNSRows is how many rows Harvest.DNS may have; what is beyond adds to
	// one row without resolver and type.
	DNSRows int
	// Facts is how many facts, and as many own names and hints, one epoch may
	// have.
	Facts int
	// Covers is how many names of ECH configurations one epoch may have.
	Covers int
	// TextBytes is the memory for the names in one epoch's facts and own names.
	TextBytes int
	// QUICPackets is how many QUIC packets are decrypted in one epoch. Each
	// costs some microseconds, so this bounds what forged ones can cost.
	QUICPackets int
	// Patient looks for QUIC in every datagram of a UDP flow. Without it a UDP
	// flow that does not begin like QUIC is decided by its first datagram.
	Patient bool
}

// DefaultLimits is for a live shard: some 80 MB where every bound is reached at
// once, next to nothing without a flood.
func DefaultLimits() Limits {
	return Limits{
		HeadFlows:       65536,
		HeadBytes:       16 << 20,
		DNSStreams:      8192,
		DNSFragments:    1024,
		DNSBytes:        8 << 20,
		DNSTransactions: 32768,
		DNSRows:         4096,
		Facts:           200_000,
		Covers:          1024,
		TextBytes:       16 << 20,
		QUICPackets:     50_000,
	}
}

// ReplayLimits is for files, where exactness counts more than memory and time.
func ReplayLimits() Limits {
	return Limits{
		HeadFlows:       1 << 20,
		HeadBytes:       256 << 20,
		DNSStreams:      1 << 18,
		DNSFragments:    1 << 16,
		DNSBytes:        256 << 20,
		DNSTransactions: 1 << 20,
		DNSRows:         1 << 16,
		Facts:           1 << 24,
		Covers:          1 << 20,
		TextBytes:       1 << 30,
		QUICPackets:     1 << 30,
		Patient:         true,
	}
}
