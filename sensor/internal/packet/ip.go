package packet

import "encoding/binary"

// IP protocol numbers that stand for another header before the transport.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAH          = 51
	extNone        = 59
	extDestination = 60
	extMobility    = 135
	extHIP         = 139
	extShim6       = 140
)

const (
	ipv4Header = 20
	ipv6Header = 40

	// maxExtensions bounds the walk along IPv6 extension headers (DEFINITIONS 2.3).
	maxExtensions = 32

	optionPad1  = 0x00
	optionJumbo = 0xc2 // RFC 2675
)

// ipv4 reads the IPv4 packet at data[start:] and what it carries.
func (h *Header) ipv4(data []byte, start int, wire uint32) Reason {
	if len(data) < start+ipv4Header {
		return Malformed
	}
	ip := data[start : start+ipv4Header]
	if ip[0]>>4 != 4 {
		return Malformed
	}
	header := uint32(ip[0]&15) * 4
	total := uint32(binary.BigEndian.Uint16(ip[2:]))
	if header < ipv4Header || total != 0 && total < header {
		return Malformed
	}
	length := wire - uint32(start)
	claimed := start + int(total)
	if total == 0 || total > length { // TSO leaves the length out; others lie
		total = length
	}
	h.Version = 4
	h.Bytes = total
	mapped(&h.Src, ip[12:16])
	mapped(&h.Dst, ip[16:20])
	protocol, at := ip[9], start+int(header)
	end := start + int(total)

	h.Fragment = Whole
	if f := binary.BigEndian.Uint16(ip[6:]); f&0x3fff != 0 { // more fragments, or an offset
		h.FragmentID = uint32(binary.BigEndian.Uint16(ip[4:]))
		h.FragmentProtocol = protocol
		h.fragment(f<<3, f&0x2000 != 0, at, max(claimed, end))
	}
	if protocol == extAH && h.Fragment != Later && len(data) >= at+8 {
		protocol, at = data[at], at+int(data[at+1])*4+8
	}
	h.Protocol = protocol
	h.transport(data, at, end)
	return Decoded
}

// ipv6 reads the IPv6 packet at data[start:] and what it carries.
func (h *Header) ipv6(data []byte, start int, wire uint32) Reason {
	if len(data) < start+ipv6Header {
		return Malformed
	}
	ip := data[start : start+ipv6Header]
	if ip[0]>>4 != 6 {
		return Malformed
	}
	length := wire - uint32(start)
	payload := uint32(binary.BigEndian.Uint16(ip[4:]))
	total := ipv6Header + payload
	protocol, at := ip[6], start+ipv6Header
	h.Version = 6
	h.Src = [16]byte(ip[8:24])
	h.Dst = [16]byte(ip[24:40])
	h.Fragment = Whole

	if protocol != protoTCP && protocol != protoUDP {
		var jumbo uint32
		protocol, at, jumbo = h.extensions(data, at, protocol, payload == 0)
		if jumbo != 0 {
			total = uint32(min(ipv6Header+uint64(jumbo), 1<<32-1))
		}
	}
	claimed := uint64(start) + uint64(total)
	if total > length || total == ipv6Header && protocol != extNone {
		total = length // lies, or a length of 0 that TSO or BIG TCP left out
	}
	h.Bytes = total
	end := start + int(total)
	if h.Fragment != Whole {
		h.fragmentEnd = uint32(min(max(claimed, uint64(end)), 1<<32-1))
	}
	h.Protocol = protocol
	h.transport(data, at, end)
	return Decoded
}

// extensions walks along the extension headers from the one of number next at
// data[at:], and returns the number and place of the first that is none, or of
// the last one known where the frame is cut off. jumbo is the length that a
// jumbo payload option gives; it is looked for only where wanted.
func (h *Header) extensions(data []byte, at int, next uint8, wanted bool) (protocol uint8, start int, jumbo uint32) {
	for range maxExtensions {
		if h.Fragment == Later || len(data) < at+8 {
			break
		}
		switch next {
		case extHopByHop, extRouting, extDestination, extMobility, extHIP, extShim6:
			size := (int(data[at+1]) + 1) * 8
			if wanted && next == extHopByHop {
				if j := jumboLength(data, at+2, at+size); j >= 0 {
					jumbo = uint32(j)
				}
			}
			next, at = data[at], at+size
		case extFragment:
			f := binary.BigEndian.Uint16(data[at+2:])
			if f&^6 != 0 { // else an atomic fragment is no fragment (RFC 6946)
				h.FragmentID = binary.BigEndian.Uint32(data[at+4:])
				h.FragmentProtocol = 0
				h.fragment(f&^7, f&1 != 0, at+8, 0)
			}
			next, at = data[at], at+8
		case extAH:
			next, at = data[at], at+(int(data[at+1])+2)*4
		default:
			return next, at, jumbo
		}
	}
	return next, at, jumbo
}

// jumboLength returns the length in the last jumbo payload option among the
// options of data[at:end], -1 where there is none.
func jumboLength(data []byte, at, end int) int64 {
	length := int64(-1)
	end = min(end, len(data))
	for at+1 < end {
		if data[at] == optionPad1 {
			at++
			continue
		}
		if data[at] == optionJumbo && data[at+1] == 4 && at+6 <= len(data) {
			length = int64(binary.BigEndian.Uint32(data[at+2:]))
		}
		at += 2 + int(data[at+1])
	}
	return length
}

// fragment notes the place of a fragment whose payload is data[start:end].
func (h *Header) fragment(offset uint16, more bool, start, end int) {
	h.Fragment = First
	if offset != 0 {
		h.Fragment = Later
	}
	h.fragmentOffset, h.fragmentMore = offset, more
	h.fragmentStart, h.fragmentEnd = uint32(start), uint32(end)
}

func mapped(a *[16]byte, ip []byte) {
	binary.LittleEndian.PutUint64(a[0:8], 0)
	binary.LittleEndian.PutUint32(a[8:12], 0xffff0000)
	binary.LittleEndian.PutUint32(a[12:16], binary.LittleEndian.Uint32(ip))
}
