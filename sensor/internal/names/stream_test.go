package names

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

func framed(messages ...[]byte) (b []byte) {
	for _, m := range messages {
		b = binary.BigEndian.AppendUint16(b, uint16(len(m)))
		b = append(b, m...)
	}
	return b
}

func dnsTCP() *tcpFlow {
	f := newTCP()
	f.dstPort = 53
	return f
}

func TestDNSOverTCP(t *testing.T) {
	one := pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1"))
	two := pack(t, response(t, "b.example", "b.example. 1 A 192.0.2.2"))
	three := pack(t, response(t, "c.example", "c.example. 1 A 192.0.2.3"))
	want := []string{"192.0.2.1 a.example", "192.0.2.2 b.example", "192.0.2.3 c.example"}
	b := framed(one, nil, two, three)
	r := rand.New(rand.NewPCG(3, 4))
	for size := 1; size <= len(b); size++ {
		for _, syn := range []bool{false, true} {
			f, o := dnsTCP(), NewObserver(DefaultLimits())
			if syn {
				f.syn(1)
			}
			var packets []*Packet
			for off := 0; off < len(b); off += size {
				packets = append(packets, f.packet(1, off, b[off:min(off+size, len(b))]))
				if r.IntN(3) == 0 {
					packets = append(packets, f.packet(1, off, b[off:off+1])) // again
				}
			}
			if syn && len(packets) <= maxWaiting {
				r.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
			}
			for _, p := range packets {
				o.TCP(p)
			}
			h := wantFacts(t, o, want...)
			if h.Stats.DNSResponses != 3 || h.Stats.StreamsOverflowed != 0 {
				t.Fatalf("segments of %d: %+v", size, h.Stats)
			}
		}
	}
}

func TestDNSStreamRecovers(t *testing.T) {
	one := framed(pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1")))
	f, o := dnsTCP(), NewObserver(DefaultLimits())
	f.syn(1)
	for i := range maxWaiting + 1 { // the first segment is lost
		o.TCP(f.packet(1, 100+i*len(one), one))
	}
	if h := wantFacts(t, o, "192.0.2.1 a.example"); h.Stats.StreamsOverflowed != 1 {
		t.Errorf("%+v", h.Stats)
	}
}

// TestForgottenStreamGoesOn wants a stream that was idle for long, or gave way to
// another, to go on with its next segment.
func TestForgottenStreamGoesOn(t *testing.T) {
	limits := DefaultLimits()
	limits.DNSStreams = 1
	m := framed(pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1")))
	for _, c := range []struct {
		name   string
		forget func(*Observer, *Harvest)
	}{
		{"idle", func(o *Observer, h *Harvest) { o.Harvest(h, streamIdle+1) }},
		{"evicted", func(o *Observer, h *Harvest) {
			other := dnsTCP()
			other.slot = 2
			o.TCP(other.packet(0, 0, m[:5]))
			o.Harvest(h, 0)
		}},
	} {
		f, o, h := dnsTCP(), NewObserver(limits), new(Harvest)
		for i := range 3 {
			p := f.packet(1, i*len(m), m)
			p.First, p.Begun = p.Seq, i == 0 // the flow table says it once
			o.TCP(p)
			if c.forget(o, h); h.Stats.DNSResponses != 1 {
				t.Errorf("%s: %d responses in message %d", c.name, h.Stats.DNSResponses, i)
			}
		}
	}
}

func TestDNSStreamCutBySnaplen(t *testing.T) {
	one := framed(pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1", "a.example. 1 A 192.0.2.2")))
	two := framed(pack(t, response(t, "b.example", "b.example. 1 A 192.0.2.3")))
	f, o := dnsTCP(), NewObserver(DefaultLimits())
	p := f.packet(1, 0, one[:len(one)-4])
	p.PayloadLength = uint32(len(one))
	o.TCP(p)
	o.TCP(f.packet(1, len(one), two))
	wantFacts(t, o, "192.0.2.1 a.example", "192.0.2.3 b.example")
}

func TestTLSOnPort53(t *testing.T) {
	hello := clientHelloOf(t, "dot.example")
	f, o := dnsTCP(), NewObserver(DefaultLimits())
	o.TCP(f.packet(0, 0, hello[:300]))
	if decided, _ := o.TCP(f.packet(0, 300, hello[300:])); !decided {
		t.Error("not decided")
	}
	o.TCP(f.packet(0, len(hello), hello)) // as data, once decided
	h := harvest(o)
	if got := ownNames(h); !slices.Equal(got, []string{"sni dot.example"}) || h.Stats.DNSQueries != 0 {
		t.Errorf("%q %+v", got, h.Stats)
	}
	if o.dnsArena.used > smallestBuffer {
		t.Errorf("%d bytes held", o.dnsArena.used)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	limits := DefaultLimits()
	limits.DNSStreams, limits.DNSBytes, limits.DNSFragments = 4, 8*smallestBuffer, 4
	o := NewObserver(limits)
	f := dnsTCP()
	for f.slot = range 50 {
		p := f.packet(1, 0, []byte{0xff, 0xff, 1, 2, 3})
		p.Time = int64(f.slot) * 1e9
		o.TCP(p)
		for i := range 3 {
			p.Payload, p.PayloadLength = make([]byte, 100), 100
			o.Fragment(4, 17, f.slot*8+uint32(i), 8, true, p)
		}
		if o.streams.len() > 4 || o.fragments.len() > 4 || o.dnsArena.used > limits.DNSBytes {
			t.Fatalf("%d streams, %d datagrams, %d bytes", o.streams.len(), o.fragments.len(), o.dnsArena.used)
		}
	}
	var h Harvest
	o.Harvest(&h, 1000e9)
	if h.Stats.StreamsOverflowed == 0 {
		t.Error("no overflow was counted")
	}
	if o.streams.len()+o.fragments.len() != 0 {
		t.Error("idle streams and fragments are still held")
	}
}

func TestFragments(t *testing.T) {
	m := pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1", "a.example. 1 TXT x", "a.example. 1 AAAA 2001:db8::1"))
	b := binary.BigEndian.AppendUint16(nil, 53)
	b = binary.BigEndian.AppendUint16(b, 40000)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(m)))
	b = append(append(b, 0, 0), m...)
	type part struct{ from, to int }
	parts := []part{{0, 16}, {16, 48}, {48, len(b)}}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {0, 0, 2, 1}} {
		for _, port := range []uint16{53, 5353, 1234} {
			binary.BigEndian.PutUint16(b, port)
			o := NewObserver(DefaultLimits())
			for i, n := range order {
				part := b[parts[n].from:parts[n].to]
				p := &Packet{Src: addr(53), Dst: addr(1), Payload: part, PayloadLength: uint32(len(part)), Order: uint64(i + 1), Time: 1e9}
				o.Fragment(4, 17, 9, uint32(parts[n].from), n < 2, p)
			}
			if port == 1234 {
				wantFacts(t, o)
				continue
			}
			h := wantFacts(t, o, "192.0.2.1 a.example", "2001:db8::1 a.example")
			if len(h.Facts) > 0 && (h.Facts[0].Order != uint64(len(order)) || h.Facts[0].Client != addr(1)) {
				t.Errorf("%+v", h.Facts[0])
			}
			if o.fragments.len() != 0 {
				t.Error("a whole datagram is still held")
			}
		}
	}
}

// TestFragmentCutOff wants the answers before the cut of each first fragment,
// whatever comes of the datagram.
func TestFragmentCutOff(t *testing.T) {
	m := pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1", "a.example. 1 A 192.0.2.2"))
	b := slices.Concat(u16of(53), u16of(40000), u16of(8+len(m)), u16of(0), m)
	for _, order := range [][]int{{0}, {0, 1}, {1, 0}} {
		o := NewObserver(DefaultLimits())
		for i, n := range order {
			p := &Packet{Src: addr(53), Dst: addr(1), Order: uint64(i + 1), Time: 1e9}
			if p.Payload, p.PayloadLength = b[:len(b)-8], uint32(len(b)+80); n == 1 {
				p.Payload, p.PayloadLength = make([]byte, 16), 16
			}
			o.Fragment(4, 17, 9, uint32(n*(len(b)+80)), n == 0, p)
		}
		if h := wantFacts(t, o, "192.0.2.1 a.example"); h.Stats.DNSResponses != 1 || h.Stats.DNSMalformed != 0 {
			t.Errorf("%v: %+v", order, h.Stats)
		}
	}
}
