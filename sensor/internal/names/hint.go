package names

import "bytes"

// Hint says why a flow shows no name of its own, so that one without a name can
// be told from another. A flow that has a name after all needs none: another
// direction or a retransmission may have shown it.
type Hint struct {
	Slot, Generation uint32
	Kind             HintKind
}

// HintKind is what a Hint says.
type HintKind uint8

const (
	// AddressLiteral: the name is an IP address.
	AddressLiteral HintKind = iota + 1
	// NameInvalid: the name is no valid domain name (DEFINITIONS 5.1).
	NameInvalid
	// HelloWithoutName: a whole ClientHello has no server name.
	HelloWithoutName
	// ParserLimit: what could have become a name was given up at a bound, at
	// headLimit too, or was cut off by the snap length.
	ParserLimit
)

// String is the kind in words for a label.
func (k HintKind) String() string {
	switch k {
	case AddressLiteral:
		return "address_literal"
	case NameInvalid:
		return "name_invalid"
	case HelloWithoutName:
		return "hello_without_name"
	case ParserLimit:
		return "parser_limit"
	}
	return ""
}

// hint notes a hint, each once in an epoch.
func (o *Observer) hint(slot, generation uint32, kind HintKind) {
	h := Hint{slot, generation, kind}
	if o.hinted[h] {
		return
	}
	if len(o.out.Hints) >= o.limits.Facts {
		o.out.Stats.HintsOverflowed++
		return
	}
	o.hinted[h] = true
	o.out.Hints = append(o.out.Hints, h)
}

// ignored is the hint for a name that is not valid.
func ignored(name []byte) HintKind {
	if isAddress(name) {
		return AddressLiteral
	}
	return NameInvalid
}

// isAddress says whether a name is spelled like an IP address: of version 4 in
// any number of numbers, or of version 6, in brackets or without, even where
// trimPort took its end for a port.
func isAddress(name []byte) bool {
	var low [64]byte
	if len(name) > len(low) {
		return false
	}
	b := low[:copy(low[:], bytes.TrimSuffix(name, []byte(".")))]
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	if bytes.Count(b, []byte(":")) >= 2 {
		b, _, _ = bytes.Cut(bytes.TrimSuffix(bytes.TrimPrefix(b, []byte("[")), []byte("]")), []byte("%")) // zone
		return len(bytes.Trim(b, "0123456789abcdef:.")) == 0
	}
	for len(b) > 0 {
		label, rest, more := bytes.Cut(b, []byte("."))
		if len(label) == 0 || !isNumber(label) {
			return false
		}
		if b = rest; !more {
			return true
		}
	}
	return false
}
