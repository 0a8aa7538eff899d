package names

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
	if len(name) == 0 || len(name) > maxName {
		return dst, false
	}
	start, label := len(dst), 0
	for i, c := range name {
		if c == '.' {
			if i == label || i-label > 63 {
				return dst[:start], false
			}
			label = i + 1
		}
		n := normal[c]
		if n == 0 {
			return dst[:start], false
		}
		dst = append(dst, n)
	}
	last := dst[start+label:]
	if len(last) == 0 || len(last) > 63 || isNumber(last) {
		return dst[:start], false
	}
	return dst, true
}

// normal maps a byte of a name to its normal form, and what is no byte of a
// name to 0.
var normal = [256]byte{
	'-': '-', '.': '.', '_': '_',
	'0': '0', '1': '1', '2': '2', '3': '3', '4': '4', '5': '5', '6': '6', '7': '7', '8': '8', '9': '9',
	'a': 'a', 'b': 'b', 'c': 'c', 'd': 'd', 'e': 'e', 'f': 'f', 'g': 'g', 'h': 'h', 'i': 'i', 'j': 'j',
	'k': 'k', 'l': 'l', 'm': 'm', 'n': 'n', 'o': 'o', 'p': 'p', 'q': 'q', 'r': 'r', 's': 's', 't': 't',
	'u': 'u', 'v': 'v', 'w': 'w', 'x': 'x', 'y': 'y', 'z': 'z',
	'A': 'a', 'B': 'b', 'C': 'c', 'D': 'd', 'E': 'e', 'F': 'f', 'G': 'g', 'H': 'h', 'I': 'i', 'J': 'j',
	'K': 'k', 'L': 'l', 'M': 'm', 'N': 'n', 'O': 'o', 'P': 'p', 'Q': 'q', 'R': 'r', 'S': 's', 'T': 't',
	'U': 'u', 'V': 'v', 'W': 'w', 'X': 'x', 'Y': 'y', 'Z': 'z',
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
