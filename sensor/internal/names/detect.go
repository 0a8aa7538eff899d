package names

import "encoding/binary"

// detectBytes is how many bytes of a payload are looked at.
const detectBytes = 512

// DetectPayload returns the application that a payload of a TCP or UDP flow
// shows, or 0: it knows the first payload of each direction, and takes nothing
// for an answer that could be something else. responderPort only tells apart
// what looks the same (TLS inside from TLS, mDNS from DNS). It looks at the first
// detectBytes bytes, allocates nothing and keeps nothing.
func DetectPayload(protocol uint8, fromInitiator bool, responderPort uint16, payload []byte) Application {
	if len(payload) < 2 {
		return AppUnknown
	}
	var d detector // field by field: a literal is built elsewhere and copied
	d.b, d.n = payload[:min(len(payload), detectBytes)], len(payload)
	d.port, d.fromInitiator = responderPort, fromInitiator
	switch protocol {
	case 6:
		return d.tcp()
	case 17:
		return d.udp()
	}
	return AppUnknown
}

// detector is one payload: its first bytes and its length. A protocol is looked
// for only where the first byte is one of its own.
type detector struct {
	b             []byte
	n             int
	port          uint16
	fromInitiator bool
}

func (d *detector) tcp() (a Application) {
	switch c := d.b[0]; {
	case c >= 'A' && c <= 'Z':
		a = d.words()
	case c == 0:
		a = d.zero()
	case c == 3:
		a = d.tpkt()
	case c == 16:
		a = d.mqtt()
	case c == 19:
		a = d.when(AppBitTorrent, d.has("\x13BitTorrent protocol"))
	case c == 22:
		a = d.tls()
	case c == 0x30:
		if a = d.ldap(); a == AppUnknown {
			a = d.git()
		}
	case c == 0x80:
		if a = d.when(AppNFS, len(d.b) > 4 && isNFS(d.b[4:])); a == AppUnknown {
			a = d.memcached()
		}
	case c == 0x81:
		if a = d.when(AppSMB, d.has("\x81\x00\x00\x44\x20")); a == AppUnknown {
			a = d.memcached()
		}
	case c == 0xff:
		a = d.ones()
	default:
		a = d.signs()
	}
	if a == AppUnknown {
		a = d.inside()
	}
	return a
}

// inside looks for what does not show in the first byte.
func (d *detector) inside() Application {
	if a := d.mysql(); a != AppUnknown {
		return a
	}
	if a := d.mongodb(); a != AppUnknown {
		return a
	}
	if d.isSTUN() {
		return AppSTUN
	}
	if d.has16() && isDNS(d.b[2:], d.n-2, d.fromInitiator) {
		return d.dns()
	}
	return AppUnknown
}

// has16 says whether a payload begins with its length in two bytes.
func (d *detector) has16() bool {
	return int(binary.BigEndian.Uint16(d.b)) == d.n-2
}

func (d *detector) has(prefix string) bool { return hasPrefix(d.b, prefix) }

func (d *detector) when(a Application, is bool) Application {
	if is {
		return a
	}
	return AppUnknown
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

func be16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// tls is a record with the start of a ClientHello or a ServerHello. Of their
// length the first byte is 0, and their version is 3.x again.
func (d *detector) tls() Application {
	b := d.b
	if len(b) < 6 || b[1] != 3 || b[2] > 4 || be16(b[3:]) < 4 || be16(b[3:]) > 16384+256 || b[5] != 1 && b[5] != 2 {
		return AppUnknown
	}
	if len(b) > 6 && b[6] != 0 || len(b) > 9 && b[9] != 3 {
		return AppUnknown
	}
	return inTLS(d.port)
}

// isDNS says whether b is a DNS message of n bytes with one question: a query
// from an initiator, or a response from a responder.
func isDNS(b []byte, n int, query bool) bool {
	if len(b) < 17 {
		return false
	}
	flags := be16(b[2:])
	if query != (flags>>15 == 0) || flags>>11&15 != 0 || flags&0x40 != 0 || be16(b[4:]) != 1 {
		return false
	}
	additional := be16(b[10:])
	if query && (flags&0x8f != 0 || be16(b[6:]) != 0 || be16(b[8:]) != 0 || additional > 2) {
		return false
	}
	at := 12
	for b[at] != 0 {
		if b[at] > 63 {
			return false
		}
		end := at + 1 + int(b[at])
		if end >= len(b) {
			return false
		}
		for _, c := range b[at+1 : end] {
			if c <= ' ' || c >= 0x7f {
				return false
			}
		}
		at = end
	}
	if at+5 > len(b) || be16(b[at+1:]) == 0 || be16(b[at+1:]) > 260 || be16(b[at+3:])&0x7fff != classIN {
		return false
	}
	at += 5
	return !query || additional > 0 || at == n
}

// dns tells apart what has messages like DNS's.
func (d *detector) dns() Application {
	switch d.port {
	case 5353:
		return AppMDNS
	case 5355:
		return AppLLMNR
	case 137:
		return AppNetBIOS
	}
	return AppDNS
}
