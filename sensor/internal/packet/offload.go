package packet

import "encoding/binary"

// MSS returns the maximum segment size that a SYN announces (RFC 9293, section
// 3.7.1), 0 where there is none. data is the frame that was decoded.
func (h *Header) MSS(data []byte) uint16 {
	const (
		optionEnd  = 0
		optionNone = 1
		optionMSS  = 2
	)
	if !h.TCP || h.TCPFlags&SYN == 0 {
		return 0
	}
	options := clip(data, uint64(h.tcpStart)+minTCPHeader, uint64(h.PayloadOffset))
	for len(options) >= 2 && options[0] != optionEnd {
		if options[0] == optionNone {
			options = options[1:]
			continue
		}
		length := int(options[1])
		if length < 2 || length > len(options) {
			break
		}
		if options[0] == optionMSS && length == 4 {
			return binary.BigEndian.Uint16(options[2:])
		}
		options = options[length:]
	}
	return 0
}

// WirePackets estimates how many packets on the wire a super-packet stands for
// (GRO, TSO): as many as its payload fills. mtu is that of the interface; mss, for
// TCP, the smaller of the two that the ends announced, or 0. It is 1 for all else.
func (h *Header) WirePackets(mss uint16, mtu uint32) uint32 {
	headers := h.Bytes - min(h.PayloadLength, h.Bytes)
	if h.Fragment != Whole || h.PayloadLength == 0 || headers >= mtu {
		return 1
	}
	fill := mtu - headers
	if h.TCP && mss > 0 {
		options := h.PayloadOffset - h.tcpStart - minTCPHeader // not in the MSS (RFC 9293, section 3.7.1)
		fill = min(fill, max(uint32(mss), options+1)-options)
	}
	return (h.PayloadLength-1)/fill + 1
}
