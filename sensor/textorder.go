package sensor

import (
	"cmp"
	"slices"
)

// A textKey stands for something that is put into the order of its text.
type textKey struct {
	part uint64 // of the text, as a number
	at   int    // what it stands for
}

// sortTexts sorts by texts that are never all there: parts makes part n of the texts of a
// list, numbers that sort as their bytes do and are 0 beyond the end.
func sortTexts(list []textKey, parts func(list []textKey, n int)) {
	sortTextsFrom(0, list, make([]textKey, len(list)), parts)
}

// sortTextsFrom sorts texts of which the first n parts are the same.
func sortTextsFrom(n int, list, spare []textKey, parts func(list []textKey, n int)) {
	parts(list, n)
	sortParts(list, spare)
	for len(list) > 0 {
		same := 1
		for same < len(list) && list[same].part == list[0].part {
			same++
		}
		if same > 1 && list[0].part != 0 {
			sortTextsFrom(n+1, list[:same], spare, parts)
		}
		list = list[same:]
	}
}

// sortParts sorts by part, byte by byte, the lowest first. Bytes that are the same
// everywhere cost nothing. The content of spare is lost.
func sortParts(list, spare []textKey) {
	if len(list) < fewParts {
		slices.SortFunc(list, func(a, b textKey) int { return cmp.Compare(a.part, b.part) })
		return
	}
	var counts [8][256]uint32
	for i := range list {
		for b := range counts {
			counts[b][byte(list[i].part>>(8*b))]++
		}
	}
	from, to := list, spare[:len(list)]
	for b := range counts {
		at, shift := &counts[b], 8*b
		if int(at[byte(from[0].part>>shift)]) == len(from) {
			continue
		}
		sum := uint32(0)
		for i, n := range at {
			at[i] = sum
			sum += n
		}
		for _, k := range from {
			i := &at[byte(k.part>>shift)]
			to[*i] = k
			*i++
		}
		from, to = to, from
	}
	if &from[0] != &list[0] {
		copy(list, from)
	}
}

// fewParts are sorted sooner by comparing.
const fewParts = 256

// namePart is part n of a name, which has no byte that is 0.
func namePart(name string, n int) (part uint64) {
	for i := 8 * n; i < 8*n+8; i++ {
		part <<= 8
		if i < len(name) {
			part |= uint64(name[i])
		}
	}
	return part
}

// addressPart is part n of the text of an address. There are 18 different bytes in
// such texts: with the end, 15 of them fit in 64 bits, a whole IPv4 address.
func addressPart(text []byte, n int) (part uint64) {
	for i := 15 * n; i < 15*n+15; i++ {
		part *= 19
		if i < len(text) {
			part += uint64(addressByte[text[i]])
		}
	}
	return part
}

// addressByte numbers the bytes of addresses in their order.
var addressByte = func() (n [256]uint8) {
	for i, c := range []byte(".0123456789:abcdef") {
		n[c] = uint8(i + 1)
	}
	return n
}()
