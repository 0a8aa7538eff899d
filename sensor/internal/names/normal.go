package names

import (
	"bytes"
	"encoding/binary"
)

// maxName is the longest name in its normal form.
const maxName = 253

// appendNormal appends the normal form of name (ASCII lower case, no trailing
// dot) to dst, or returns dst as it was and false where name is no valid domain
// name. Nothing behind this function ever sees another byte than a-z 0-9 - _
// and the dot, so no name needs escaping in a label, a log line or a page.
func appendNormal(dst, name []byte) ([]byte, bool) {
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
	}
	if len(name) == 0 || len(name) > maxName || name[len(name)-1] == '.' {
		return dst, false
	}
	start, end := len(dst), len(dst)+len(name)
	dst = append(append(dst, name...), "aaaaaaaa"...)
	bad := normalWords(dst[start:])
	out := dst[start:end]
	if bad&highBits != 0 || hasLongLabel(out) || bad != 0 && isNumber(lastLabel(out)) {
		return dst[:start], false
	}
	return dst[:end], true
}

// normalWords makes the whole words of b their normal form. A high bit of bad says that
// a label is empty or has another byte than those of names, the bit below that a label
// begins with a digit.
func normalWords(b []byte) (bad uint64) {
	before := uint64(0x80) // the last byte of the word before was a dot, or there is none
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		low := w &^ highBits
		letter := low | 0x20*eachByte
		letters, digits := from(letter, 'a')&^from(letter, 'z'+1), from(low, '0')&^from(low, '9'+1)
		dots := ^not(low, '.')
		first := dots<<8 | before
		bad |= (^(letters|digits|dots)&not(low, '-')&not(low, '_') | w | dots&first) & highBits
		bad |= digits & first & highBits >> 1
		before = dots >> 56
		binary.LittleEndian.PutUint64(b, w|letters&highBits>>2)
	}
	return bad
}

// lastLabel returns what is behind the last dot.
func lastLabel(name []byte) []byte { return name[bytes.LastIndexByte(name, '.')+1:] }

func hasLongLabel(name []byte) bool {
	for len(name) > 63 {
		n := bytes.LastIndexByte(name[:64], '.')
		if n < 0 {
			return true
		}
		name = name[n+1:]
	}
	return false
}

// isNumber says whether the last label of a name makes it an address in one of
// its spellings: all digits, or 0x and hexadecimal digits.
func isNumber(label []byte) bool {
	hex := len(label) >= 2 && label[0] == '0' && label[1] == 'x'
	if hex {
		label = label[2:]
	}
	for _, c := range label {
		if (c < '0' || c > '9') && (!hex || c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// trimPort removes the spaces around the value of a Host header and ":port"
// behind the name.
func trimPort(host []byte) []byte {
	for len(host) > 0 && (host[0] == ' ' || host[0] == '\t') {
		host = host[1:]
	}
	for len(host) > 0 && (host[len(host)-1] == ' ' || host[len(host)-1] == '\t') {
		host = host[:len(host)-1]
	}
	i := len(host)
	for i > 0 && host[i-1] >= '0' && host[i-1] <= '9' {
		i--
	}
	if i > 0 && host[i-1] == ':' {
		return host[:i-1]
	}
	return host
}

// Eight bytes of a name are looked at as one word, without their high bits. The high
// bit of each byte says whether it is what a function looks for; the others say nothing.
const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// from finds the bytes that are c or more.
func from(low, c uint64) uint64 { return low + (0x80-c)*eachByte }

// not finds the bytes that are not c.
func not(low, c uint64) uint64 { return low ^ c*eachByte + 0x7f*eachByte }

// lowerWords makes whole words of b lower case and says in which bytes is a dot.
func lowerWords(b []byte) (dots uint64) {
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		low := w &^ highBits
		dots |= ^not(low, '.') &^ w & highBits
		binary.LittleEndian.PutUint64(b, w|from(low, 'A')&^from(low, 'Z'+1)&^w&highBits>>2)
	}
	return dots
}
