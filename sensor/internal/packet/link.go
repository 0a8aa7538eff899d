package packet

import "encoding/binary"

// An etherType is what IEEE 802 and IANA call one; below minEtherType the field
// is a length (IEEE 802.3, section 3.2.6).
type etherType uint16

const (
	minEtherType etherType = 0x0600
	etherIPv4    etherType = 0x0800
	etherIPv6    etherType = 0x86dd
	etherVLAN    etherType = 0x8100 // 802.1Q
	etherQinQ    etherType = 0x88a8 // 802.1ad
	etherVLAN91  etherType = 0x9100 // tags from before 802.1ad
	etherVLAN92  etherType = 0x9200
	etherMPLS    etherType = 0x8847
	etherMPLSUp  etherType = 0x8848 // upstream-assigned label
	etherPPPoE   etherType = 0x8864 // session stage
)

const (
	ethernetHeader = 14
	sllHeader      = 16
	sll2Header     = 20
	pppoeHeader    = 6

	// maxNesting is how many ethertypes in a row are looked at, the one of IP
	// included (DEFINITIONS 1.5).
	maxNesting = 16
)

// ARPHRD types of Linux cooked captures whose protocol field is no ethertype.
const (
	arphrdNetlink = 824
	arphrdIPGRE   = 778
)

// network finds the IP header: its version, and where in the frame it starts,
// at most len(data). Version and header need not agree.
func network(link Link, data []byte) (version, start int, reason Reason) {
	switch link {
	case LinkEthernet:
		if len(data) < ethernetHeader {
			return 0, 0, NotIP
		}
		t := be16(data, 12)
		if t < minEtherType {
			return afterLLC(data, ethernetHeader)
		}
		return afterEtherType(data, ethernetHeader, t)
	case 12, 14, LinkRaw:
		return byNibble(data, 0)
	case LinkIPv4, LinkIPv6:
		if len(data) == 0 {
			return 0, 0, NotIP
		}
		if link == LinkIPv4 {
			return 4, 0, Decoded
		}
		return 6, 0, Decoded
	case LinkNull, LinkLoop:
		return afterFamily(data)
	case LinkSLL:
		return afterCooked(data, sllHeader, 2, 14)
	case LinkSLL2:
		return afterCooked(data, sll2Header, 8, 0)
	case LinkPPP, LinkPPPHDLC, LinkPPPoE, LinkCiscoHDLC:
		return afterSerial(link, data)
	}
	return 0, 0, Unsupported
}

// afterEtherType goes through tags, labels and PPPoE from the ethertype t, whose
// payload starts at start.
func afterEtherType(data []byte, start int, t etherType) (int, int, Reason) {
	for depth := 0; depth < maxNesting; depth++ {
		switch t {
		case etherIPv4:
			return 4, start, Decoded
		case etherIPv6:
			return 6, start, Decoded
		case etherVLAN, etherQinQ, etherVLAN91, etherVLAN92:
			if len(data) < start+4 {
				return 0, 0, NotIP
			}
			t = be16(data, start+2)
			start += 4
			if t >= minEtherType {
				continue
			}
			if t, start = snap(data, start); t == 0 {
				return 0, 0, NotIP
			}
			depth = -1 // a frame within the frame, shorter by its header
		case etherMPLS, etherMPLSUp:
			return afterLabels(data, start)
		case etherPPPoE:
			return afterPPP(data, start+pppoeHeader)
		default:
			return 0, 0, NotIP
		}
	}
	return 0, 0, NotIP
}

func afterLLC(data []byte, start int) (int, int, Reason) {
	t, start := snap(data, start)
	if t == 0 {
		return 0, 0, NotIP
	}
	return afterEtherType(data, start, t)
}

// snap reads an LLC header with SNAP and OUI 0 (RFC 1042): the ethertype and
// where its payload starts, or 0.
func snap(data []byte, start int) (etherType, int) {
	if len(data) < start+8 || string(data[start:start+6]) != "\xaa\xaa\x03\x00\x00\x00" {
		return 0, 0
	}
	return be16(data, start+6), start + 8
}

// afterLabels skips an MPLS stack (RFC 3032). No field says what is below it.
func afterLabels(data []byte, start int) (int, int, Reason) {
	for len(data) >= start+4 {
		bottom := data[start+2]&1 != 0
		start += 4
		if bottom {
			return byNibble(data, start)
		}
	}
	return 0, 0, NotIP
}

func byNibble(data []byte, start int) (int, int, Reason) {
	if start < len(data) {
		if v := int(data[start] >> 4); v == 4 || v == 6 {
			return v, start, Decoded
		}
	}
	return 0, 0, NotIP
}

// afterFamily reads the address family of BSD loopback: 4 bytes in the byte
// order of whoever captured. The numbers of IPv6 are those of the BSDs, Darwin
// and Linux.
func afterFamily(data []byte) (int, int, Reason) {
	if len(data) < 4 {
		return 0, 0, NotIP
	}
	switch min(binary.LittleEndian.Uint32(data), binary.BigEndian.Uint32(data)) {
	case 2:
		return 4, 4, Decoded
	case 10, 23, 24, 28, 30:
		return 6, 4, Decoded
	}
	return 0, 0, NotIP
}

// afterCooked reads a Linux cooked header: device type and protocol stand at
// the given offsets.
func afterCooked(data []byte, header, device, protocol int) (int, int, Reason) {
	if len(data) < header {
		return 0, 0, NotIP
	}
	if d := be16(data, device); d == arphrdNetlink || d == arphrdIPGRE {
		return 0, 0, NotIP
	}
	return afterEtherType(data, header, be16(data, protocol))
}

// afterSerial reads the link types of serial lines: PPP bare, in HDLC-like
// framing (RFC 1662) or over Ethernet, and Cisco's HDLC.
func afterSerial(link Link, data []byte) (int, int, Reason) {
	framed := len(data) >= 2 && data[0] == 0xff && data[1] == 0x03
	cisco := len(data) >= 4 && (data[0] == 0x0f || data[0] == 0x8f)
	switch {
	case link == LinkPPPoE:
		return afterPPP(data, pppoeHeader)
	case cisco && link != LinkPPP:
		return afterEtherType(data, 4, be16(data, 2))
	case link == LinkCiscoHDLC && (!framed || len(data) < 4):
		return 0, 0, NotIP
	case framed:
		return afterPPP(data, 2)
	}
	return afterPPP(data, 0)
}

// afterPPP reads a PPP protocol number, which may be compressed to one byte
// (RFC 1661, section 6.5).
func afterPPP(data []byte, start int) (int, int, Reason) {
	var protocol uint16
	switch {
	case start < len(data) && data[start]&1 != 0:
		protocol = uint16(data[start])
		start++
	case start+2 <= len(data):
		protocol = uint16(be16(data, start))
		start += 2
	}
	switch protocol {
	case 0x0021:
		return 4, start, Decoded
	case 0x0057:
		return 6, start, Decoded
	}
	return 0, 0, NotIP
}

func be16(data []byte, at int) etherType {
	return etherType(binary.BigEndian.Uint16(data[at:]))
}
