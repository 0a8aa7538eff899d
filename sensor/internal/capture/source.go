// Package capture is where packets come from: AF_PACKET rings, and pcap and
// pcapng files. It is the only package that knows gopacket, cgo, BPF and
// netlink.
package capture

// Packet is one frame of a block. Data and the Packet itself are valid until
// the next call of the Source that gave it.
type Packet struct {
	Data []byte // as captured, from the link layer on

	// Time is the packet's time stamp, Unix nanoseconds, by the kernel or the file.
	Time int64

	// Clock never goes back within a Source, unless the system's clock is set
	// back by more than two seconds. Live it follows Time; in a file it is the
	// latest time of any frame up to this one, other shards' frames included, so
	// that all shards cut epochs at the same frame.
	Clock int64

	// Order puts the packets of all shards into one sequence: the frame number
	// (from 1) in a file, Time live.
	Order uint64

	Length    uint32 // bytes on the wire, by DEFINITIONS: at least len(Data)
	Link      uint16 // link type of the pcap registry
	Interface uint16 // index into the Interfaces of the capture; 0 in a file
	Type      Type
}

// Type is the kernel's packet type (linux/if_packet.h), or TypeUnknown in files.
type Type uint8

// Packet types.
const (
	TypeHost      Type = 0
	TypeBroadcast Type = 1
	TypeMulticast Type = 2
	TypeOtherHost Type = 3
	TypeOutgoing  Type = 4
	TypeUnknown   Type = 255
)

// Source yields blocks of packets to one shard. All calls come from the shard's
// goroutine, Close included.
type Source interface {
	// Next returns the next block. An empty block means that nothing came
	// within the poll timeout; Clock then says how far time has gone. The
	// error is io.EOF at the end of a file, anything else is fatal.
	Next() ([]Packet, error)

	// Ready tells whether Next has packets without waiting, as far as is known.
	// Packets given are invalid from here, as with Next.
	Ready() bool

	// Clock is the time up to which the source has given every packet: live,
	// the wall clock less the time a packet may wait in the ring; in a file,
	// the Clock of the last frame read.
	Clock() int64

	// Close releases the ring or file. Packets given are invalid from here.
	Close() error
}
