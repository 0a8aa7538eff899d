package traffic

import (
	"encoding/binary"
	"fmt"
	"strings"
)

var resolver = end{address: 10<<24 | 53<<16 | 53, server: true, port: 53}

// name is a domain's.
func name(domain int32) string {
	h := spread(uint64(domain))
	sub := [...]string{"www", "api", "cdn", "img", "static", "m", "edge"}[h%7]
	top := [...]string{"com", "net", "org", "io", "example"}[h>>8%5]
	return fmt.Sprintf("%s.site-%06x%02d.%s", sub, domain, h>>16%100, top)
}

// spread is a fixed hash: what it decides is the same in every run.
func spread(x uint64) uint64 {
	x = (x + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// query is the DNS question that comes before flow k.
func (w *writer) query(k int, f *flow) []byte {
	w.question(k, f, 0x0100, 0)
	return w.build(f.v6, true, 0, 0, 0, dnsClient(k), resolver, w.message)
}

// response answers it: up to two CNAMEs, then one to four addresses.
func (w *writer) response(k int, f *flow) []byte {
	h := spread(uint64(f.domain) + 999)
	aliases, answers := int(h%3), 1+int(h>>16%addresses)
	w.question(k, f, 0x8180, aliases+answers)
	b, owner := w.message, uint16(12) // where the name asked for stands
	for n := range aliases {
		b = appendRecord(b, owner, 5, 0)
		owner = uint16(len(b))
		b = appendName(b, fmt.Sprintf("c%d-%06x.edge-%d.cdn-provider.net", n, f.domain, n))
		binary.BigEndian.PutUint16(b[owner-2:], uint16(len(b))-owner)
	}
	for n := range answers {
		address := serverAddress(f.domain, int(f.answer)+n)
		if f.v6 {
			b = appendIPv6(appendRecord(b, owner, 28, 16), end{address: address, server: true})
		} else {
			b = binary.BigEndian.AppendUint32(appendRecord(b, owner, 1, 4), address)
		}
	}
	w.message = b
	return w.build(f.v6, true, 0, 0, 0, resolver, dnsClient(k), b)
}

func dnsClient(k int) end {
	return end{address: 10<<24 | uint32(k%clients), port: uint16(32768 + spread(uint64(k))%28000)}
}

// question writes the header and the question section (RFC 1035, section 4.1).
func (w *writer) question(k int, f *flow, flags uint16, answers int) {
	b := binary.BigEndian.AppendUint16(w.message[:0], uint16(spread(uint64(k)+7)))
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, 0, 1, 0, byte(answers), 0, 0, 0, 0)
	b = appendName(b, name(f.domain))
	kind := byte(1)
	if f.v6 {
		kind = 28
	}
	w.message = append(b, 0, kind, 0, 1)
}

func appendName(b []byte, name string) []byte {
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

// appendRecord writes what comes before a record's data.
func appendRecord(b []byte, owner uint16, kind, length byte) []byte {
	b = binary.BigEndian.AppendUint16(b, 0xc000|owner)
	return append(b, 0, kind, 0, 1, 0, 0, 1, 44, 0, length)
}

// clientHello writes one record with the ClientHello of a usual browser's size
// (RFC 8446, section 4.1.2) into w.message.
func (w *writer) clientHello(sni string) {
	var x []byte // extensions
	n := len(sni)
	x = append(x, 0, 0, 0, byte(n+5), 0, byte(n+3), 0, 0, byte(n))
	x = append(x, sni...)
	x = append(x, 0, 10, 0, 8, 0, 6, 0, 29, 0, 23, 0, 24)
	x = append(x, 0, 16, 0, 14, 0, 12, 2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1')
	x = append(x, 0, 43, 0, 5, 4, 3, 4, 3, 3)
	x = w.noise(append(x, 0, 51, 0, 38, 0, 36, 0, 29, 0, 32))
	x = append(x, 0, 21, 0, 180)
	x = append(x, make([]byte, 180)...)

	h := w.noise([]byte{3, 3})
	h = w.noise(append(h, 32))
	h = append(h, 0, 8, 0x13, 1, 0x13, 2, 0xc0, 0x2f, 0xc0, 0x30, 1, 0)
	h = binary.BigEndian.AppendUint16(h, uint16(len(x)))
	h = append(h, x...)

	b := append(w.message[:0], 22, 3, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h)+4))
	b = append(b, 1, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h)))
	w.message = append(b, h...)
}

// noise appends 32 random bytes.
func (w *writer) noise(b []byte) []byte {
	for range 4 {
		b = binary.LittleEndian.AppendUint64(b, w.random.Uint64())
	}
	return b
}
