// Package packet turns the bytes of a frame into a Header: which two ends, which
// protocol, how many IP bytes, where the payload starts. It is pure: no
// allocation, no errors, no logger, no clock.
package packet

// Header is what one frame says about itself. Decode fills every field; a
// Header may be reused from frame to frame. It holds no pointer: Payload takes
// the frame again.
type Header struct {
	// Src and Dst are the addresses of the outermost IP header. IPv4 stands in
	// its IPv6-mapped form (::ffff:a.b.c.d); Version tells the two apart.
	Src, Dst [16]byte

	// Hash is the flow table's: its Touch and Find set it, Decode leaves it.
	Hash uint64

	// Bytes counts the IP packet's bytes, header included, as they were on the
	// wire: never the captured length, never padding.
	Bytes uint32

	// Seq and Ack are TCP's, valid where TCP is true.
	Seq, Ack uint32

	// FragmentID is the identification field where Fragment is not Whole.
	FragmentID uint32

	// PayloadOffset is where the payload of TCP or UDP starts in the frame, and
	// PayloadLength how long it was on the wire; less of it may be captured.
	// Both are 0 for other protocols and later fragments.
	PayloadOffset, PayloadLength uint32

	tcpStart uint32 // of the TCP header in the frame, valid where TCP is true

	// SrcPort and DstPort are 0 for protocols without ports, for later
	// fragments and where fewer than four transport bytes were captured.
	SrcPort, DstPort uint16

	Version  uint8    // 4 or 6
	Protocol uint8    // IANA number after every extension header
	TCPFlags uint8    // byte 13 of the TCP header, valid where TCP is true
	Fragment Fragment // place of the packet in a fragmented one
	TCP      bool     // at least the first 14 bytes of a TCP header were captured

	// FragmentProtocol is the IPv4 header's own protocol number where Fragment
	// is not Whole: with the addresses and FragmentID it names the fragmented
	// packet (RFC 791). IPv6 names it without (RFC 8200, section 4.5): 0.
	FragmentProtocol uint8

	// What FragmentPayload gives out; valid where Fragment is not Whole.
	fragmentMore   bool
	fragmentOffset uint16 // bytes
	fragmentStart  uint32 // in the frame
	fragmentEnd    uint32 // likewise, by the IP header
}

// Fragment is the place of a packet in a fragmented one.
type Fragment uint8

// An IPv6 atomic fragment is Whole.
const (
	Whole Fragment = iota
	First
	Later
)

// TCP flag bits of Header.TCPFlags (RFC 9293, section 3.1).
const (
	FIN = 0x01
	SYN = 0x02
	RST = 0x04
	PSH = 0x08
	ACK = 0x10
)

// Link is a link type of the pcap registry, as files and rings give it.
type Link uint16

// The link types that Decode understands.
const (
	LinkNull      Link = 0
	LinkEthernet  Link = 1
	LinkPPP       Link = 9
	LinkRaw       Link = 101 // also 12 and 14
	LinkPPPHDLC   Link = 50
	LinkPPPoE     Link = 51
	LinkCiscoHDLC Link = 104
	LinkLoop      Link = 108
	LinkSLL       Link = 113
	LinkIPv4      Link = 228
	LinkIPv6      Link = 229
	LinkSLL2      Link = 276
)

// Reason says what became of a frame. Decoded is an IP packet; every other
// value is why it is not one.
type Reason uint8

// Reasons in their order of appearance in metrics. The string of each is the
// label value.
const (
	Decoded     Reason = iota
	NotIP              // no IP by the rules of the link layer: ARP, LLDP, ...
	Malformed          // says IP, but the header is cut off or contradicts itself
	Unsupported        // link type that Decode does not know
	NumReasons
)

var reasons = [NumReasons]string{
	Decoded:     "decoded",
	NotIP:       "not_ip",
	Malformed:   "malformed",
	Unsupported: "unsupported",
}

// String is the label value.
func (r Reason) String() string {
	if r < NumReasons {
		return reasons[r]
	}
	return "unknown"
}

// IANA protocol numbers of the transports with ports (DEFINITIONS 2.4).
const (
	protoTCP     = 6
	protoUDP     = 17
	protoDCCP    = 33
	protoSCTP    = 132
	protoUDPLite = 136
)

// HasPorts tells whether the packets of an IP protocol carry ports: TCP, UDP,
// DCCP, SCTP and UDP-Lite.
func HasPorts(protocol uint8) bool {
	switch protocol {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite:
		return true
	}
	return false
}
