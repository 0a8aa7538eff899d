package names

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
)

// configuration is an ECHConfig with a key of its own (RFC 9849, section 4).
func configuration(t testing.TB, version uint16, publicName string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := []byte{7, 0, 0x20} // number, DHKEM(X25519, HKDF-SHA256)
	c = binary.BigEndian.AppendUint16(c, 32)
	c = append(c, key.PublicKey().Bytes()...)
	c = append(c, 0, 4, 0, 1, 0, 1, 0) // HKDF-SHA256, AES-128-GCM, no longest name
	c = append(append(c, byte(len(publicName))), publicName...)
	c = append(c, 0, 0)
	b := binary.BigEndian.AppendUint16(nil, version)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(c))), c...)
}

func configurations(cs ...[]byte) []byte {
	all := slices.Concat(cs...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(all))), all...)
}

func httpsAnswer(name string, ech []byte) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeHTTPS)
	m.Response = true
	m.Answer = []dns.RR{&dns.HTTPS{SVCB: dns.SVCB{
		Hdr:      dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeHTTPS, Class: dns.ClassINET, Ttl: 300},
		Priority: 1, Target: ".",
		Value: []dns.SVCBKeyValue{
			&dns.SVCBAlpn{Alpn: []string{"h3", "h2"}},
			&dns.SVCBIPv4Hint{Hint: nil},
			&dns.SVCBECHConfig{ECH: ech},
			&dns.SVCBLocal{KeyCode: 65280, Data: []byte("x")},
		},
	}}}
	return m
}

// covers returns the names in a harvest, as "order name".
func covers(h *Harvest) (s []string) {
	for _, c := range h.Covers {
		s = append(s, fmt.Sprintf("%d %s", c.Order, h.Text[c.NameStart:c.NameEnd]))
	}
	return s
}

func TestCovers(t *testing.T) {
	one, two := configuration(t, 0xfe0d, "Cover.example"), configuration(t, 0xfe0d, "other.example")
	old, address := configuration(t, 0xfe0a, "old.example"), configuration(t, 0xfe0d, "192.0.2.1")
	many := make([][]byte, 20)
	for i := range many {
		many[i] = configuration(t, 0xfe0d, fmt.Sprintf("n%d.example", i))
	}
	for _, c := range []struct {
		name string
		ech  []byte
		want []string
	}{
		{"one", configurations(one), []string{"7 cover.example"}},
		{"two", configurations(one, two), []string{"7 cover.example", "7 other.example"}},
		{"the same twice", configurations(one, one), []string{"7 cover.example"}},
		{"behind a version that is not known", configurations(old, two), []string{"7 other.example"}},
		{"no valid name", configurations(address, two), []string{"7 other.example"}},
		{"cut off", configurations(one, two)[:len(one)+20], []string{"7 cover.example"}},
		{"empty", configurations(), nil},
		{"none", nil, nil},
		{"too many", configurations(many...), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := NewObserver(DefaultLimits())
			o.UDP(answerTo(pack(t, httpsAnswer("a.example", c.ech))))
			h := harvest(o)
			checkHarvest(t, h)
			if c.name == "too many" {
				if len(h.Covers) != maxCovers {
					t.Errorf("%d covers, want %d", len(h.Covers), maxCovers)
				}
				return
			}
			if got := covers(h); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestCoversAreBounded also holds that an epoch notes each name once, and the
// next one again.
func TestCoversAreBounded(t *testing.T) {
	limits := DefaultLimits()
	limits.Covers = 2
	o := NewObserver(limits)
	for _, name := range []string{"a.example", "b.example", "a.example", "c.example"} {
		o.UDP(answerTo(pack(t, httpsAnswer("x.example", configurations(configuration(t, 0xfe0d, name))))))
	}
	h := harvest(o)
	if got := covers(h); !slices.Equal(got, []string{"7 a.example", "7 b.example"}) || h.Stats.FactsOverflowed != 1 {
		t.Errorf("%q, %d overflowed", got, h.Stats.FactsOverflowed)
	}
	o.UDP(answerTo(pack(t, httpsAnswer("x.example", configurations(configuration(t, 0xfe0d, "a.example"))))))
	if got := covers(harvest(o)); !slices.Equal(got, []string{"7 a.example"}) {
		t.Errorf("%q in the next epoch", got)
	}
}

func TestCoversOnlyFromAnswers(t *testing.T) {
	list := configurations(configuration(t, 0xfe0d, "cover.example"))
	m := httpsAnswer("a.example", list)
	failed, query, extra := m.Copy(), m.Copy(), m.Copy()
	failed.Rcode = dns.RcodeServerFailure
	query.Response = false
	extra.Extra, extra.Answer = extra.Answer, nil
	o := NewObserver(DefaultLimits())
	for _, m := range []*dns.Msg{failed, query, extra} {
		o.UDP(answerTo(pack(t, m)))
	}
	p := answerTo(pack(t, m))
	p.SrcPort = 5353
	o.UDP(p)
	if got := covers(harvest(o)); got != nil {
		t.Errorf("%q", got)
	}
}

// TestECH looks at the ClientHellos of real clients.
func TestECH(t *testing.T) {
	list := configurations(configuration(t, 0xfe0d, "cover.example"))
	config := func() *tls.Config {
		return &tls.Config{ServerName: "hidden.example", NextProtos: []string{"h3"}, EncryptedClientHelloConfigList: list, MinVersion: tls.VersionTLS13}
	}
	want := func(o *Observer, name string, ech bool) {
		t.Helper()
		h := harvest(o)
		if got := ownNames(h); !slices.Equal(got, []string{name}) || h.Owns[0].ECH != ech || h.Owns[0].Order != 9 {
			t.Errorf("%q %+v; want %q, ECH %v", got, h.Owns, name, ech)
		}
	}
	o := NewObserver(DefaultLimits())
	p := newTCP().packet(0, 0, firstFlight(t, config()))
	p.Order = 9
	o.TCP(p)
	want(o, "sni cover.example", true)

	p.Payload = clientHelloOf(t, "plain.example")
	p.PayloadLength = uint32(len(p.Payload))
	o.TCP(p)
	want(o, "sni plain.example", false)

	for _, b := range quicFlight(t, quic.Version1, config()) {
		p := datagramOf(0, b)
		p.Order = 9
		if o.UDP(p) {
			break
		}
	}
	want(o, "quic_sni cover.example", true)
}

// TestECHBehindTheName has the extension on either side of the name, and an
// inner one, which only a server's other half would see.
func TestECHBehindTheName(t *testing.T) {
	name := []byte("\x00\x00\x00\x0e\x00\x0c\x00\x00\x09a.example")
	outer, inner := []byte("\xfe\x0d\x00\x02\x00\x01"), []byte("\xfe\x0d\x00\x01\x01")
	for _, c := range []struct {
		extensions []byte
		name       string
		ech        bool
	}{
		{slices.Concat(name, outer), "a.example", true},
		{slices.Concat(outer, name), "a.example", true},
		{slices.Concat(inner, name), "a.example", false},
		{slices.Concat(name, []byte("\xfe\x0d\x00\x00")), "a.example", false},
		{slices.Concat(name, []byte("\xfe\x0d\x00\x09\x00")), "a.example", false},
		{slices.Concat(name, []byte("\x00\x00\x00\x00")), "a.example", false},
		{slices.Concat([]byte("\x00\x00\x00\x00"), name), "", false},
		{outer, "", true},
	} {
		b := make([]byte, 2+32+1+2+1)
		b = binary.BigEndian.AppendUint16(b, uint16(len(c.extensions)))
		got := readHello(append(b, c.extensions...))
		if string(got.name) != c.name || got.ech != c.ech || !got.whole {
			t.Errorf("%q: %+v, want %q %v", c.extensions, got, c.name, c.ech)
		}
	}
}

func TestBookCovers(t *testing.T) {
	b := NewBook(0)
	text := []byte("cover.example")
	id := b.Intern(text)
	is := func(before uint64, want bool) {
		t.Helper()
		if got := b.IsCover(id, before); got != want {
			t.Errorf("before %d: %v", before, got)
		}
	}
	is(100, false)
	b.LearnCover(&Cover{0, 13, 50}, text)
	b.LearnCover(&Cover{0, 13, 70}, text)
	is(50, false)
	is(51, true)
	b.Sweep(func(func(ID)) {})
	if got := b.Name(id); got != "cover.example" {
		t.Errorf("swept: %q", got)
	}
	b.Age()
	is(60, true)
	b.Age()
	is(60, true)
	b.Age()
	b.Age()
	is(60, false)
	if !b.IsCover(b.Intern([]byte("cloudflare-ech.com")), 0) || b.IsCover(0, 100) {
		t.Error("the built-in list is wrong")
	}
}

func TestBookCoversAreBounded(t *testing.T) {
	b := NewBook(100)
	for i := range 1000 {
		text := fmt.Appendf(nil, "n%d.example", i)
		b.LearnCover(&Cover{0, uint32(len(text)), uint64(i)}, text)
		if b.covers.len() > 100 {
			t.Fatalf("%d covers", b.covers.len())
		}
	}
	if kept := uint64(b.covers.len()); b.Evicted+kept != 1000 {
		t.Errorf("%d evicted and %d kept of 1000", b.Evicted, kept)
	}
	if !b.IsCover(b.Intern([]byte("n999.example")), 1000) {
		t.Error("the latest is forgotten")
	}
}

// FuzzECH gives hostile records, whole messages included.
func FuzzECH(f *testing.F) {
	list := configurations(configuration(f, 0xfe0d, "cover.example"), configuration(f, 0xfe0d, "other.example"))
	f.Add([]byte("\x00\x01\x00"), list)
	f.Add([]byte("\x00\x01\x01a\x07example\x00\x00\x01\x00\x03\x02h2"), list[:len(list)-40])
	f.Fuzz(func(t *testing.T, head, value []byte) {
		if len(head)+len(value) > 60000 {
			return
		}
		b := []byte{0, 1, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 65, 0, 1, 0, 0, 0, 0}
		b = binary.BigEndian.AppendUint16(b, uint16(len(head)+4+len(value)))
		b = append(b, head...)
		b = binary.BigEndian.AppendUint16(append(b, 0, 5), uint16(len(value)))
		b = append(b, value...)
		o := NewObserver(DefaultLimits())
		o.UDP(answerTo(b))
		h := harvest(o)
		checkHarvest(t, h)
		if len(h.Covers) > maxCovers {
			t.Fatalf("%d covers", len(h.Covers))
		}
		for _, s := range o.parser.covers {
			if s.from < 12 || s.to > len(b) || s.from >= s.to {
				t.Fatalf("a name at %v of %d bytes", s, len(b))
			}
		}
	})
}
