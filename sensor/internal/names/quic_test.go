package names

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func idOf(version uint32, id string) connectionID {
	c := connectionID{version: version}
	c.n = uint8(copy(c.b[:], mustHex(id)))
	return c
}

// TestInitialSecrets checks the keys of RFC 9001, appendix A.1, RFC 9369, appendix
// A.1, and of draft-ietf-quic-tls-29 and -27.
func TestInitialSecrets(t *testing.T) {
	for _, c := range []struct {
		version     uint32
		key, iv, hp string
	}{
		{1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"},
		{0x6b3343cf, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"},
		{0xff00001d, "175257a31eb09dea9366d8bb79ad80ba", "6b26114b9cba2b63a9e8dd4f", "9ddd12c994c0698b89374a9c077a3077"},
		{0xff00001b, "af7fd7efebd21878ff66811248983694", "8681359410a70bb9c92f0420", "a980b8b4fb7d9fbc13e814c23164253d"},
	} {
		id := idOf(c.version, "8394c8f03e515708")
		key, iv, hp, err := clientSecrets(&id)
		if err != nil || hex.EncodeToString(key) != c.key || hex.EncodeToString(iv) != c.iv || hex.EncodeToString(hp) != c.hp {
			t.Errorf("%x: key %x, iv %x, hp %x, %v", c.version, key, iv, hp, err)
		}
	}
}

func TestInitialPackets(t *testing.T) {
	for _, packet := range []string{rfc9001Initial, rfc9369Initial} {
		o := NewObserver(DefaultLimits())
		b := mustHex(packet)
		if !o.UDP(datagramOf(0, b)) {
			t.Error("not decided")
		}
		if hex.EncodeToString(b) != packet {
			t.Error("the packet was changed")
		}
		wantOwns(t, o, "quic_sni example.com")
		if o.quics.len() != 0 {
			t.Error("a decided flow is still held")
		}
	}
}

func datagramOf(from int, b []byte) *Packet {
	return &Packet{
		Src: addr(1), Dst: addr(2), SrcPort: 40000, DstPort: 443, Slot: 1, Generation: 1,
		FromInitiator: from == 0, Payload: b, PayloadLength: uint32(len(b)),
	}
}

// seal makes an Initial packet of frames.
func seal(t testing.TB, keys, header connectionID, number uint32, token, frames []byte) []byte {
	t.Helper()
	version, _ := versionOf(keys.version)
	key, iv, hp, err := clientSecrets(&keys)
	if err != nil {
		t.Fatal(err)
	}
	for len(frames) < 4 {
		frames = append(frames, 0)
	}
	b := []byte{0xc3 | version.initial<<4}
	b = binary.BigEndian.AppendUint32(b, header.version)
	b = append(append(b, header.n), header.b[:header.n]...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, 0x4000|uint16(len(token)))
	b = append(b, token...)
	b = binary.BigEndian.AppendUint16(b, 0x4000|uint16(4+len(frames)+16))
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, number)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := slices.Clone(iv)
	for i := range 4 {
		nonce[8+i] ^= b[at+i]
	}
	b = aead.Seal(b, nonce, frames, b)
	mask := make([]byte, 16)
	if block, err = aes.NewCipher(hp); err != nil {
		t.Fatal(err)
	}
	block.Encrypt(mask, b[at+4:at+20])
	b[0] ^= mask[0] & 15
	for i := range 4 {
		b[at+i] ^= mask[1+i]
	}
	return b
}

func cryptoFrame(off int, b []byte) []byte {
	f := []byte{6}
	f = binary.BigEndian.AppendUint16(f, 0x4000|uint16(off))
	f = binary.BigEndian.AppendUint16(f, 0x4000|uint16(len(b)))
	return append(f, b...)
}

func TestQUIC(t *testing.T) {
	hello := clientHelloOf(t, "quic.example")[5:]
	bad := clientHelloOf(t, "192.0.2.1")[5:]
	half := len(hello) / 2
	first, second := cryptoFrame(0, hello[:half]), cryptoFrame(half, hello[half:])
	a, b := idOf(1, "0102030405060708"), idOf(1, "a1a2a3a4a5a6a7a8")
	one := func(frames []byte) []byte { return seal(t, a, a, 0, nil, frames) }
	handshake := append([]byte{0xe3, 0, 0, 0, 1, 0, 0, 0x40, 30}, make([]byte, 30)...)
	retry := append([]byte{0xf0, 0, 0, 0, 1, 0, 0}, make([]byte, 40)...)
	ack := append([]byte{2, 9, 0, 1, 1, 2, 2, 3, 9, 0, 1, 1, 2, 2, 1, 2, 3, 1, 0, 0}, second...)
	for _, c := range []struct {
		name    string
		packets [][]byte
		want    []string
		decided bool
	}{
		{"one packet", [][]byte{one(cryptoFrame(0, hello))}, []string{"quic_sni quic.example"}, true},
		{"two datagrams", [][]byte{one(first), one(second)}, []string{"quic_sni quic.example"}, true},
		{"two datagrams in the other order", [][]byte{one(second), one(first)}, []string{"quic_sni quic.example"}, true},
		{"coalesced", [][]byte{append(one(second), one(first)...)}, []string{"quic_sni quic.example"}, true},
		{"behind a handshake packet", [][]byte{append(handshake, one(cryptoFrame(0, hello))...)}, []string{"quic_sni quic.example"}, true},
		{"frames out of order with padding and acks", [][]byte{one(append(ack, first...))}, []string{"quic_sni quic.example"}, true},
		{"keys kept, ID changed", [][]byte{one(first), seal(t, a, b, 1, nil, second)}, []string{"quic_sni quic.example"}, true},
		{"after a Retry", [][]byte{one(first), retry, seal(t, b, b, 1, []byte("token"), first), seal(t, b, b, 2, []byte("token"), second)}, []string{"quic_sni quic.example"}, true},
		{"streams of two connections do not mix", [][]byte{one(first), seal(t, b, b, 1, nil, second)}, nil, false},
		{"damaged", [][]byte{damage(one(cryptoFrame(0, hello)))}, nil, false},
		{"no valid name", [][]byte{one(cryptoFrame(0, bad))}, nil, true},
		{"no QUIC", [][]byte{[]byte("hello, world")}, nil, true},
		{"a message in between", [][]byte{one(first), []byte("x"), one(second)}, []string{"quic_sni quic.example"}, true},
		{"cut by snaplen", [][]byte{one(cryptoFrame(0, hello))[:200]}, nil, false},
		{"version negotiation", [][]byte{{0xca, 0x1a, 0x2a, 0x3a, 0x4a, 0, 0, 0}, {0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, one(cryptoFrame(0, hello))}, []string{"quic_sni quic.example"}, true},
	} {
		for from := range 2 {
			o := NewObserver(DefaultLimits())
			decided := false
			for _, b := range c.packets {
				decided = o.UDP(datagramOf(from, b))
			}
			h := harvest(o)
			if got := ownNames(h); !slices.Equal(got, c.want) || decided != c.decided {
				t.Errorf("%s: %q, decided %v; want %q, %v", c.name, got, decided, c.want, c.decided)
			}
		}
	}
}

func damage(b []byte) []byte {
	b[len(b)-1] ^= 1
	return b
}

func TestQUICVersions(t *testing.T) {
	hello := clientHelloOf(t, "quic.example")[5:]
	for _, v := range []uint32{1, 0x6b3343cf, 0xff000017, 0xff00001c, 0xff00001d, 0xff000020, 0xff000021, 0xff000022} {
		id := idOf(v, "01020304")
		o := NewObserver(DefaultLimits())
		o.UDP(datagramOf(0, seal(t, id, id, 7, nil, cryptoFrame(0, hello))))
		wantOwns(t, o, "quic_sni quic.example")
	}
}

func TestPatientWaitsForQUIC(t *testing.T) {
	limits := DefaultLimits()
	limits.Patient = true
	o := NewObserver(limits)
	for range 100 {
		if o.UDP(datagramOf(0, []byte("something else"))) {
			t.Fatal("decided")
		}
	}
	if !o.UDP(datagramOf(0, mustHex(rfc9001Initial))) {
		t.Error("not decided")
	}
}

func TestQUICWorkIsBounded(t *testing.T) {
	packet := damage(mustHex(rfc9001Initial))
	o := NewObserver(DefaultLimits())
	tries := 0
	for !o.UDP(datagramOf(0, packet)) {
		if tries++; tries > 1000 {
			t.Fatal("never decided")
		}
	}
	if tries != maxTries-1 {
		t.Errorf("%d tries", tries)
	}

	limits := DefaultLimits()
	limits.QUICPackets = 3
	o = NewObserver(limits)
	for i := range 5 {
		p := datagramOf(0, packet)
		p.Slot = uint32(i)
		if decided := o.UDP(p); decided != (i >= 3) {
			t.Errorf("flow %d decided %v", i, decided)
		}
	}
	if h := harvest(o); h.Stats.HeadsOverflowed != 2 {
		t.Errorf("%d overflowed, want 2", h.Stats.HeadsOverflowed)
	}
}

// initialDatagrams returns the first flight of quic-go's client.
func initialDatagrams(t testing.TB, version quic.Version, name string) [][]byte {
	t.Helper()
	return quicFlight(t, version, &tls.Config{ServerName: name, NextProtos: []string{"h3"}})
}

func quicFlight(t testing.TB, version quic.Version, config *tls.Config) [][]byte {
	t.Helper()
	conn := &captureConn{closed: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer cancel()
	_, err := quic.Dial(ctx, conn, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443},
		config, &quic.Config{Versions: []quic.Version{version}})
	if err == nil {
		t.Fatal("a handshake with nobody went well")
	}
	conn.Close()
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return conn.sent
}

// captureConn keeps what is sent and never receives anything.
type captureConn struct {
	net.PacketConn
	mu     sync.Mutex
	sent   [][]byte
	once   sync.Once
	closed chan struct{}
}

func (c *captureConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, slices.Clone(b))
	return len(b), nil
}

func (c *captureConn) ReadFrom([]byte) (int, net.Addr, error) {
	<-c.closed
	return 0, nil, errors.New("closed")
}
func (c *captureConn) Close() error                    { c.once.Do(func() { close(c.closed) }); return nil }
func (c *captureConn) LocalAddr() net.Addr             { return &net.UDPAddr{} }
func (c *captureConn) SetDeadline(time.Time) error     { return nil }
func (c *captureConn) SetReadDeadline(time.Time) error { return c.Close() }

func TestQUICClient(t *testing.T) {
	for _, version := range []quic.Version{quic.Version1, quic.Version2} {
		sent := initialDatagrams(t, version, "client.example")
		if len(sent) < 2 {
			t.Fatalf("only %d datagrams: the ClientHello no longer needs two", len(sent))
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 20 {
			o := NewObserver(DefaultLimits())
			for _, b := range sent {
				if o.UDP(datagramOf(0, b)) {
					break
				}
			}
			wantOwns(t, o, "quic_sni client.example")
			r.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
		}
	}
}

// FuzzQUIC gives hostile datagrams, and hostile frames in well-sealed packets.
func FuzzQUIC(f *testing.F) {
	hello := clientHelloOf(f, "quic.example")[5:]
	f.Add(mustHex(rfc9001Initial), cryptoFrame(0, hello))
	f.Add(mustHex(rfc9369Initial), append(cryptoFrame(700, hello[700:]), cryptoFrame(0, hello[:700])...))
	f.Add([]byte{0xc3, 0, 0, 0, 1, 0xff}, []byte{2, 0, 0, 0x3f, 0, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, datagram, frames []byte) {
		o := NewObserver(DefaultLimits())
		id := idOf(1, "01020304")
		if len(frames) < 8192 {
			o.UDP(datagramOf(0, seal(t, id, id, 0, nil, frames)))
		}
		o.UDP(datagramOf(1, datagram))
		o.UDP(datagramOf(0, datagram))
		checkHarvest(t, harvest(o))
		o.Forget(1, 1)
		if o.quics.len() != 0 {
			t.Fatal("something is still held")
		}
	})
}
