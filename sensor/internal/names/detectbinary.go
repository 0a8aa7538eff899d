package names

import (
	"bytes"
	"encoding/binary"
)

// zero is for payloads of TCP that begin with a zero: mostly the length of what
// follows in four bytes.
func (d *detector) zero() Application {
	b := d.b
	if len(b) < 8 {
		return AppUnknown
	}
	n := int(be32(b))
	switch be32(b[4:]) {
	case 0xfe534d42, 0xff534d42, 0xfd534d42, 0xfc534d42: // SMB 2 and 1, encrypted, compressed
		return AppSMB
	case 80877103, 80877104: // SSLRequest, GSSENCRequest
		return d.when(AppPostgres, n == 8 && d.n == 8)
	case 80877102: // CancelRequest
		return d.when(AppPostgres, n == 16 && d.n == 16)
	case 0x00030000, 0x00030002: // StartupMessage
		return d.when(AppPostgres, n == d.n && n > 9 && n <= 10000 && b[8] >= 'a' && b[8] <= 'z' && bytes.IndexByte(b[8:], 0) > 0)
	}
	if n >= d.n-4 && isKerberos(b[4:]) {
		return AppKerberos
	}
	if n == d.n-4 && isKafka(b[4:]) {
		return AppKafka
	}
	return d.when(AppOpenVPN, d.has16() && isOpenVPN(b[2:], d.n-2))
}

// isKafka says whether a request is for metadata or API versions, as a client's
// first one is, and has a client id.
func isKafka(b []byte) bool {
	if len(b) < 11 {
		return false
	}
	key, version, id := be16(b), be16(b[2:]), be16(b[8:])
	if key != 18 && key != 3 || version > 20 || id == 0 || id > 255 || len(b) < 10+id {
		return false
	}
	for _, c := range b[10 : 10+id] {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// tpkt is a connection request or confirm of X.224 in a TPKT of its length.
// Others use these too, but not with a cookie or a negotiation behind them.
func (d *detector) tpkt() Application {
	b := d.b
	if len(b) < 15 || b[1] != 0 || be16(b[2:]) != d.n || int(b[4]) != d.n-5 || b[5] != 0xe0 && b[5] != 0xd0 {
		return AppUnknown
	}
	if hasPrefix(b[11:], "Cookie: ") && b[5] == 0xe0 {
		return AppRDP
	}
	kind := b[11] // TYPE_RDP_NEG_REQ, _RSP, _FAILURE
	return d.when(AppRDP, b[13] == 8 && b[14] == 0 && (b[5] == 0xe0 && kind == 1 || b[5] == 0xd0 && (kind == 2 || kind == 3)))
}

// mqtt is CONNECT: its length in up to four bytes, then a name and a version.
func (d *detector) mqtt() Application {
	i := 1
	for i < 4 && i < len(d.b) && d.b[i] >= 0x80 {
		i++
	}
	b := d.b[min(i+1, len(d.b)):]
	switch {
	case hasPrefix(b, "\x00\x04MQTT") && len(b) > 6 && b[6] >= 4 && b[6] <= 5:
		return AppMQTT
	case hasPrefix(b, "\x00\x06MQIsdp\x03"):
		return AppMQTT
	}
	return AppUnknown
}

// ones is for payloads of TCP that begin with 0xff.
func (d *detector) ones() Application {
	if d.has("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") {
		b := d.b
		return d.when(AppBGP, len(b) >= 19 && be16(b[16:]) >= 19 && be16(b[16:]) <= 4096 && b[18] >= 1 && b[18] <= 5)
	}
	const will, dont, options = 251, 254, 50
	for i := range 2 { // IAC, verb, option
		if i*3+3 > len(d.b) {
			return AppUnknown
		}
		if c := d.b[i*3:]; c[0] != 0xff || c[1] < will || c[1] > dont || c[2] >= options {
			return AppUnknown
		}
	}
	return AppTelnet
}

// mysql is the greeting of a server: length, number 0, version 10, the
// server's version as text, the connection's number, salt, and a zero.
func (d *detector) mysql() Application {
	b := d.b
	if d.fromInitiator || len(b) < 24 || b[3] != 0 || b[4] != 10 || !isDigit(b[5]) {
		return AppUnknown
	}
	if n := int(b[0]) | int(b[1])<<8 | int(b[2])<<16; n != d.n-4 {
		return AppUnknown
	}
	end := bytes.IndexByte(b[5:min(len(b), 5+64)], 0)
	if end < 3 || bytes.IndexByte(b[5:5+end], '.') < 0 || 5+end+13 >= len(b) || b[5+end+13] != 0 {
		return AppUnknown
	}
	return AppMySQL
}

// mongodb is a message of its wire protocol: lengths little endian, then an
// operation.
func (d *detector) mongodb() Application {
	b := d.b
	if len(b) < 26 {
		return AppUnknown
	}
	le := binary.LittleEndian
	n := le.Uint32(b)
	if n < 26 || n > 48_000_000 || int(n) < d.n || d.fromInitiator && le.Uint32(b[8:]) != 0 {
		return AppUnknown
	}
	switch le.Uint32(b[12:]) {
	case 2013: // OP_MSG: flags, then a section of one document
		size := le.Uint32(b[21:])
		return d.when(AppMongoDB, le.Uint32(b[16:])&^0x10003 == 0 && b[20] == 0 && size >= 5 && size <= n-21)
	case 2004: // OP_QUERY: flags, then the name of a collection
		end := bytes.IndexByte(b[20:], 0)
		return d.when(AppMongoDB, end > 5 && bytes.HasSuffix(b[20:20+end], []byte(".$cmd")))
	}
	return AppUnknown
}

// memcached is a header of 24 bytes that knows its length: request or response,
// operation, key, extras, type 0, and all of the body.
func (d *detector) memcached() Application {
	b := d.b
	if len(b) < 24 || b[1] > 0x48 || b[5] != 0 || d.fromInitiator != (b[0] == 0x80) {
		return AppUnknown
	}
	body := int(be32(b[8:]))
	return d.when(AppMemcached, 24+body == d.n && body >= be16(b[2:])+int(b[4]) && be16(b[2:]) <= 250 && be16(b[6:]) < 0x100)
}

// isNFS says whether b is a call of NFS or of its mount protocol by RPC version 2.
func isNFS(b []byte) bool {
	if len(b) < 24 || be32(b[4:]) != 0 || be32(b[8:]) != 2 {
		return false
	}
	program, version := be32(b[12:]), be32(b[16:])
	return (program == 100003 || program == 100005) && version >= 1 && version <= 4
}

// berElement reads tag and length of an element of ASN.1 (X.690, section 8.1) and
// returns what is captured of its contents. n is the length that it claims.
func berElement(b []byte) (tag byte, contents []byte, n int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	tag, n = b[0], int(b[1])
	b = b[2:]
	if n >= 0x80 {
		size := n & 0x7f
		if size == 0 || size > 4 || size > len(b) {
			return 0, nil, 0
		}
		n = 0
		for _, c := range b[:size] {
			n = n<<8 | int(c)
		}
		b = b[size:]
	}
	return tag, b[:min(n, len(b))], n
}

// ldap is a sequence of a message number and one of LDAP's operations, of which
// each begins in a way of its own.
func (d *detector) ldap() Application {
	tag, b, _ := berElement(d.b)
	if tag != 0x30 {
		return AppUnknown
	}
	tag, id, n := berElement(b)
	if tag != 2 || n < 1 || n > 4 || len(id) < n || len(b) < 2+n {
		return AppUnknown
	}
	tag, b, _ = berElement(b[2+n:])
	var first string
	switch tag {
	case 0x60: // bind, of version 2 or 3
		return d.when(AppLDAP, hasPrefix(b, "\x02\x01\x03") || hasPrefix(b, "\x02\x01\x02"))
	case 0x61, 0x65: // bound, search done: a result
		first = "\x0a\x01"
	case 0x77: // extended request: the number of an operation
		return d.when(AppLDAP, len(b) > 5 && b[0] == 0x80 && hasPrefix(b[2:], "1.3"))
	case 0x78: // extended response
		first = "\x0a\x01"
	case 0x63: // search: a base, then its scope
		tag, base, n := berElement(b)
		return d.when(AppLDAP, tag == 4 && len(base) == n && n < 0x80 && hasPrefix(b[2+n:], "\x0a\x01"))
	default:
		return AppUnknown
	}
	return d.when(AppLDAP, hasPrefix(b, first))
}

// isKerberos says whether b is a request, reply or error of version 5.
func isKerberos(b []byte) bool {
	tag, b, _ := berElement(b)
	var version string
	switch tag {
	case 0x6a, 0x6c: // AS-REQ, TGS-REQ
		version = "\xa1\x03\x02\x01\x05\xa2\x03\x02\x01"
	case 0x6b, 0x6d, 0x7e: // AS-REP, TGS-REP, KRB-ERROR
		version = "\xa0\x03\x02\x01\x05\xa1\x03\x02\x01"
	default:
		return false
	}
	tag, b, _ = berElement(b)
	return tag == 0x30 && hasPrefix(b, version)
}
