package server

import (
	"fmt"
	"testing"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// TestReasons wants the parts to add up to the whole, whatever a sensor says and
// however many interfaces it says it of.
func TestReasons(t *testing.T) {
	const budget = 100
	s := testService(t, func(c *Config) { c.MaxRowsPerSensor = budget })
	reasons := append(rows.Reasons(), "", "of a later version", "(odd)")
	for n := uint64(1); n <= 20; n++ {
		w := next("h", aLog, n, chainOf(aLog, n-1))
		for i := range 1000 {
			k := domainKey(unattributed, netmonpb.NameSource_NAME_SOURCE_NONE)
			k.Interface, k.Detail = fmt.Sprint("veth", n, i), reasons[i%len(reasons)]
			w.Rows = append(w.Rows, rowOf(k, func(c *netmonpb.Counters) { c.BytesSent, c.BytesReceived = 3, 4 }))
		}
		w.Rows = append(w.Rows, domainRow("a.test", 100, 100))
		mustTake(t, s, windowRequest(w))
	}
	if got, want := sum(t, s, "network_unattributed_bytes_total"), uint64(20*1000*7); got != want {
		t.Errorf("reasons sum to %d, want %d", got, want)
	}
	w := next("i", aLog, 1, nil)
	for _, detail := range reasons {
		k := domainKey(unattributed, netmonpb.NameSource_NAME_SOURCE_NONE)
		k.Detail = detail
		w.Rows = append(w.Rows, rowOf(k, func(c *netmonpb.Counters) { c.BytesSent = 1 }))
	}
	mustTake(t, s, windowRequest(w))
	wantSeries(t, s, `network_unattributed_bytes_total{host="i",interface="eth0",reason="no_lookup"}`, "1")
	wantSeries(t, s, `network_unattributed_bytes_total{host="i",interface="eth0",reason="unknown"}`, "3")
}
