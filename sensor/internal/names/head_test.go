package names

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestClientHelloAnySplit(t *testing.T) {
	hello := clientHelloOf(t, "www.Example.com")
	if len(hello) < 1400 {
		t.Logf("ClientHello of %d bytes", len(hello))
	}
	for cut := range len(hello) {
		for _, swap := range []bool{false, true} {
			f, o := newTCP(), NewObserver(DefaultLimits())
			f.syn(0)
			parts := []*Packet{f.packet(0, 0, hello[:cut]), f.packet(0, cut, hello[cut:])}
			if swap {
				slices.Reverse(parts)
			}
			for i, p := range parts {
				whole := i == 1 || cut == 0 && swap
				if decided, _ := o.TCP(p); decided != whole && p.PayloadLength > 0 && cut > 0 {
					t.Fatalf("cut at %d, swapped %v: packet %d decided %v", cut, swap, i, decided)
				}
			}
			wantOwns(t, o, "sni www.example.com")
			if o.heads.len() != 0 {
				t.Fatal("a decided flow is still held")
			}
		}
	}
}

func TestClientHelloInRecords(t *testing.T) {
	hello := clientHelloOf(t, "records.example")
	for _, size := range []int{1, 2, 5, 100, 500} {
		var b []byte
		for body := hello[5:]; len(body) > 0; {
			n := min(size, len(body))
			b = append(append(b, 22, 3, 1, byte(n>>8), byte(n)), body[:n]...)
			body = body[n:]
		}
		f, o := newTCP(), NewObserver(DefaultLimits())
		for off := 0; off < len(b); off += 700 {
			o.TCP(f.packet(0, off, b[off:min(off+700, len(b))]))
		}
		wantOwns(t, o, "sni records.example")
	}
}

// segment is one step of a script: bytes of a direction at an offset.
type step struct {
	from, off int
	data      string
	wire      int // 0: all of data
	syn, soft bool
}

func TestHeads(t *testing.T) {
	hello := string(clientHelloOf(t, "sni.example"))
	noSNI := string(clientHelloOf(t, "192.0.2.1"))
	get := "GET / HTTP/1.1\r\nHost: http.example:8080\r\n\r\n"
	for _, c := range []struct {
		name    string
		steps   []step
		want    string
		decided bool
	}{
		{"whole", []step{{data: hello}}, "sni sni.example", true},
		{"from the responder", []step{{from: 1, data: hello}}, "sni sni.example", true},
		{"http", []step{{data: get}}, "http_host http.example", true},
		{"after a banner", []step{{from: 1, data: "220 hi\r\n"}, {data: get}}, "http_host http.example", true},
		{"banner both ways", []step{{from: 1, data: "SSH-2.0-x\r\n"}, {data: "SSH-2.0-y\r\n"}}, "", true},
		{"banner one way", []step{{from: 1, data: "220 hi\r\n"}}, "", false},
		{"no server name, other way may show", []step{{data: noSNI}, {from: 1, data: get}}, "http_host http.example", true},
		{"invalid host does not stop the search", []step{{data: "GET / HTTP/1.0\r\nHost: 192.0.2.1\r\n\r\n"}, {from: 1, data: hello}}, "sni sni.example", true},
		{"later requests do not count", []step{{data: "GET / HTTP/1.0\r\n\r\n"}, {off: 18, data: get}}, "", false},
		{"first copy wins", []step{{syn: true}, {off: 16, data: "Host: first.example\r\n\r\n"}, {data: "GET / HTTP/1.1\r\nHost: later.example\r\n\r\n"}}, "http_host first.example", true},
		{"overlap", []step{{data: get[:20]}, {off: 10, data: strings.Repeat("?", 10) + get[20:]}}, "http_host http.example", true},
		{"retransmission", []step{{syn: true}, {data: get[:20]}, {data: get[:20]}, {off: 20, data: get[20:]}}, "http_host http.example", true},
		{"keep-alive", []step{{syn: true}, {off: -1, data: "\x00"}, {data: get}}, "http_host http.example", true},
		{"begins before the start", []step{{syn: true}, {off: -3, data: "xyz" + get}}, "http_host http.example", true},
		{"midstream", []step{{off: 5000, data: get[:30]}, {off: 5030, data: get[30:]}}, "http_host http.example", true},
		{"midstream, earlier bytes do not count", []step{{off: 10, data: "Host: a\r\n\r\n"}, {data: get}}, "", false},
		{"fast open", []step{{syn: true, data: get}}, "http_host http.example", true},
		{"out of reach", []step{{syn: true}, {off: headLimit, data: get}, {data: get}}, "http_host http.example", true},
		{"cut by snaplen", []step{{syn: true}, {data: hello[:100], wire: len(hello)}, {off: len(hello), data: "\x17\x03\x03"}}, "", false},
		{"cut by snaplen, then again in parts", []step{{syn: true}, {data: hello[:100], wire: len(hello)}, {off: 50, data: hello[50:]}}, "sni sni.example", true},
		{"nothing captured", []step{{data: "", wire: 1000}, {off: 1000, data: get}}, "", false},
		{"padding", []step{{data: "\x00\x00\x00\x00\x00\x00", soft: true}, {data: get}}, "http_host http.example", true},
		{"zeros that are data", []step{{data: "\x00\x00", soft: true}, {off: 2, data: get}, {from: 1, data: "\x00\x00\x00"}}, "", true},
		{"too long a header", []step{{data: "GET / HTTP/1.1\r\nA: " + strings.Repeat("b", headLimit) + "\r\nHost: a.example\r\n\r\n"}}, "", false},
	} {
		f, o := newTCP(), NewObserver(DefaultLimits())
		decided, done := false, [2]bool{}
		for _, s := range c.steps {
			if s.syn {
				f.syn(s.from)
			}
			p := f.packet(s.from, s.off, []byte(s.data))
			if s.wire > 0 {
				p.PayloadLength = uint32(s.wire)
			}
			p.PSH = !s.soft
			if !done[s.from] {
				decided, done[s.from] = o.TCP(p)
			}
		}
		decided = decided || done[0] && done[1]
		got := strings.Join(ownNames(harvest(o)), " ")
		if got != c.want || decided != c.decided {
			t.Errorf("%s: %q, decided %v; want %q, %v", c.name, got, decided, c.want, c.decided)
		}
	}
}

// TestSideIsDone wants to be told at once which direction shows no name, so that
// its packets need not be looked at while the other is silent.
func TestSideIsDone(t *testing.T) {
	hello := string(clientHelloOf(t, "sni.example"))
	nameless := string(clientHelloOf(t, "192.0.2.1"))
	type result struct{ decided, side bool }
	for _, c := range []struct {
		name  string
		port  uint16
		steps []step
		want  []result
	}{
		{"upload of noise", 443, []step{{syn: true}, {data: "\x00\x01"}}, []result{{}, {false, true}}},
		{"noise both ways", 443, []step{{data: "\x00\x01"}, {from: 1, data: "\x01"}}, []result{{false, true}, {false, true}}},
		{"server's banner, then a hello", 443, []step{{from: 1, data: "220 hi\r\n"}, {data: hello[:700]}, {off: 700, data: hello[700:]}}, []result{{false, true}, {}, {true, true}}},
		{"hello without a name", 443, []step{{data: nameless}}, []result{{false, true}}},
		{"behind a hole", 443, []step{{syn: true}, {off: 5, data: "\x00\x01"}, {data: "\x01"}}, []result{{}, {}, {false, true}}},
		{"sent all the same", 443, []step{{data: "\x00\x01"}, {off: 2, data: "\x01"}, {off: 3}}, []result{{false, true}, {false, true}, {}}},
		{"DNS", 53, []step{{data: "\x00\x01"}, {from: 1, data: "\x01"}, {off: 2, data: "\x01"}}, []result{{false, true}, {false, true}, {false, true}}},
	} {
		f, o := newTCP(), NewObserver(DefaultLimits())
		f.dstPort = c.port
		for i, s := range c.steps {
			if s.syn {
				f.syn(s.from)
			}
			p := f.packet(s.from, s.off, []byte(s.data))
			if decided, side := o.TCP(p); (result{decided, side}) != c.want[i] {
				t.Errorf("%s: packet %d: decided %v, side %v; want %+v", c.name, i, decided, side, c.want[i])
			}
		}
	}
}

func TestHeadGenerationBeginsAnew(t *testing.T) {
	f, o := newTCP(), NewObserver(DefaultLimits())
	get := []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	f.syn(0)
	o.TCP(f.packet(0, 5, get[5:]))
	p := f.packet(0, 900, get)
	p.Generation, p.First = 2, p.Seq
	if decided, _ := o.TCP(p); !decided {
		t.Error("not decided")
	}
	wantOwns(t, o, "http_host a.example")
}

func TestForgetDropsAll(t *testing.T) {
	o := NewObserver(DefaultLimits())
	f := newTCP()
	f.dstPort = 53
	f.syn(0)
	o.TCP(f.packet(0, 0, []byte("GET / HT")))
	o.UDP(&Packet{Slot: 1, Generation: 1, Payload: bytes.Clone(mustHex(rfc9001Initial)[:1200]), PayloadLength: 1200, FromInitiator: true})
	o.Forget(1, 2)
	if o.heads.len() != 1 || o.streams.len() != 1 {
		t.Fatal("another generation was dropped")
	}
	o.Forget(1, 1)
	if o.heads.len()+o.quics.len()+o.streams.len() != 0 {
		t.Fatal("something is still held")
	}
}

func TestHeadsAreBounded(t *testing.T) {
	limits := DefaultLimits()
	limits.HeadFlows, limits.HeadBytes = 8, 4*smallestBuffer
	o := NewObserver(limits)
	get := []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	f := newTCP()
	for f.slot = range 100 {
		f.syn(0)
		o.TCP(f.packet(0, 0, get[:8]))
		if o.heads.len() > limits.HeadFlows || o.headArena.used > limits.HeadBytes {
			t.Fatalf("%d flows, %d bytes held", o.heads.len(), o.headArena.used)
		}
	}
	for f.slot = 96; f.slot < 100; f.slot++ {
		o.TCP(f.packet(0, 8, get[8:]))
	}
	h := harvest(o)
	if n := len(h.Owns); n != 4 {
		t.Errorf("%d names, want those of the 4 flows held", n)
	}
	if h.Stats.HeadsOverflowed != 96 {
		t.Errorf("%d overflowed, want 96", h.Stats.HeadsOverflowed)
	}
}

// TestForgottenHeadTakesNoRoom wants what a flow goes on with, after it gave way to
// others, to be judged for itself.
func TestForgottenHeadTakesNoRoom(t *testing.T) {
	limits := DefaultLimits()
	limits.HeadBytes = 2 * smallestBuffer
	o, hello := NewObserver(limits), clientHelloOf(t, "a.example")
	flows := []*tcpFlow{newTCP(), newTCP(), newTCP()}
	for i, f := range flows {
		f.slot = uint32(i + 1)
		f.syn(0)
		o.TCP(f.packet(0, 0, hello[:100])) // the third has the first give way
		f.begun[0] = false                 // the flow table says it once
	}
	if _, done := o.TCP(flows[0].packet(0, len(hello), []byte{0x17, 3, 3})); !done {
		t.Error("still looked at")
	}
	for _, f := range flows[1:] {
		o.TCP(f.packet(0, 100, hello[100:]))
	}
	wantOwns(t, o, "sni a.example", "sni a.example")
}

// TestHeadOfAnotherConnection wants what was kept of one connection not to mix with
// the next one's, whose SYN+ACK alone was seen.
func TestHeadOfAnotherConnection(t *testing.T) {
	o, hello := NewObserver(DefaultLimits()), clientHelloOf(t, "a.example")
	f := newTCP()
	f.syn(1)
	o.TCP(f.packet(1, 100, hello[100:]))
	f.isn[1] += 5000
	o.TCP(f.packet(1, 0, hello[:100]))
	wantOwns(t, o)
	o.TCP(f.packet(1, 100, hello[100:]))
	wantOwns(t, o, "sni a.example")
}

func TestHeadSegmentsAreBounded(t *testing.T) {
	f, o := newTCP(), NewObserver(DefaultLimits())
	get := []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	f.syn(0)
	until := func(next func(i int) *Packet) (n int) {
		for n = 0; n < 1000; n++ {
			if _, done := o.TCP(next(n)); done {
				break
			}
		}
		return n
	}
	if n := until(func(int) *Packet { return f.packet(0, 1, get[1:2]) }); n != maxSegments {
		t.Errorf("done after %d segments behind a hole", n)
	}
	o.TCP(f.packet(1, 0, get[:4])) // the other direction, of which the rest is lost
	if n := until(func(i int) *Packet { return f.packet(1, headLimit+100*i, get) }); n != maxSegments/farAway {
		t.Errorf("done after %d segments out of reach", n)
	}
	wantOwns(t, o)
}

// FuzzObserver cuts a stream into segments, any of them again and in any order,
// and expects what the whole stream shows.
func FuzzObserver(f *testing.F) {
	hello := clientHelloOf(f, "sni.example")
	f.Add(hello, uint64(1), uint8(3))
	f.Add([]byte("GET /x HTTP/1.1\r\nA: b\r\nHost: http.example\r\n\r\n"), uint64(2), uint8(40))
	f.Add([]byte("CONNECT c.example:443 HTTP/1.1\r\n\r\n"), uint64(3), uint8(9))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, parts uint8) {
		b = b[:min(len(b), 4*headLimit)]
		if len(b) == 0 {
			return
		}
		flow, o := newTCP(), NewObserver(DefaultLimits())
		flow.syn(0)
		one, _ := o.TCP(flow.packet(0, 0, b))
		want := harvest(o)
		checkHarvest(t, want)

		r := rand.New(rand.NewPCG(seed, 0))
		o = NewObserver(DefaultLimits())
		flow.syn(0)
		var packets []*Packet
		for off := 0; off < len(b); {
			n := 1 + r.IntN(1+2*len(b)/(int(parts)+1))
			n = min(n, len(b)-off)
			packets = append(packets, flow.packet(0, off, b[off:off+n]))
			off += n
		}
		for range r.IntN(8) {
			off := r.IntN(len(b))
			packets = append(packets, flow.packet(0, off, b[off:off+r.IntN(len(b)-off)]))
		}
		r.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
		weight := 0
		for _, p := range packets {
			if weight++; p.Seq-flow.packet(0, 0, nil).Seq > headLimit {
				weight += farAway - 1
			}
		}
		if weight > maxSegments {
			return
		}
		decided := false
		for _, p := range packets {
			var side bool
			if decided, side = o.TCP(p); decided || side {
				break // what follows in this direction is not wanted
			}
		}
		got := harvest(o)
		checkHarvest(t, got)
		if g, w := ownNames(got), ownNames(want); !slices.Equal(g, w) || decided != one {
			t.Fatalf("in %d parts: %q, decided %v; whole: %q, %v", len(packets), g, decided, w, one)
		}
	})
}
