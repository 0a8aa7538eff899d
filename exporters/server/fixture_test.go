package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/common/expfmt"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

var aLog = bytes.Repeat([]byte{0xa1}, 16)

// row makes a row; edit sets what it counts.
func rowOf(k *netmonpb.Key, edit func(*netmonpb.Counters)) *netmonpb.Row {
	r := &netmonpb.Row{Key: k}
	if edit != nil {
		r.Counters = &netmonpb.Counters{}
		edit(r.Counters)
	}
	return r
}

func domainKey(domain string, s netmonpb.NameSource) *netmonpb.Key {
	return &netmonpb.Key{
		View: netmonpb.View_VIEW_DOMAINS, Interface: "eth0", Direction: netmonpb.Direction_DIRECTION_OUTBOUND,
		Domain: domain, NameSource: s,
	}
}

// unnamed is the key of traffic without a domain.
func unnamed(reason string) *netmonpb.Key {
	k := domainKey(unattributed, netmonpb.NameSource_NAME_SOURCE_NONE)
	k.Detail = reason
	return k
}

func domainRow(domain string, sent, received uint64) *netmonpb.Row {
	return rowOf(domainKey(domain, netmonpb.NameSource_NAME_SOURCE_SNI), func(c *netmonpb.Counters) {
		c.BytesSent, c.BytesReceived, c.PacketsSent, c.PacketsReceived = sent, received, 1, 1
		c.Connections, c.Accesses = 1, 1
	})
}

// next makes the window after the one with this chain.
func next(sensor string, logID []byte, sequence uint64, previous []byte, rows ...*netmonpb.Row) *netmonpb.Window {
	return &netmonpb.Window{
		LogId: logID, Sequence: sequence, SensorId: sensor, Rows: rows,
		StartNs: sequence * 5e9, EndNs: (sequence + 1) * 5e9,
		PreviousChain: previous, Chain: chainOf(logID, sequence),
	}
}

// chainOf stands for a hash of the log's content.
func chainOf(logID []byte, sequence uint64) []byte {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(bytes.Clone(logID), sequence))
	return h[:16]
}

func windowRequest(w *netmonpb.Window) *netmonpb.PushRequest {
	return &netmonpb.PushRequest{Item: &netmonpb.PushRequest_Window{Window: w}}
}

func snapshotRequest(s *netmonpb.Snapshot) *netmonpb.PushRequest {
	return &netmonpb.PushRequest{Item: &netmonpb.PushRequest_Snapshot{Snapshot: s}}
}

// testService is a server without listeners; its clock stands still.
func testService(t testing.TB, edit func(*Config)) *service {
	t.Helper()
	c := DefaultConfig()
	if edit != nil {
		edit(c)
	}
	now := func() time.Time { return time.Unix(1700000000, 0) }
	st := newMemory(limits{c.MaxSensors, c.MaxRowsPerSensor, c.MaxRows, c.ForgetAfter}, now)
	return newService(c, "test", hclog.NewNullLogger(), st, now)
}

// serviceOn is a server without listeners on any store.
func serviceOn(st store) *service {
	return newService(DefaultConfig(), "test", hclog.NewNullLogger(), st, time.Now)
}

func testLimits() limits { return limits{sensors: 100, rowsPerSensor: 100_000, rows: 1_000_000} }

func mustTake(t testing.TB, s *service, r *netmonpb.PushRequest) ack {
	t.Helper()
	held, err := s.take(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// exposition is the part of a scrape that shows the sensors.
func exposition(s *service, openMetrics bool) string {
	var out bytes.Buffer
	sensors(s, &out, openMetrics)()
	return out.String()
}

// sensors returns what renders the part of a scrape that shows the sensors, with
// the same memory each time.
func sensors(s *service, to io.Writer, openMetrics bool) func() {
	r := renderer{families: families(), openMetrics: openMetrics}
	p, o := newPicture(r.families), output{to: to}
	return func() {
		p.forget()
		p.take(s)
		_ = r.render(&o, p) // tests write to memory
	}
}

// whole is the body of a scrape.
func whole(t testing.TB, s *service, format expfmt.Format) string {
	t.Helper()
	p, body := newPicture(families()), bytes.Buffer{}
	p.take(s)
	own, err := s.scrape.own(p.sum, format)
	if err == nil {
		err = s.scrape.write(&body, p, own, format)
	}
	if err != nil {
		t.Fatal(err)
	}
	return body.String()
}

// oneOfEach is a window with a row for everything that is shown.
func oneOfEach() *netmonpb.Window {
	traffic := func(c *netmonpb.Counters) {
		c.BytesSent, c.BytesReceived, c.PacketsSent, c.PacketsReceived, c.Connections, c.Accesses = 1000, 9000, 10, 20, 3, 2
	}
	in := func(v netmonpb.View, edit func(*netmonpb.Key)) *netmonpb.Key {
		k := &netmonpb.Key{View: v, Interface: "eth0"}
		edit(k)
		return k
	}
	out, inbound := netmonpb.Direction_DIRECTION_OUTBOUND, netmonpb.Direction_DIRECTION_INBOUND
	figure := func(item, detail string, shard uint32) *netmonpb.Key {
		return in(netmonpb.View_VIEW_SENSOR, func(k *netmonpb.Key) { k.Item, k.Detail, k.Shard = item, detail, shard })
	}
	gauge := func(item, detail string, v float64) *netmonpb.Row {
		return &netmonpb.Row{Key: figure(item, detail, 0), Gauge: &v}
	}
	w := next("host-1", aLog, 1, nil,
		rowOf(domainKey("www.example.com", netmonpb.NameSource_NAME_SOURCE_SNI), traffic),
		rowOf(domainKey("www.example.com", netmonpb.NameSource_NAME_SOURCE_DNS_CLIENT), traffic),
		rowOf(unnamed("no_lookup"), traffic),
		rowOf(domainKey("(other)", 0), traffic),
		rowOf(in(netmonpb.View_VIEW_ADDRESSES, func(k *netmonpb.Key) { k.Direction, k.Address = out, []byte{192, 0, 2, 1} }), traffic),
		rowOf(in(netmonpb.View_VIEW_ADDRESSES, func(k *netmonpb.Key) {
			k.Direction, k.Address = inbound, []byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
		}), traffic),
		rowOf(in(netmonpb.View_VIEW_PROTOCOLS, func(k *netmonpb.Key) { k.Direction, k.Protocol, k.Application = out, 6, "https" }), func(c *netmonpb.Counters) {
			traffic(c)
			c.Duration = &netmonpb.Histogram{Buckets: []uint64{0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1}, SumS: 99_999, SumNs: 1e9}
			c.Handshake = &netmonpb.Histogram{Buckets: []uint64{1, 0, 2}, SumNs: 9e6}
			c.HandshakeAck = &netmonpb.Histogram{Buckets: []uint64{0, 1, 1}, SumNs: 7e6}
			c.RetransmittedBytes, c.Resets, c.Refused, c.Unanswered = 1448, 4, 3, 2
		}),
		rowOf(in(netmonpb.View_VIEW_PROTOCOLS, func(k *netmonpb.Key) { k.Direction, k.Protocol = inbound, 6 }), traffic),
		rowOf(in(netmonpb.View_VIEW_PROTOCOLS, func(k *netmonpb.Key) { k.Direction, k.Protocol = out, 1 }), traffic),
		rowOf(in(netmonpb.View_VIEW_DNS, func(k *netmonpb.Key) { k.Address, k.DnsType = []byte{192, 0, 2, 53}, 28 }), func(c *netmonpb.Counters) {
			c.DnsQueries, c.DnsResponses = 4, 4
			c.DnsLatency = &netmonpb.Histogram{Buckets: []uint64{0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, SumNs: 6e9}
		}),
		rowOf(in(netmonpb.View_VIEW_DNS, func(k *netmonpb.Key) {
			k.Address, k.DnsType, k.DnsRcode = []byte{192, 0, 2, 53}, 65, unanswered
		}), func(c *netmonpb.Counters) { c.DnsQueries = 1 }),
		rowOf(figure("frames_total", "decoded", 0), func(c *netmonpb.Counters) { c.Value = 100 }),
		rowOf(figure("frames_total", `odd "reason" \ here`, 1), func(c *netmonpb.Counters) { c.Value = 5 }),
		gauge("flows", "", 17),
		gauge("interface_info", "02:00:00:00:00:01 192.0.2.7", 1),
		gauge("active_connections", "tcp/established", 4),
	)
	w.Ledger = &netmonpb.Ledger{Packets: 120, Bytes: 40000, Connections: 12}
	return w
}
