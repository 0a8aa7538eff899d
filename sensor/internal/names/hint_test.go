package names

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// hints returns those in a harvest, as "slot/generation kind".
func hints(h *Harvest) (s []string) {
	for _, i := range h.Hints {
		s = append(s, fmt.Sprintf("%d/%d %s", i.Slot, i.Generation, i.Kind))
	}
	return s
}

func wantHints(t *testing.T, what string, o *Observer, want ...string) {
	t.Helper()
	h := harvest(o)
	if got := hints(h); !slices.Equal(got, want) {
		t.Errorf("%s: hints %q, want %q", what, got, want)
	}
}

func TestTCPHints(t *testing.T) {
	hello, nameless := string(clientHelloOf(t, "sni.example")), string(clientHelloOf(t, "192.0.2.1"))
	request := func(host string) []step {
		return []step{{data: "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"}}
	}
	const (
		address  = "1/1 address_literal"
		invalid  = "1/1 name_invalid"
		without  = "1/1 hello_without_name"
		exceeded = "1/1 parser_limit"
	)
	for _, c := range []struct {
		name  string
		steps []step
		want  []string
	}{
		{"named", []step{{data: hello}}, nil},
		{"neither TLS nor HTTP", []step{{data: "\x00\x01"}, {from: 1, data: "220 hi\r\n"}}, nil},
		{"the server's half", []step{{from: 1, data: "\x16\x03\x03\x00\x04\x02\x00\x00\x00"}}, nil},
		{"not all there yet", []step{{data: hello[:100]}}, nil},
		{"no server name", []step{{data: nameless}}, []string{without}},
		{"no server name either way", []step{{data: nameless}, {from: 1, data: nameless}}, []string{without}},
		{"address", request("192.0.2.1:80"), []string{address}},
		{"address of version 6", request("[2001:db8::1]:8080"), []string{address}},
		{"address with a zone", request("[fe80::1%25eth0]"), []string{address}},
		{"hexadecimal address", request("0X7f.1"), []string{address}},
		{"no valid name", request("a b"), []string{invalid}},
		{"empty", request(""), []string{invalid}},
		{"a number behind a name", request("host.1"), []string{invalid}},
		{"almost an address", request("beef:cafe"), []string{invalid}},
		{"two kinds", append(request("*"), step{from: 1, data: nameless}), []string{invalid, without}},
		{"too long a hello", []step{{data: "\x16\x03\x01\x40\x00\x01\x00\x40\x00"}}, []string{exceeded}},
		{"too long a request", []step{{data: "GET / HTTP/1.1\r\nA: " + strings.Repeat("b", headLimit)}}, []string{exceeded}},
		{"cut by snaplen", []step{{data: hello[:100], wire: len(hello)}}, []string{exceeded}},
		{"cut in its middle", []step{{data: hello[:700]}, {off: 700, data: hello[700:710], wire: len(hello) - 700}}, []string{exceeded}},
		{"nothing captured", []step{{data: "", wire: 1000}}, []string{exceeded}},
		{"cut, but dead anyway", []step{{data: "\x17\x03\x03", wire: 1000}}, nil},
	} {
		f, o := newTCP(), NewObserver(DefaultLimits())
		for _, s := range c.steps {
			p := f.packet(s.from, s.off, []byte(s.data))
			if s.wire > 0 {
				p.PayloadLength = uint32(s.wire)
			}
			o.TCP(p)
		}
		wantHints(t, c.name, o, c.want...)
	}
}

func TestHintsSayWhatWasGivenUp(t *testing.T) {
	get := []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	f, o := newTCP(), NewObserver(DefaultLimits())
	f.syn(0)
	for range maxSegments + 1 {
		o.TCP(f.packet(0, 1, get[1:2]))
	}
	wantHints(t, "too many segments", o, "1/1 parser_limit")

	limits := DefaultLimits()
	limits.HeadFlows, limits.HeadBytes = 8, smallestBuffer
	o = NewObserver(limits)
	for f.slot = 1; f.slot <= 2; f.slot++ {
		o.TCP(f.packet(0, 0, get[:8]))
	}
	wantHints(t, "too many flows", o, "1/1 parser_limit")

	limits.HeadBytes = 1
	o = NewObserver(limits)
	f.slot = 3
	o.TCP(f.packet(0, 0, get[:8]))
	wantHints(t, "no room", o, "3/1 parser_limit")

	limits = DefaultLimits()
	limits.Facts = 1
	o = NewObserver(limits)
	for f.slot = 1; f.slot <= 2; f.slot++ {
		o.TCP(f.packet(0, 0, get))
	}
	wantHints(t, "too many names", o, "2/1 parser_limit")
	for f.slot = 1; f.slot <= 3; f.slot++ {
		o.TCP(f.packet(0, 0, []byte("GET / HTTP/1.1\r\nHost: *\r\n\r\n")))
	}
	if h := harvest(o); len(h.Hints) != 1 || h.Stats.HintsOverflowed != 2 {
		t.Errorf("%d hints, %d overflowed", len(h.Hints), h.Stats.HintsOverflowed)
	}
}

func TestQUICHints(t *testing.T) {
	hello, nameless := clientHelloOf(t, "quic.example")[5:], clientHelloOf(t, "192.0.2.1")[5:]
	id := idOf(1, "0102030405060708")
	one := func(frames []byte) []byte { return seal(t, id, id, 0, nil, frames) }
	half := one(cryptoFrame(0, hello[:100]))
	silent := append([][]byte{half}, slices.Repeat([][]byte{[]byte("short header")}, maxOthers)...)
	for _, c := range []struct {
		name    string
		packets [][]byte
		cut     int
		want    []string
	}{
		{"named", [][]byte{one(cryptoFrame(0, hello))}, 0, nil},
		{"no server name", [][]byte{one(cryptoFrame(0, nameless))}, 0, []string{"1/1 hello_without_name"}},
		{"cut by snaplen", [][]byte{one(cryptoFrame(0, hello))[:200]}, 100, []string{"1/1 parser_limit"}},
		{"damaged", [][]byte{one(cryptoFrame(0, hello))[:200]}, 0, nil},
		{"not all there", silent, 0, []string{"1/1 parser_limit"}},
		{"too long a hello", [][]byte{one(cryptoFrame(0, []byte{1, 0, 0x40, 0}))}, 0, []string{"1/1 parser_limit"}},
		{"too many tries", slices.Repeat([][]byte{damage(mustHex(rfc9001Initial))}, maxTries), 0, []string{"1/1 parser_limit"}},
		{"no QUIC", [][]byte{[]byte("hello, world")}, 0, nil},
	} {
		o := NewObserver(DefaultLimits())
		for _, b := range c.packets {
			p := datagramOf(0, b)
			p.PayloadLength += uint32(c.cut)
			o.UDP(p)
		}
		wantHints(t, c.name, o, c.want...)
	}

	limits := DefaultLimits()
	limits.QUICPackets = 1
	o := NewObserver(limits)
	for range 2 {
		o.UDP(datagramOf(0, half))
	}
	wantHints(t, "too many packets", o, "1/1 parser_limit")

	limits = DefaultLimits()
	limits.HeadFlows = 8 // and one of QUIC
	o = NewObserver(limits)
	p := datagramOf(0, half)
	o.UDP(p)
	p.Slot = 2
	o.UDP(p)
	wantHints(t, "too many flows", o, "1/1 parser_limit")
}

func TestOwners(t *testing.T) {
	o := NewObserver(DefaultLimits())
	o.UDP(answerTo(pack(t, response(t, "a.example",
		"a.example. 1 CNAME b.example.", "b.example. 1 CNAME C.example.",
		"c.example. 1 A 192.0.2.1", "c.example. 1 A 192.0.2.2", "d.example. 1 A 192.0.2.3", "b.example. 1 A 192.0.2.4",
		"a.example. 1 A 192.0.2.5", "e.example. 1 CNAME x\\*y.example.", "x\\*y.example. 1 A 192.0.2.6"))))
	h := harvest(o)
	checkHarvest(t, h)
	want := []string{"a.example c.example", "a.example c.example", "d.example ", "a.example b.example", "a.example ", "e.example "}
	var got []string
	for _, f := range h.Facts {
		got = append(got, fmt.Sprintf("%s %s", h.Text[f.NameStart:f.NameEnd], h.Text[f.OwnerStart:f.OwnerEnd]))
		if f.OwnerStart == f.OwnerEnd && f.OwnerStart != 0 {
			t.Errorf("no owner is at %d", f.OwnerStart)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEncryptedDNS(t *testing.T) {
	for name, want := range map[string]bool{
		"dns.google": true, "one.one.one.one": true, "dns.quad9.net": true, "doh.opendns.com": true,
		"cloudflare-dns.com": true, "mozilla.cloudflare-dns.com": true, "dns.nextdns.io": true, "abc123.dns.nextdns.io": true,
		"doh.cleanbrowsing.org": true, "dns.adguard-dns.com": true,
		"nextdns.io": false, "www.quad9.net": false, "xcloudflare-dns.com": false, "cloudflare-dns.com.example": false, "google": false, "com": false, "": false,
	} {
		if got := EncryptedDNS(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
