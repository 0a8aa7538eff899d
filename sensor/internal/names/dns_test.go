package names

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// response builds a message from zone file lines; those behind "--" are the
// additional section.
func response(t testing.TB, question string, lines ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(question), dns.TypeA)
	m.Id = 1 // not a random one, which with bad luck begins like QUIC
	m.Response = true
	m.Compress = true
	section := &m.Answer
	for _, l := range lines {
		if l == "--" {
			section = &m.Extra
			continue
		}
		rr, err := dns.NewRR(l)
		if err != nil {
			t.Fatal(err)
		}
		*section = append(*section, rr)
	}
	return m
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answerTo is a datagram from a resolver to a client.
func answerTo(b []byte) *Packet {
	return &Packet{
		Src: addr(53), Dst: addr(1), SrcPort: 53, DstPort: 40000, Slot: 1, Generation: 1,
		Payload: b, PayloadLength: uint32(len(b)), Time: 1e9, Order: 7,
	}
}

// facts returns the facts of a harvest, in order, as "address name".
func facts(h *Harvest) []string {
	var s []string
	for _, f := range h.Facts {
		s = append(s, fmt.Sprintf("%v %s", netip.AddrFrom16(f.Address).Unmap(), h.Text[f.NameStart:f.NameEnd]))
	}
	return s
}

func wantFacts(t testing.TB, o *Observer, want ...string) *Harvest {
	t.Helper()
	h := harvest(o)
	if got := facts(h); !slices.Equal(got, want) {
		t.Errorf("facts %q, want %q", got, want)
	}
	return h
}

func TestLearn(t *testing.T) {
	chain := []string{"n0.example. 1 A 192.0.2.1"} // n17 -> n16 -> ... -> n0
	for i := range 17 {
		chain = append(chain, fmt.Sprintf("n%d.example. 1 CNAME n%d.example.", i+1, i))
	}
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"addresses", []string{"a.example. 1 A 192.0.2.1", "a.example. 1 AAAA 2001:db8::1"}, []string{"192.0.2.1 a.example", "2001:db8::1 a.example"}},
		{"CNAME", []string{"a.example. 1 CNAME b.example.", "b.example. 1 CNAME C.example.", "c.EXAMPLE. 1 A 192.0.2.1"}, []string{"192.0.2.1 a.example"}},
		{"CNAME behind the address", []string{"b.example. 1 A 192.0.2.1", "a.example. 1 CNAME b.example."}, []string{"192.0.2.1 a.example"}},
		{"first CNAME wins", []string{"a.example. 1 CNAME c.example.", "b.example. 1 CNAME c.example.", "c.example. 1 A 192.0.2.1"}, []string{"192.0.2.1 a.example"}},
		{"CNAME to itself", []string{"a.example. 1 CNAME a.example.", "a.example. 1 A 192.0.2.1"}, []string{"192.0.2.1 a.example"}},
		{"CNAME in a circle", []string{"a.example. 1 CNAME b.example.", "b.example. 1 CNAME a.example.", "a.example. 1 A 192.0.2.1"}, []string{"192.0.2.1 a.example"}},
		{"sixteen CNAMEs", chain, []string{"192.0.2.1 n16.example"}},
		{"not the question's name", []string{"other.example. 1 A 192.0.2.1"}, []string{"192.0.2.1 other.example"}},
		{"additional section", []string{"--", "a.example. 1 A 192.0.2.1"}, nil},
		{"other types", []string{"a.example. 1 TXT x", "a.example. 1 MX 1 m.example.", "1.2.0.192.in-addr.arpa. 1 PTR p.example.", "a.example. 1 A 192.0.2.1"}, []string{"192.0.2.1 a.example"}},
		{"other class", []string{"a.example. 1 CH A 192.0.2.1"}, nil},
		{"unlearnable", []string{"a.example. 1 A 0.1.2.3", "a.example. 1 A 127.0.0.1", "a.example. 1 A 224.0.0.1", "a.example. 1 A 255.255.255.255",
			"a.example. 1 AAAA ::", "a.example. 1 AAAA ::1", "a.example. 1 AAAA ff02::1", "a.example. 1 AAAA ::2", "a.example. 1 A 126.0.0.1"}, []string{"::2 a.example", "126.0.0.1 a.example"}},
		{"no valid name", []string{`a\.b.example. 1 A 192.0.2.1`, `a\032b.example. 1 A 192.0.2.1`, `\195\188.example. 1 A 192.0.2.1`, "*.example. 1 A 192.0.2.1", ". 1 A 192.0.2.1"}, nil},
		{"any case", []string{"A-Z_az09@[`{.example. 1 A 192.0.2.1", "AZ.az-09_.EXAMPLE. 1 A 192.0.2.2"}, []string{"192.0.2.2 az.az-09_.example"}},
		{"lengths like a dot and digits", []string{strings.Repeat("A", '.') + "." + strings.Repeat("b", '9') + ". 1 A 192.0.2.1"}, []string{"192.0.2.1 " + strings.Repeat("a", '.') + "." + strings.Repeat("b", '9')}},
		{"CNAME from no valid name", []string{"*.example. 1 CNAME b.example.", "b.example. 1 A 192.0.2.1"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := NewObserver(DefaultLimits())
			if !o.UDP(answerTo(pack(t, response(t, "a.example", c.lines...)))) {
				t.Error("a DNS flow is not decided")
			}
			h := wantFacts(t, o, c.want...)
			if h.Stats.DNSResponses != 1 || h.Stats.DNSRcodes[0] != 1 || h.Stats.DNSMalformed != 0 {
				t.Errorf("stats %+v", h.Stats)
			}
			checkHarvest(t, h)
		})
	}
}

func TestFactsSayToWhom(t *testing.T) {
	b := pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1"))
	o := NewObserver(DefaultLimits())
	o.UDP(answerTo(b))
	p := answerTo(b)
	p.SrcPort, p.DstPort, p.Dst = 5353, 5353, mapped([]byte{224, 0, 0, 251})
	o.UDP(p)
	h := wantFacts(t, o, "192.0.2.1 a.example", "192.0.2.1 a.example")
	one, all := h.Facts[0], h.Facts[1]
	if one.Client != addr(1) || one.Everyone || one.Order != 7 || one.Time != 1e9 {
		t.Errorf("%+v", one)
	}
	if all.Client != [16]byte{} || !all.Everyone {
		t.Errorf("%+v", all)
	}
}

func TestNoSlot(t *testing.T) {
	o := NewObserver(DefaultLimits())
	p := answerTo(pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1")))
	p.Slot = NoSlot
	o.UDP(p)
	p = datagramOf(0, mustHex(rfc9001Initial))
	p.Slot, p.DstPort = NoSlot, 53
	o.UDP(p)
	p = newTCP().packet(0, 0, []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"))
	p.Slot, p.DstPort = NoSlot, 53
	o.TCP(p)
	if h := wantFacts(t, o, "192.0.2.1 a.example"); len(h.Owns) != 0 {
		t.Errorf("own names %q of no flow", ownNames(h))
	}
}

func TestMDNS(t *testing.T) {
	m := response(t, "p.local", "p.local. 1 PTR q.local.", "--", "h.local. 1 A 192.0.2.9")
	m.Extra[0].Header().Class |= 1 << 15 // flush
	p := answerTo(pack(t, m))
	p.SrcPort = 5353
	o := NewObserver(DefaultLimits())
	o.UDP(p)
	h := wantFacts(t, o, "192.0.2.9 h.local")
	if h.Stats.DNSResponses != 0 || len(h.DNS) != 0 {
		t.Errorf("mDNS was counted: %+v", h.Stats)
	}
}

func TestAnswersBeforeACut(t *testing.T) {
	b := pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1", "a.example. 1 A 192.0.2.2", "a.example. 1 A 192.0.2.3"))
	o := NewObserver(DefaultLimits())
	for n := range len(b) {
		p := answerTo(b[:n])
		p.PayloadLength = uint32(len(b))
		o.UDP(p)
		h := harvest(o)
		want := max(0, (n-(len(b)-3*16))/16)
		if len(h.Facts) != want {
			t.Errorf("%d bytes: %q, want %d", n, facts(h), want)
		}
		if n >= 4 && (h.Stats.DNSResponses != 1 || h.Stats.DNSMalformed != 0) {
			t.Errorf("%d bytes: %+v", n, h.Stats)
		}
	}
	o.UDP(answerTo(b[:len(b)-1])) // damaged, not cut by the capture
	if h := wantFacts(t, o, "192.0.2.1 a.example", "192.0.2.2 a.example"); h.Stats.DNSMalformed != 1 {
		t.Errorf("%+v", h.Stats)
	}
}

func TestHostileMessages(t *testing.T) {
	header := func(questions, answers uint16) []byte {
		b := []byte{0, 1, 0x81, 0x80}
		b = binary.BigEndian.AppendUint16(b, questions)
		b = binary.BigEndian.AppendUint16(b, answers)
		return append(b, 0, 0, 0, 0)
	}
	record := []byte{0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 1}
	for name, b := range map[string][]byte{
		"pointer to itself":    append(append(header(0, 1), 0xc0, 12), record...),
		"pointers in a circle": append(append(header(0, 1), 0xc0, 14, 0xc0, 12), record...),
		"label and pointer":    append(append(header(0, 1), 1, 'a', 0xc0, 12), record...),
		"absurd counts":        header(0xffff, 0xffff),
		"reserved label":       append(append(header(0, 1), 0x80, 0), record...),
		"endless name":         append(append(header(0, 1), []byte(strings.Repeat("\x01a", 130)+"\x00")...), record...),
	} {
		o := NewObserver(DefaultLimits())
		o.UDP(answerTo(b))
		if h := wantFacts(t, o); h.Stats.DNSMalformed != 1 {
			t.Errorf("%s: %+v", name, h.Stats)
		}
	}
}

func TestFactsAreBounded(t *testing.T) {
	limits := DefaultLimits()
	limits.Facts = 2
	o := NewObserver(limits)
	b := pack(t, response(t, "a.example", "a.example. 1 A 192.0.2.1", "a.example. 1 A 192.0.2.2", "b.example. 1 A 192.0.2.3"))
	o.UDP(answerTo(b))
	if h := wantFacts(t, o, "192.0.2.1 a.example", "192.0.2.2 a.example"); h.Stats.FactsOverflowed != 1 {
		t.Errorf("%+v", h.Stats)
	}
	o.UDP(answerTo(b))
	wantFacts(t, o, "192.0.2.1 a.example", "192.0.2.2 a.example")
}

// FuzzDNS compares with what miekg/dns reads, wherever that reads anything.
func FuzzDNS(f *testing.F) {
	f.Add(pack(f, response(f, "a.example", "a.example. 1 CNAME b.example.", "b.example. 1 A 192.0.2.1", "b.example. 1 AAAA 2001:db8::1")))
	f.Add(pack(f, response(f, "x", "x. 1 CNAME x.", `a\.b. 1 A 192.0.2.1`, "--", "h. 1 A 192.0.2.1")))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, mdns := range []bool{false, true} {
			o := NewObserver(DefaultLimits())
			p := answerTo(b)
			if mdns {
				p.SrcPort = 5353
			}
			o.UDP(p)
			h := harvest(o)
			checkHarvest(t, h)
			m := new(dns.Msg)
			if m.Unpack(b) != nil || o.parser.cut || len(o.parser.cnames) == maxCNAMEs {
				continue
			}
			if got, want := facts(h), reference(m, mdns); !slices.Equal(got, want) {
				t.Fatalf("mdns %v: %q, want %q\n%v", mdns, got, want, m)
			}
		}
	})
}

// reference is DEFINITIONS 6.2 and 6.3 over what miekg/dns read.
func reference(m *dns.Msg, mdns bool) (want []string) {
	if !m.Response || m.Rcode&15 != 0 || m.Opcode != 0 {
		return nil
	}
	all := m.Answer
	if mdns {
		all = slices.Concat(m.Answer, m.Extra)
	}
	var records []dns.RR
	for _, rr := range all {
		class := rr.Header().Class
		if mdns {
			class &= 0x7fff
		}
		if class == dns.ClassINET {
			records = append(records, rr)
		}
	}
	up := map[string]string{}
	for _, rr := range records {
		if c, ok := rr.(*dns.CNAME); ok {
			if _, known := up[lower(c.Target)]; !known {
				up[lower(c.Target)] = lower(c.Hdr.Name)
			}
		}
	}
	for _, rr := range records {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			if ip = rr.AAAA; ip.To4() != nil {
				continue
			}
		}
		a, ok := netip.AddrFromSlice(ip)
		if a = a.Unmap(); !ok || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() ||
			a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240) {
			continue
		}
		owner := lower(rr.Header().Name)
		for hops := 0; hops < maxHops; hops++ {
			above, ok := up[owner]
			if !ok {
				break
			}
			owner = above
		}
		if name, ok := appendNormal(nil, []byte(owner)); ok {
			want = append(want, a.String()+" "+string(name))
		}
	}
	return want
}

// lower is for ASCII only, as DNS is.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}
