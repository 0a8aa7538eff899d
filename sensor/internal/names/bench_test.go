package names

import (
	"testing"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// TestNothingAllocated guards the paths of packets that come by the million.
func TestNothingAllocated(t *testing.T) {
	banner := []byte("220 mail.example ESMTP\r\n")
	query := new(dns.Msg)
	query.SetQuestion("www.example.com.", dns.TypeA)
	asked := pack(t, query)
	answer := pack(t, response(t, "www.example.com", "www.example.com. 1 CNAME cdn.example.", "cdn.example. 1 A 192.0.2.1", "cdn.example. 1 A 192.0.2.2"))
	get := []byte("GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
	hello, stream := clientHelloOf(t, "www.example.com"), framed(answer)
	service := pack(t, httpsAnswer("a.example", configurations(configuration(t, 0xfe0d, "cover.example"))))
	f, d := newTCP(), dnsTCP()
	f.syn(0)
	f.syn(1)
	d.syn(1)
	question := answerTo(asked)
	question.Src, question.Dst, question.SrcPort, question.DstPort = question.Dst, question.Src, 40000, 53
	for name, packets := range map[string][]*Packet{
		"TCP without a name":   {f.packet(0, 0, nil), f.packet(1, 0, banner), f.packet(0, 0, []byte{0, 1, 2, 3})},
		"UDP without a name":   {datagramOf(0, banner)},
		"HTTP request":         {f.packet(0, 0, get)},
		"ClientHello in two":   {f.packet(0, 0, hello[:1400]), f.packet(0, 1400, hello[1400:])},
		"DNS query and answer": {question, answerTo(answer)},
		"HTTPS record":         {answerTo(service)},
		"DNS over TCP":         {d.packet(1, 0, stream[:20]), d.packet(1, 20, stream[20:])},
	} {
		t.Run(name, func(t *testing.T) {
			o, h := NewObserver(DefaultLimits()), new(Harvest)
			round := func() {
				for _, p := range packets {
					if p.Seq != 0 { // only TCP has numbers here
						o.TCP(p)
					} else {
						o.UDP(p)
					}
				}
				o.Forget(1, 1)
				o.Harvest(h, 0)
			}
			round()
			round()
			if n := testing.AllocsPerRun(100, round); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func BenchmarkDNSAnswer(b *testing.B) {
	m := pack(b, response(b, "www.example.com", "www.example.com. 1 CNAME cdn.example.net.", "cdn.example.net. 1 A 192.0.2.1", "cdn.example.net. 1 A 192.0.2.2"))
	benchmarkPackets(b, func(o *Observer) { o.UDP(answerTo(m)) })
}

func BenchmarkDNSQuery(b *testing.B) {
	query := new(dns.Msg)
	query.SetQuestion("www.example.com.", dns.TypeA)
	p := answerTo(pack(b, query))
	p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, 40000, 53
	benchmarkPackets(b, func(o *Observer) { o.UDP(p) })
}

// BenchmarkDNSExchange is a query and its answer of two CNAMEs and four addresses.
func BenchmarkDNSExchange(b *testing.B) {
	m := response(b, "www.example.com", "www.example.com. 1 CNAME c0-www.edge-0.cdn-provider.net.", "c0-www.edge-0.cdn-provider.net. 1 CNAME c1-www.edge-1.cdn-provider.net.",
		"c1-www.edge-1.cdn-provider.net. 1 A 192.0.2.1", "c1-www.edge-1.cdn-provider.net. 1 A 192.0.2.2", "c1-www.edge-1.cdn-provider.net. 1 A 192.0.2.3", "c1-www.edge-1.cdn-provider.net. 1 A 192.0.2.4")
	query := new(dns.Msg)
	query.SetQuestion("www.example.com.", dns.TypeA)
	query.Id = m.Id
	answer, question := answerTo(pack(b, m)), answerTo(pack(b, query))
	question.Src, question.Dst, question.SrcPort, question.DstPort = answer.Dst, answer.Src, answer.DstPort, 53
	benchmarkPackets(b, func(o *Observer) { o.UDP(question); o.UDP(answer) })
}

func BenchmarkClientHello(b *testing.B) {
	hello, f := clientHelloOf(b, "www.example.com"), newTCP()
	f.syn(0)
	whole := f.packet(0, 0, hello)
	benchmarkPackets(b, func(o *Observer) { o.TCP(whole) })
}

func BenchmarkClientHelloInTwo(b *testing.B) {
	hello, f := clientHelloOf(b, "www.example.com"), newTCP()
	f.syn(0)
	one, two := f.packet(0, 0, hello[:1400]), f.packet(0, 1400, hello[1400:])
	benchmarkPackets(b, func(o *Observer) { o.TCP(one); o.TCP(two) })
}

func BenchmarkHTTPRequest(b *testing.B) {
	f := newTCP()
	get := f.packet(0, 0, []byte("GET /index.html HTTP/1.1\r\nUser-Agent: test\r\nAccept: */*\r\nHost: www.example.com\r\n\r\n"))
	benchmarkPackets(b, func(o *Observer) { o.TCP(get) })
}

func BenchmarkQUICInitial(b *testing.B) {
	p := datagramOf(0, mustHex(rfc9001Initial))
	benchmarkPackets(b, func(o *Observer) { o.UDP(p) })
}

func BenchmarkQUICInitialInTwo(b *testing.B) {
	sent := initialDatagrams(b, quic.Version1, "www.example.com")[:2]
	one, two := datagramOf(0, sent[0]), datagramOf(0, sent[1])
	benchmarkPackets(b, func(o *Observer) { o.UDP(one); o.UDP(two) })
}

func BenchmarkNoName(b *testing.B) {
	p := datagramOf(0, make([]byte, 1200))
	benchmarkPackets(b, func(o *Observer) { o.UDP(p) })
}

func benchmarkPackets(b *testing.B, run func(o *Observer)) {
	limits := DefaultLimits()
	limits.QUICPackets = 1 << 30
	o, h := NewObserver(limits), new(Harvest)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		run(o)
		if n++; n%1000 == 0 {
			o.Harvest(h, 0)
		}
	}
}

func BenchmarkLearn(b *testing.B) {
	book := NewBook(1 << 17)
	f := Fact{Client: addr(1), NameEnd: 11}
	text := []byte("example.com")
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		f.Address[12], f.Address[13], f.Address[14] = byte(n), byte(n>>8), byte(n>>16)&1
		book.Learn(&f, text, book.Spot(&f, text))
	}
}

func BenchmarkLookup(b *testing.B) {
	book := NewBook(0)
	f := Fact{Client: addr(1), NameEnd: 11}
	for n := range uint32(100_000) {
		f.Address[12], f.Address[13], f.Address[14] = byte(n), byte(n>>8), byte(n>>16)
		text := []byte("example.com")
		book.Learn(&f, text, book.Spot(&f, text))
	}
	a, n := [16]byte{}, uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n += 7919
		a[12], a[13], a[14] = byte(n), byte(n>>8), byte(n>>16)&1
		book.Lookup(addr(1), a)
	}
}
