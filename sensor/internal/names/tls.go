package names

import "encoding/binary"

// headLimit is how many first bytes of each TCP direction, and of a QUIC CRYPTO
// stream, may hold a name (DEFINITIONS 5.2).
const headLimit = 16384

// verdict is what the first bytes of a direction say so far.
type verdict uint8

const (
	more  verdict = iota // could still become evidence
	dead                 // never will
	named                // shows a name, valid or not
)

// reading is how far the first bytes of a direction were read, so that each is
// read once, however small the segments are that bring them.
type reading struct {
	source Source // what they may show; 0: nothing was read
	at     uint16 // bytes read
	joined uint16 // TLS: bytes of the handshake message so far
	left   uint16 // bytes to come of the TLS record, or read of the HTTP line, at at
}

// helloRecords looks for the server name in TLS records (RFC 8446, section
// 5.1) at the start of b, from where r stands. A ClientHello may be cut into any
// number of records; they are put together in joined, which has room for
// headLimit bytes and may be the buffer of b: then what was read of b is
// overwritten.
func helloRecords(b, joined []byte, r *reading) (verdict, hello) {
	message := joined[:r.joined]
	copied := r.joined > 0
	for {
		if r.left == 0 {
			header := b[min(int(r.at), len(b)):]
			switch {
			case len(header) > 0 && header[0] != 22, r.at == 0 && len(header) > 1 && header[1] != 3:
				return dead, hello{}
			case len(header) >= 5:
				r.left = binary.BigEndian.Uint16(header[3:])
				r.at += 5
				continue
			}
			break
		}
		part := b[r.at:min(int(r.at)+int(r.left), len(b))]
		if len(part) == 0 {
			break
		}
		r.at += uint16(len(part))
		r.left -= uint16(len(part))
		switch {
		case len(message) == 0:
			message = part // the usual case: one record, nothing copied
		case !copied:
			message, copied = append(append(joined[:0], message...), part...), true
		default:
			message = append(message, part...)
		}
		if v, h := clientHello(message); v != more {
			return v, h
		}
	}
	if !copied {
		copy(joined, message)
	}
	r.joined = uint16(len(message))
	return more, hello{}
}

// hello is what a ClientHello shows.
type hello struct {
	name []byte // first host_name of server_name (RFC 6066, section 3), or nil
	ech  bool   // it carries another, encrypted, or pretends to
	// whole: it is there to its last byte. long: it is longer than headLimit.
	whole, long bool
}

// Extensions of a ClientHello.
const (
	extServerName = 0
	extECH        = 0xfe0d // encrypted_client_hello (RFC 9849, section 5)
)

// clientHello looks for the server name in a handshake message (RFC 8446,
// section 4.1.2), which counts only when it is there to its last byte.
func clientHello(b []byte) (verdict, hello) {
	if len(b) == 0 {
		return more, hello{}
	}
	if b[0] != 1 {
		return dead, hello{}
	}
	if len(b) < 4 {
		return more, hello{}
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if 4+n > headLimit {
		return dead, hello{long: true}
	}
	if len(b) < 4+n {
		return more, hello{}
	}
	h := readHello(b[4 : 4+n])
	if h.name == nil {
		return dead, h
	}
	return named, h
}

// readHello reads a whole ClientHello body. What follows a name may be damaged.
func readHello(b []byte) (h hello) {
	h.whole = true
	r := reader{b: b}
	r.skip(2 + 32)       // version, random
	r.skip(int(r.u8()))  // session id
	r.skip(int(r.u16())) // cipher suites
	r.skip(int(r.u8()))  // compression methods
	n := int(r.u16())    // of the extensions; some claim more than there are
	r.b = r.b[:min(n, len(r.b))]
	for named := false; len(r.b) >= 4; {
		kind, body := r.u16(), r.take(int(r.u16()))
		switch {
		case r.bad:
			return h
		case kind == extServerName && !named:
			h.name, named = hostName(body), true
		case kind == extECH:
			h.ech = len(body) > 0 && body[0] == 0 // outer; inner is never seen
		}
	}
	return h
}

func hostName(b []byte) []byte {
	r := reader{b: b}
	r.skip(2) // length of the list, which ends with the extension anyway
	for len(r.b) >= 3 {
		kind, name := r.u8(), r.take(int(r.u16()))
		if r.bad {
			return nil
		}
		if kind == 0 {
			return name[:len(name):len(name)]
		}
	}
	return nil
}

// reader takes bytes from the front of b. Once too many were asked for, bad is
// set and everything read is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) skip(n int) { r.take(n) }

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}
