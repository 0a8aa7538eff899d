package packet

import "encoding/binary"

// Decode reads one frame. data is what was captured of it, wire its length on
// the wire (a smaller wire than len(data) is not believed). The Header means
// something only where the answer is Decoded. Nothing is kept of data.
func (h *Header) Decode(link Link, data []byte, wire uint32) Reason {
	wire = max(wire, uint32(len(data)))

	// Nearly every frame there is. The rest goes the long way, which knows
	// everything that this does.
	if link == LinkEthernet && len(data) >= ethernetHeader {
		switch etherType(binary.BigEndian.Uint16(data[12:])) {
		case etherIPv4:
			return h.ipv4(data, ethernetHeader, wire)
		case etherIPv6:
			return h.ipv6(data, ethernetHeader, wire)
		}
	}

	version, start, reason := network(link, data)
	switch {
	case reason != Decoded:
		return reason
	case version == 4:
		return h.ipv4(data, start, wire)
	default:
		return h.ipv6(data, start, wire)
	}
}

// Payload returns what was captured of the payload of TCP or UDP. data is the
// frame that was decoded; the payload is a part of it, clipped to the IP bytes,
// so that padding is none. It is empty where there is no payload.
func (h *Header) Payload(data []byte) []byte {
	return clip(data, uint64(h.PayloadOffset), uint64(h.PayloadOffset)+uint64(h.PayloadLength))
}

// FragmentPayload returns what was captured of a fragment, from behind the IP
// or fragment header on, and the length that it has by the IP header, even where
// that is more than was on the wire; its offset in the fragmented packet in bytes,
// and whether more fragments follow. A first fragment starts with the transport
// header; where other headers stand before that, payload is nil, as it is for
// packets that are no fragments.
func (h *Header) FragmentPayload(data []byte) (payload []byte, length, offset uint32, more bool) {
	if h.Fragment == Whole {
		return nil, 0, 0, false
	}
	payload = clip(data, uint64(h.fragmentStart), uint64(h.fragmentEnd))
	return payload, h.fragmentEnd - min(h.fragmentStart, h.fragmentEnd), uint32(h.fragmentOffset), h.fragmentMore
}

// clip returns data[from:to], as far as there is such.
func clip(data []byte, from, to uint64) []byte {
	to = min(to, uint64(len(data)))
	if from >= to {
		return nil
	}
	return data[from:to:to]
}
