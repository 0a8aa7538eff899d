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

// helloRecords looks for the server name in TLS records (RFC 8446, section
// 5.1) at the start of b. A ClientHello may be cut into any number of records;
// joined is scratch of headLimit bytes to put them together in.
func helloRecords(b, joined []byte) (verdict, []byte) {
	if len(b) >= 2 && b[1] != 3 {
		return dead, nil
	}
	var hello []byte
	for o, copied := 0, false; ; {
		if o >= len(b) {
			return more, nil
		}
		if b[o] != 22 {
			return dead, nil
		}
		if o+5 > len(b) {
			return more, nil
		}
		n := int(binary.BigEndian.Uint16(b[o+3:]))
		part := b[o+5 : min(o+5+n, len(b))]
		o += 5 + n
		switch {
		case len(hello) == 0:
			hello = part // the usual case: one record, nothing copied
		case !copied:
			hello, copied = append(append(joined[:0], hello...), part...), true
		default:
			hello = append(hello, part...)
		}
		if v, name := clientHello(hello); v != more {
			return v, name
		}
	}
}

// clientHello looks for the server name in a handshake message (RFC 8446,
// section 4.1.2), which counts only when it is there to its last byte.
func clientHello(b []byte) (verdict, []byte) {
	if len(b) == 0 {
		return more, nil
	}
	if b[0] != 1 {
		return dead, nil
	}
	if len(b) < 4 {
		return more, nil
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if 4+n > headLimit {
		return dead, nil
	}
	if len(b) < 4+n {
		return more, nil
	}
	name := serverName(b[4 : 4+n])
	if name == nil {
		return dead, nil
	}
	return named, name
}

// serverName returns the first host_name of the server_name extension (RFC
// 6066, section 3) of a whole ClientHello body, or nil.
func serverName(b []byte) []byte {
	r := reader{b: b}
	r.skip(2 + 32)       // version, random
	r.skip(int(r.u8()))  // session id
	r.skip(int(r.u16())) // cipher suites
	r.skip(int(r.u8()))  // compression methods
	n := int(r.u16())    // of the extensions; some claim more than there are
	for r.b = r.b[:min(n, len(r.b))]; len(r.b) >= 4; {
		kind, body := r.u16(), r.take(int(r.u16()))
		if r.bad {
			return nil
		}
		if kind == 0 {
			return hostName(body)
		}
	}
	return nil
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
