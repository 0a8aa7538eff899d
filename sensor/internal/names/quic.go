package names

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// connectionID is the Destination Connection ID of a client's Initial packet,
// from which the keys of all its Initial packets come (RFC 9001, section 5.2).
type connectionID struct {
	version uint32
	n       uint8
	b       [20]byte
}

// quicVersion is what differs between the versions of QUIC.
type quicVersion struct {
	salt    *[20]byte
	label   string
	initial uint8 // packet type bits of an Initial
}

var (
	saltV1 = [20]byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}
	saltV2 = [20]byte{0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9}
	salt29 = [20]byte{0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99}
	salt23 = [20]byte{0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02}
)

// versionOf returns what is special about a version, and false for one whose
// Initial packets cannot be opened.
func versionOf(v uint32) (quicVersion, bool) {
	switch {
	case v == 1, v >= 0xff000021 && v <= 0xff000022: // RFC 9001, drafts 33 and 34
		return quicVersion{&saltV1, "quic ", 0}, true
	case v == 0x6b3343cf: // RFC 9369
		return quicVersion{&saltV2, "quicv2 ", 1}, true
	case v >= 0xff00001d && v <= 0xff000020: // drafts 29 to 32
		return quicVersion{&salt29, "quic ", 0}, true
	case v >= 0xff000017 && v <= 0xff00001c: // drafts 23 to 28
		return quicVersion{&salt23, "quic ", 0}, true
	}
	return quicVersion{}, false
}

// looksQUIC says whether a datagram begins with a long header of some version
// of QUIC, one that only negotiates a version included.
func looksQUIC(b []byte) bool {
	if len(b) < 7 || b[0]&0x80 == 0 {
		return false
	}
	v := binary.BigEndian.Uint32(b[1:])
	if _, ok := versionOf(v); ok {
		return true
	}
	return v == 0 || // version negotiation (RFC 9000, section 17.2.1)
		v&0x0f0f0f0f == 0x0a0a0a0a || // reserved to be refused (section 15)
		v>>8 == 0xff0000 || v>>8 == 0xfaceb0 || // drafts, mvfst
		v>>24 == 'Q' || v>>24 == 'T' // Google's
}

// longHeader is a packet with a long header (RFC 9000, section 17.2).
type longHeader struct {
	id      connectionID
	initial bool
	// payload is where the packet number starts, still under protection, and
	// end where the packet ends, both in the datagram.
	payload, end int
}

// parseLong reads the long header at offset at. It returns false where nothing
// more can be read from the datagram.
func parseLong(b []byte, at int) (h longHeader, ok bool) {
	r := reader{b: b[at:]}
	first := r.u8()
	h.id.version = uint32(r.u16())<<16 | uint32(r.u16())
	version, known := versionOf(h.id.version)
	if !known || first&0x80 == 0 {
		return h, false
	}
	id := r.take(int(r.u8()))
	if len(id) > len(h.id.b) {
		return h, false
	}
	h.id.n = uint8(copy(h.id.b[:], id))
	r.skip(int(r.u8())) // source connection id
	switch (first>>4&3 - version.initial) & 3 {
	case 0:
		h.initial = true
		r.skip(r.varint()) // token
	case 3: // Retry has neither length nor anything behind it
		return h, false
	}
	n := r.varint()
	h.payload = len(b) - len(r.b)
	h.end = h.payload + n
	return h, !r.bad && n <= len(r.b)
}

// varint reads a variable-length integer (RFC 9000, section 16). One that does
// not fit a datagram is read as bad.
func (r *reader) varint() int {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	size := 1 << (r.b[0] >> 6)
	var v uint64
	for i, c := range r.take(size) {
		if i == 0 {
			c &= 0x3f
		}
		v = v<<8 | uint64(c)
	}
	if v > 1<<30 {
		r.b, r.bad = nil, true
		return 0
	}
	return int(v)
}

// initialKeys open the Initial packets of a client.
type initialKeys struct {
	aead cipher.AEAD
	hp   cipher.Block
	iv   [12]byte
}

// clientKeys makes the keys of a client's Initial packets.
func clientKeys(id *connectionID) (k initialKeys, err error) {
	key, iv, hp, err := clientSecrets(id)
	if err != nil {
		return k, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return k, err
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return k, err
	}
	copy(k.iv[:], iv)
	k.hp, err = aes.NewCipher(hp)
	return k, err
}

// clientSecrets derives them by RFC 9001, section 5.2, or RFC 9369, section 3.3.
func clientSecrets(id *connectionID) (key, iv, hp []byte, err error) {
	v, _ := versionOf(id.version)
	if v.salt == nil {
		return nil, nil, nil, errVersion
	}
	initial, err := hkdf.Extract(sha256.New, id.b[:id.n], v.salt[:])
	if err != nil {
		return nil, nil, nil, err
	}
	client, err := expandLabel(initial, "client in", 32)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err1 := expandLabel(client, v.label+"key", 16)
	iv, err2 := expandLabel(client, v.label+"iv", 12)
	hp, err3 := expandLabel(client, v.label+"hp", 16)
	return key, iv, hp, errors.Join(err1, err2, err3)
}

var errVersion = errors.New("QUIC version without known keys")

// expandLabel is HKDF-Expand-Label of RFC 8446, section 7.1, without context.
func expandLabel(secret []byte, label string, n int) ([]byte, error) {
	info := make([]byte, 0, 32)
	info = append(info, byte(n>>8), byte(n), byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "...)
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(sha256.New, secret, string(info), n)
}

// opener holds the scratch for opening packets.
type opener struct{ header, plain []byte }

// open removes the protection of the Initial packet b (RFC 9001, section 5.4)
// whose packet number starts at pn. The result is valid until the next call; b
// is left as it is. It returns nil where the keys do not fit.
func (o *opener) open(k *initialKeys, b []byte, pn int) []byte {
	if len(b) < pn+4+16 {
		return nil
	}
	var mask [16]byte
	k.hp.Encrypt(mask[:], b[pn+4:pn+20])
	first := b[0] ^ mask[0]&0x0f
	n := int(first&3) + 1
	o.header = append(o.header[:0], b[:pn+n]...)
	o.header[0] = first
	nonce := k.iv
	for i := range n {
		o.header[pn+i] ^= mask[1+i]
		nonce[12-n+i] ^= o.header[pn+i]
	}
	plain, err := k.aead.Open(o.plain[:0], nonce[:], b[pn+n:], o.header)
	if err != nil {
		return nil
	}
	if cap(plain) > cap(o.plain) {
		o.plain = plain
	}
	return plain
}
