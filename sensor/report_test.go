package sensor

import (
	"encoding/json"
	"testing"
)

// TestLinesAreJSON compares what is written by hand with encoding/json.
func TestLinesAreJSON(t *testing.T) {
	d := domainJSON{Name: "a-b_c.example", BytesSent: 1, BytesReceived: 1<<64 - 1, PacketsSent: 3, PacketsReceived: 4, Connections: 5}
	ip := ipJSON{IP: "2001:db8::1", PacketsOut: 1, PacketsIn: 1<<64 - 1, BytesOut: 3, BytesIn: 4}
	for _, c := range []struct {
		value any
		got   []byte
	}{{d, d.append(nil)}, {ip, ip.append(nil)}} {
		if want, err := json.Marshal(c.value); err != nil || string(c.got) != string(want) {
			t.Errorf("%s, want %s (%v)", c.got, want, err)
		}
	}
}
