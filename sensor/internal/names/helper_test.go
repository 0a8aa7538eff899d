package names

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"testing"
)

// ownNames returns the own names in a harvest, in order, as "source name".
func ownNames(h *Harvest) []string {
	var s []string
	for _, w := range h.Owns {
		s = append(s, sourceNames[w.Source]+" "+string(h.Text[w.NameStart:w.NameEnd]))
	}
	return s
}

func harvest(o *Observer) *Harvest {
	h := new(Harvest)
	o.Harvest(h, 0)
	return h
}

func wantOwns(t testing.TB, o *Observer, want ...string) {
	t.Helper()
	if got := ownNames(harvest(o)); !slices.Equal(got, want) {
		t.Errorf("own names %q, want %q", got, want)
	}
}

// clientHelloOf returns the first flight of crypto/tls's client.
func clientHelloOf(t testing.TB, name string) []byte {
	t.Helper()
	return firstFlight(t, &tls.Config{ServerName: name, NextProtos: []string{"h2", "http/1.1"}})
}

func firstFlight(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan []byte)
	go func() {
		b := make([]byte, 1<<14)
		n, _ := io.ReadAtLeast(theirs, b, 5)
		for n < 5+int(b[3])<<8+int(b[4]) {
			more, err := theirs.Read(b[n:])
			if err != nil {
				break
			}
			n += more
		}
		theirs.Close()
		done <- b[:n]
	}()
	client := tls.Client(ours, config)
	if err := client.HandshakeContext(context.Background()); err == nil {
		t.Fatal("a handshake with nobody went well")
	}
	ours.Close()
	return <-done
}

// tcpFlow makes segments of one TCP flow.
type tcpFlow struct {
	slot             uint32
	srcPort, dstPort uint16
	isn              [2]uint32
	begun            [2]bool
}

func newTCP() *tcpFlow {
	return &tcpFlow{slot: 1, srcPort: 40000, dstPort: 443, isn: [2]uint32{0xfffffff0, 77}}
}

func (f *tcpFlow) packet(from int, off int, b []byte) *Packet {
	p := &Packet{
		Src: addr(1), Dst: addr(2), SrcPort: f.srcPort, DstPort: f.dstPort,
		Slot: f.slot, Generation: 1, FromInitiator: from == 0, PSH: true,
		First: f.isn[from] + 1, Begun: f.begun[from],
		Seq: f.isn[from] + 1 + uint32(off), Payload: b, PayloadLength: uint32(len(b)),
	}
	if from == 1 {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	return p
}

// syn has the SYN seen.
func (f *tcpFlow) syn(from int) { f.begun[from] = true }

func addr(n byte) [16]byte {
	return [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: n}
}
