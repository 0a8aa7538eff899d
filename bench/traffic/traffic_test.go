package traffic

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// TestSameBytes holds what the tables compare across versions of netmon to be
// the same packets.
func TestSameBytes(t *testing.T) {
	want := map[string]string{
		"imix":    "c11d2350a4c87f2a",
		"gaps":    "d89e1d2ebf3cbb54",
		"million": "28852f5f6381eb61",
		"dns":     "9208b40d63f002c5",
		"tls":     "40c9b402eb5fe109",
		"full":    "fb188490506c19de",
	}
	for _, s := range Scenes() {
		s.Packets = min(s.Packets, 20_000)
		sum := sha256.New()
		if err := s.Write(sum); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)[:8]); got != want[s.Name] {
			t.Errorf("%s is %s, want %s", s.Name, got, want[s.Name])
		}
	}
}

// TestMeansWhatItSays reads an IMIX with another decoder.
func TestMeansWhatItSays(t *testing.T) {
	s, ok := Find("imix")
	if !ok {
		t.Fatal("no scene imix")
	}
	s.Flows, s.Packets = 1000, 50_000
	flows := map[gopacket.Flow]bool{}
	var count, v6, queries, answers, hellos, bytes int
	for _, frame := range s.Frames() {
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		if e := p.ErrorLayer(); e != nil {
			t.Fatalf("packet %d: %v", count, e.Error())
		}
		count++
		bytes += len(frame)
		if p.Layer(layers.LayerTypeIPv6) != nil {
			v6++
		}
		if d, ok := p.Layer(layers.LayerTypeDNS).(*layers.DNS); ok {
			if d.QR {
				answers++
			} else {
				queries++
			}
		} else {
			flows[p.TransportLayer().TransportFlow()] = true
		}
		if tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && len(tcp.Payload) > 5 && tcp.Payload[0] == 22 {
			var tls layers.TLS
			if err := tls.DecodeFromBytes(tcp.Payload, gopacket.NilDecodeFeedback); err != nil {
				t.Fatalf("packet %d: %v", count, err)
			}
			hellos++
		}
	}
	if count != s.Packets {
		t.Errorf("%d packets, want %d", count, s.Packets)
	}
	between(t, "average frame", bytes/count, 300, 400)
	between(t, "IPv6 packets in a thousand", v6*1000/count, 150, 250)
	between(t, "queries", queries, 250, 350)
	between(t, "ClientHellos", hellos, 450, 700)
	if answers != queries {
		t.Errorf("%d answers to %d queries", answers, queries)
	}
}

func between(t *testing.T, what string, got, low, high int) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %d, want %d to %d", what, got, low, high)
	}
}
