package sensor

import (
	"encoding/json"
	"net/netip"
	"testing"
)

type ipJSON struct {
	IP         string `json:"ip"`
	PacketsOut uint64 `json:"packets_out"`
	PacketsIn  uint64 `json:"packets_in"`
	BytesOut   uint64 `json:"bytes_out"`
	BytesIn    uint64 `json:"bytes_in"`
}

// TestLinesAreJSON compares what is written by hand with encoding/json.
func TestLinesAreJSON(t *testing.T) {
	d := domainJSON{Name: "a-b_c.example", BytesSent: 1, BytesReceived: 1<<64 - 1, PacketsSent: 3, PacketsReceived: 4, Connections: 5}
	ip := ipJSON{IP: "2001:db8::1", PacketsOut: 1, PacketsIn: 1<<64 - 1, BytesOut: 3, BytesIn: 4}
	sum := addressSum{netip.MustParseAddr(ip.IP).As16(), traffic{1, 3}, traffic{1<<64 - 1, 4}}
	for _, c := range []struct {
		value any
		got   []byte
	}{{d, d.append(nil)}, {ip, sum.append(nil, 6)}} {
		if want, err := json.Marshal(c.value); err != nil || string(c.got) != string(want) {
			t.Errorf("%s, want %s (%v)", c.got, want, err)
		}
	}
}
