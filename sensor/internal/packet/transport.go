package packet

import "encoding/binary"

const (
	portsLength  = 4  // what every transport with ports starts with
	tcpFlagsEnd  = 14 // bytes of a TCP header up to and with the flags
	minTCPHeader = 20
	udpHeader    = 8
)

// transport reads what follows the IP headers, at data[at:]. end is where the
// IP packet ended on the wire. Protocol and the fragment's place are set before.
func (h *Header) transport(data []byte, at, end int) {
	h.SrcPort, h.DstPort = 0, 0
	h.PayloadOffset, h.PayloadLength = 0, 0
	h.Seq, h.Ack, h.TCPFlags, h.TCP = 0, 0, 0, false
	if h.Fragment != Whole {
		if h.Fragment == Later {
			return
		}
		if at != int(h.fragmentStart) { // AH or options before the transport
			h.fragmentEnd = h.fragmentStart
		}
	}
	captured := min(len(data), end)
	if at+portsLength > captured || !HasPorts(h.Protocol) {
		return
	}
	t := data[at:captured]
	h.SrcPort = binary.BigEndian.Uint16(t)
	h.DstPort = binary.BigEndian.Uint16(t[2:])
	switch {
	case h.Protocol == protoTCP && len(t) >= tcpFlagsEnd:
		h.TCP = true
		h.tcpStart = uint32(at)
		h.Seq = binary.BigEndian.Uint32(t[4:])
		h.Ack = binary.BigEndian.Uint32(t[8:])
		h.TCPFlags = t[13]
		if header := int(t[12]>>4) * 4; header >= minTCPHeader {
			h.payload(at+header, end)
		}
	case h.Protocol == protoUDP && len(t) >= udpHeader:
		h.payload(at+udpHeader, end)
	}
}

func (h *Header) payload(start, end int) {
	h.PayloadOffset = uint32(start)
	h.PayloadLength = uint32(max(0, end-start))
}
