package packet

import (
	"encoding/binary"
	"fmt"
)

// Explain says in words what keeps Decode from a frame, "" where nothing does. It
// is for people who look at single frames, off every hot path.
func Explain(link Link, data []byte, wire uint32) string {
	var h Header
	switch h.Decode(link, data, wire) {
	case NotIP:
		return explainNotIP(link, data)
	case Malformed:
		return explainMalformed(link, data)
	case Unsupported:
		return fmt.Sprintf("link type %d", link)
	}
	return ""
}

// explainNotIP names what the link layer says it carries.
func explainNotIP(link Link, data []byte) string {
	start, field := 0, 0
	switch link {
	case LinkEthernet:
		start, field = ethernetHeader, 12
	case LinkSLL:
		start, field = sllHeader, 14
	case LinkSLL2:
		start, field = sll2Header, 0
	default:
		if len(data) == 0 {
			return "nothing captured"
		}
		return fmt.Sprintf("no IP by the rules of link type %d, first byte 0x%02x", link, data[0])
	}
	if len(data) < start {
		return fmt.Sprintf("link header of %d bytes cut off after %d", start, len(data))
	}
	t, behind := be16(data, field), ""
	for range maxNesting {
		if t != etherVLAN && t != etherQinQ && t != etherVLAN91 && t != etherVLAN92 {
			break
		}
		if len(data) < start+4 {
			return "VLAN tag cut off"
		}
		t, start, behind = be16(data, start+2), start+4, " behind a VLAN tag"
	}
	if t < minEtherType {
		if inner, _ := snap(data, start); inner != 0 {
			return fmt.Sprintf("SNAP, EtherType 0x%04x%s%s", uint16(inner), inner.name(), behind)
		}
		return "an 802.3 length, no EtherType" + behind
	}
	return fmt.Sprintf("EtherType 0x%04x%s%s", uint16(t), t.name(), behind)
}

// name is the protocol of an ethertype that is often seen, in parentheses.
func (t etherType) name() string {
	switch t {
	case etherIPv4, etherIPv6:
		return " (IP, cut off)"
	case 0x0806:
		return " (ARP)"
	case 0x0842:
		return " (Wake-on-LAN)"
	case 0x8035:
		return " (RARP)"
	case 0x8809:
		return " (slow protocols)"
	case 0x8863:
		return " (PPPoE discovery)"
	case etherMPLS, etherMPLSUp:
		return " (MPLS without IP)"
	case etherPPPoE:
		return " (PPPoE without IP)"
	case 0x888e:
		return " (EAPOL)"
	case 0x88cc:
		return " (LLDP)"
	case 0x88e5:
		return " (MACsec)"
	case 0x88f7:
		return " (PTP)"
	case 0x9000:
		return " (loopback test)"
	}
	return ""
}

// explainMalformed says what is wrong with an IP header.
func explainMalformed(link Link, data []byte) string {
	version, start, _ := network(link, data)
	size := ipv4Header
	if version == 6 {
		size = ipv6Header
	}
	ip := data[min(start, len(data)):]
	if len(ip) < size {
		return fmt.Sprintf("IPv%d header of %d bytes cut off after %d", version, size, len(ip))
	}
	if v := int(ip[0] >> 4); v != version {
		return fmt.Sprintf("version %d in the header, IPv%d by the link layer", v, version)
	}
	header, total := int(ip[0]&15)*4, binary.BigEndian.Uint16(ip[2:])
	if header < ipv4Header {
		return fmt.Sprintf("IPv4 header length %d, less than %d", header, ipv4Header)
	}
	return fmt.Sprintf("IPv4 total length %d, less than the header's %d", total, header)
}
