package names

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/lineartest"
)

// The bounds are for a busy machine and the race detector; without it a tenth is
// rather more than enough.

// TestHeadsAreLinear reads first bytes of TCP directions that never come to an end, in
// ever more segments.
func TestHeadsAreLinear(t *testing.T) {
	hello := "\x16\x03\x01\x00\x04\x01\x00\x3f\xf0" // says that it is longer than it will be
	for _, c := range []struct{ kind, begin, again string }{
		{"records of a byte", hello, "\x16\x03\x01\x00\x01\x00"},
		{"empty records", hello, "\x16\x03\x01\x00\x00"},
		{"one record", "\x16\x03\x01\xff\xff\x01\x00\x3f\xf0", "\x00"},
		{"header lines", "GET / HTTP/1.1\n", "a\n"},
		{"one header line", "GET / HTTP/1.1\nhost: ", " "},
		{"one target", "GET /", "/"},
		{"hosts that are none", "GET / HTTP/1.1\n", "Hosts: a\n"},
		{"bare CR", "GET / HTTP/1.1\n", "\r"},
	} {
		stream := func(n int) []byte {
			b := append([]byte(c.begin), bytes.Repeat([]byte(c.again), n/len(c.again))...)
			return b[:n-1] // short of headLimit
		}
		for _, o := range segmentOrders {
			lineartest.Run(t, c.kind+" "+o.name, headLimit/16, 2*time.Microsecond, func(n int) (int, func()) {
				return n, flowOf(newTCP(), stream(n), n/64, o.order)
			})
		}
	}
}

// segmentOrders are ways for segments to come in.
var segmentOrders = []struct {
	name  string
	order func(parts []*Packet)
}{
	{"in order", func([]*Packet) {}},
	{"from the end", func(parts []*Packet) { slices.Reverse(parts) }},
	{"every other first", func(parts []*Packet) {
		slices.SortStableFunc(parts, func(a, b *Packet) int { return int(b.Order%2) - int(a.Order%2) })
	}},
	{"the first last", func(parts []*Packet) {
		first := parts[0]
		copy(parts, parts[1:])
		parts[len(parts)-1] = first
	}},
}

// flowOf shows b to an observer in so many segments.
func flowOf(f *tcpFlow, b []byte, segments int, order func([]*Packet)) func() {
	o, h := NewObserver(DefaultLimits()), new(Harvest)
	var parts []*Packet
	f.syn(0)
	size := (len(b) + segments - 1) / segments
	for off := 0; off < len(b); off += size {
		p := f.packet(0, off, b[off:min(off+size, len(b))])
		p.Order = uint64(len(parts))
		parts = append(parts, p)
	}
	order(parts)
	return observe(o, h, parts, func(p *Packet) { o.TCP(p) })
}

// observe shows packets of a flow that is another one each time.
func observe(o *Observer, h *Harvest, packets []*Packet, show func(*Packet)) func() {
	return func() {
		for _, p := range packets {
			p.Generation++
			show(p)
		}
		o.Forget(packets[0].Slot, packets[0].Generation)
		o.Harvest(h, math.MaxInt64)
	}
}

// hostileMessages are DNS messages whose reading costs much.
var hostileMessages = []struct {
	kind    string
	message func(n int) []byte
}{
	{"long chains of pointers", func(n int) []byte {
		names := []byte{0}
		for i := range maxPointers - 1 { // each to the one before, the first to the root
			names = append(names, u16of(0xc000|max(namesAt, namesAt-1+2*i))...)
		}
		return alternating(names, n, len(names)-2, len(names)-4)
	}},
	{"long names", func(n int) []byte {
		return alternating(append(bytes.Repeat([]byte{1, 'A'}, 126), 0), n, 0, 2)
	}},
	{"roots", func(n int) []byte {
		return append(message(0, 0xffff), bytes.Repeat([]byte("\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00"), n/11)...)
	}},
	{"questions", func(n int) []byte {
		return append(message(0xffff, 0xffff), bytes.Repeat([]byte("\x00\x00\x01\x00\x01"), n/5)...)
	}},
	{"aliases", func(n int) []byte {
		b := message(0, 0xffff)
		for i := range maxCNAMEs {
			b = append(b, 1, byte(i), 0, 0, typeCNAME, 0, 1, 0, 0, 0, 0, 0, 3, 1, byte(i+1), 0)
		}
		for i := 0; len(b) < n; i++ {
			b = append(b, 1, byte(i), 0, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1)
		}
		return b
	}},
	{"dots", func(n int) []byte {
		dots := slices.Concat(bytes.Repeat(append([]byte{62}, bytes.Repeat([]byte("."), 62)...), 4), []byte{0})
		return alternating(dots, n, 0, 63)
	}},
	{"parameters of services", func(n int) []byte {
		rest := bytes.Repeat([]byte{0, 5, 0, 0}, (n-40)/4) // empty lists of configurations
		return service(rest)
	}},
	{"configurations", func(n int) []byte {
		list := bytes.Repeat([]byte{0xfe, 0x0d, 0, 0}, (n-40)/4)
		return service(slices.Concat([]byte{0, 5}, u16of(len(list)+2), u16of(len(list)), list))
	}},
	{"configurations of a byte", func(n int) []byte {
		one := slices.Concat([]byte{0xfe, 0x0d, 0, 10, 7, 0, 0x20, 0, 0, 0, 0, 0, 1, 'a'})
		list := bytes.Repeat(one, (n-40)/len(one))
		return service(slices.Concat([]byte{0, 5}, u16of(len(list)+2), u16of(len(list)), list))
	}},
}

// message is the header of a response.
func message(questions, answers int) []byte {
	return slices.Concat([]byte{0, 1, 0x81, 0x80}, u16of(questions), u16of(answers), []byte{0, 0, 0, 0})
}

func u16of(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

// namesAt is where the names of an alternating message are.
const namesAt = 12 + 11

// alternating is a message of about n bytes whose owners are, in turn, the names at a
// and b of names, which are the data of a record of the root.
func alternating(names []byte, n, a, b int) []byte {
	m := slices.Concat(message(0, 0xffff), []byte{0, 0, 1, 0, 1, 0, 0, 0, 0}, u16of(len(names)), names)
	for len(m) < n {
		m = append(append(m, u16of(0xc000|(namesAt+a))...), 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1)
		a, b = b, a
	}
	return m
}

// service is a message with one HTTPS record.
func service(parameters []byte) []byte {
	return slices.Concat(message(0, 1), []byte{0, 0, typeHTTPS, 0, 1, 0, 0, 0, 0}, u16of(len(parameters)+3), []byte{0, 1, 0}, parameters)
}

func TestMessagesAreLinear(t *testing.T) {
	for _, c := range hostileMessages {
		lineartest.Run(t, c.kind, 4000, 3*time.Microsecond, func(n int) (int, func()) {
			o, h := NewObserver(DefaultLimits()), new(Harvest)
			b := c.message(n)
			return len(b), observe(o, h, []*Packet{answerTo(b)}, func(p *Packet) { o.UDP(p) })
		})
	}
}

func TestDNSStreamsAreLinear(t *testing.T) {
	for _, o := range segmentOrders {
		lineartest.Run(t, "one message "+o.name, 4000, 3*time.Microsecond, func(n int) (int, func()) {
			return n, flowOf(dnsTCP(), framed(make([]byte, n-2)), n, o.order)
		})
	}
	lineartest.Run(t, "little messages before what came early", 8000, 3*time.Microsecond, func(n int) (int, func()) {
		b := bytes.Repeat([]byte{0, 1, 0}, n/6)
		f, o, h := dnsTCP(), NewObserver(DefaultLimits()), new(Harvest)
		f.syn(0)
		parts := []*Packet{f.packet(0, len(b)+1, make([]byte, n-len(b)))}
		for off := 0; off < len(b); off += 3 {
			parts = append(parts, f.packet(0, off, b[off:off+3]))
		}
		return n, observe(o, h, parts, func(p *Packet) { o.TCP(p) })
	})
}

func TestFragmentsAreLinear(t *testing.T) {
	for _, order := range segmentOrders {
		lineartest.Run(t, order.name, 4000, 2*time.Microsecond, func(n int) (int, func()) {
			b := slices.Concat(u16of(53), u16of(40000), u16of(n), u16of(0), make([]byte, n-8))
			o, h := NewObserver(DefaultLimits()), new(Harvest)
			var parts []*Packet
			for off := 0; off < len(b); off += 8 {
				parts = append(parts, &Packet{Order: uint64(off / 8), Src: addr(53), Dst: addr(1), Payload: b[off:min(off+8, len(b))], Time: 1})
			}
			last := uint64(len(parts) - 1)
			order.order(parts)
			id := uint32(0)
			return n, func() {
				id++
				for _, p := range parts {
					o.Fragment(4, 17, id, uint32(8*p.Order), p.Order < last, p)
				}
				o.Harvest(h, math.MaxInt64)
			}
		})
	}
}

// TestQUICIsLinear reads Initial packets. Each set of keys that is tried costs some
// microseconds, which is why an epoch has a bound on them.
func TestQUICIsLinear(t *testing.T) {
	id := idOf(1, "8394c8f03e515708")
	datagrams := func(frames [][]byte, ids func(i int) connectionID) (size int, ps []*Packet) {
		for i := 0; len(frames) > 0; i++ {
			n := min(len(frames), 200)
			b := seal(t, ids(i), ids(i), uint32(i), nil, slices.Concat(frames[:n]...))
			ps, frames, size = append(ps, datagramOf(0, b)), frames[n:], size+len(b)
		}
		return size, ps
	}
	same := func(int) connectionID { return id }
	frames := func(n int, frame func(i int) []byte) (fs [][]byte) {
		for i := range n {
			fs = append(fs, frame(i))
		}
		return fs
	}
	for _, c := range []struct {
		kind  string
		frame func(i int) []byte
	}{
		{"every other byte from the end", func(i int) []byte { return cryptoFrame(headLimit-1-2*i, []byte{1}) }},
		{"every other byte", func(i int) []byte { return cryptoFrame(2*i+1, []byte{1}) }},
		{"one byte", func(i int) []byte { return cryptoFrame(i, []byte{1}) }},
		{"overlapping", func(i int) []byte { return cryptoFrame(1+i%7, []byte{1, 0, 0x3f, 0xf0, 0}) }},
		{"acknowledgements", func(int) []byte { return []byte{2, 0, 0, 1, 0, 0, 0} }},
		{"endless acknowledgements", func(int) []byte { return []byte{2, 0, 0, 0xbf, 0xff, 0xff, 0xff} }},
	} {
		lineartest.Run(t, c.kind, 250, 3*time.Microsecond, func(n int) (int, func()) {
			o, h := NewObserver(ReplayLimits()), new(Harvest)
			size, ps := datagrams(frames(n, c.frame), same)
			return size, observe(o, h, ps, func(p *Packet) { o.UDP(p) })
		})
	}
	lineartest.Run(t, "packets of other keys", 50, 50*time.Microsecond, func(n int) (int, func()) {
		o, h := NewObserver(ReplayLimits()), new(Harvest)
		size, known := datagrams(frames(800, func(int) []byte { return []byte{1} }), func(i int) connectionID {
			id := id
			id.b[0] = byte(i)
			return id
		})
		other := datagramOf(0, damage(seal(t, id, id, 1, nil, make([]byte, 4))))
		ps := known
		for range n {
			ps = append(ps, other)
			size += len(other.Payload)
		}
		i := uint32(0)
		return size, func() {
			for j, p := range ps { // a new flow before the tries of the last are used up
				if j%(maxTries-maxConnections-1) == 0 {
					i++
					for _, p := range known {
						p.Generation = i
						o.UDP(p)
					}
				}
				p.Generation = i
				o.UDP(p)
			}
			o.Harvest(h, math.MaxInt64)
		}
	})
}

func TestDetectIsLinear(t *testing.T) {
	for _, protocol := range []uint8{6, 17} {
		for _, rest := range []string{"\x00", "A", " ", "\x01a", "0", "\r\n", "\xff", "\x04\x01"} {
			lineartest.Run(t, rest, 32, 2*time.Microsecond, func(n int) (int, func()) {
				var payloads [][]byte
				for first := range 256 {
					payloads = append(payloads, append([]byte{byte(first)}, bytes.Repeat([]byte(rest), n)[:n-1]...))
				}
				return 256 * n, func() {
					for i, b := range payloads {
						DetectPayload(protocol, i%2 == 0, 1000, b)
					}
				}
			})
		}
	}
}

func TestNormalIsLinear(t *testing.T) {
	for _, name := range []string{"a", "A.", ".", "1", "0x", "[", ":", "a-"} {
		lineartest.Run(t, name, 64, 2*time.Microsecond, func(n int) (int, func()) {
			b, out := bytes.Repeat([]byte(name), n)[:n], make([]byte, 0, n)
			return n, func() {
				appendNormal(out, b)
				appendNormal(out, trimPort(b))
				isAddress(b)
			}
		})
	}
}
