// Package rows adds up the rows of windows: what a key is, what a sum is, and
// what retiring a row means. The sensor's log folds with it, exporters may keep
// their state with it, and both get the same sums because it is one code.
package rows

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Retired is the domain (in VIEW_SENSOR: the item) of the rows that hold the
// values of retired keys.
const Retired = "(retired)"

// Key encodes k so that two keys have the same encoding exactly if they are
// equal. It is meant for maps, not for storage: the encoding may change with
// the fields of a key.
func Key(k *netmonpb.Key) string {
	return string(AppendKey(make([]byte, 0, 96), k))
}

// AppendKey appends the encoding of k to b.
func AppendKey(b []byte, k *netmonpb.Key) []byte {
	for _, n := range [...]uint32{
		uint32(k.GetView()), uint32(k.GetDirection()), uint32(k.GetNameSource()),
		k.GetProtocol(), k.GetDnsType(), k.GetDnsRcode(), k.GetShard(),
	} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, s := range [...]string{k.GetInterface(), k.GetDomain(), k.GetApplication(), k.GetItem(), k.GetDetail()} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return append(b, k.GetAddress()...) // the last field needs no length
}

// ParseKey reads back what Key wrote. It returns nil for anything else.
func ParseKey(text string) *netmonpb.Key {
	b, ok := []byte(text), true
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			ok = false
			return 0
		}
		b = b[size:]
		return n
	}
	word := func() string {
		n := number()
		if !ok || n > uint64(len(b)) {
			ok = false
			return ""
		}
		w := string(b[:n])
		b = b[n:]
		return w
	}
	k := &netmonpb.Key{
		View: netmonpb.View(number()), Direction: netmonpb.Direction(number()), NameSource: netmonpb.NameSource(number()),
		Protocol: uint32(number()), DnsType: uint32(number()), DnsRcode: uint32(number()), Shard: uint32(number()),
		Interface: word(), Domain: word(), Application: word(), Item: word(), Detail: word(),
	}
	if len(b) > 0 {
		k.Address = b
	}
	if !ok || Key(k) != text { // numbers that are too large, or not in their shortest form
		return nil
	}
	return k
}

// Compare orders keys by their fields in the order of their numbers, so that
// the rows of a view stand together.
func Compare(a, b *netmonpb.Key) int {
	if c := cmp.Or( // cmp.Or looks at all of them: first what mostly decides
		cmp.Compare(a.GetView(), b.GetView()),
		strings.Compare(a.GetInterface(), b.GetInterface()),
		cmp.Compare(a.GetDirection(), b.GetDirection()),
		strings.Compare(a.GetDomain(), b.GetDomain()),
	); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.GetNameSource(), b.GetNameSource()),
		bytes.Compare(a.GetAddress(), b.GetAddress()),
		cmp.Compare(a.GetProtocol(), b.GetProtocol()),
		strings.Compare(a.GetApplication(), b.GetApplication()),
		cmp.Compare(a.GetDnsType(), b.GetDnsType()),
		cmp.Compare(a.GetDnsRcode(), b.GetDnsRcode()),
		cmp.Compare(a.GetShard(), b.GetShard()),
		strings.Compare(a.GetItem(), b.GetItem()),
		strings.Compare(a.GetDetail(), b.GetDetail()),
	)
}

// RetiredKey returns the key of the row to which the value of a retired key
// moves: same view, interface and direction.
func RetiredKey(k *netmonpb.Key) *netmonpb.Key {
	r := &netmonpb.Key{View: k.GetView(), Interface: k.GetInterface(), Direction: k.GetDirection()}
	if k.GetView() == netmonpb.View_VIEW_SENSOR {
		r.Item = Retired
	} else {
		r.Domain = Retired
	}
	return r
}

// Add adds delta, which may be nil, to dst.
func Add(dst, delta *netmonpb.Counters) {
	if delta == nil {
		return
	}
	dst.BytesSent += delta.BytesSent
	dst.BytesReceived += delta.BytesReceived
	dst.PacketsSent += delta.PacketsSent
	dst.PacketsReceived += delta.PacketsReceived
	dst.Connections += delta.Connections
	dst.Accesses += delta.Accesses
	dst.Value += delta.Value
	dst.DnsQueries += delta.DnsQueries
	dst.DnsResponses += delta.DnsResponses
	dst.RetransmittedBytes += delta.RetransmittedBytes
	dst.Resets += delta.Resets
	dst.Refused += delta.Refused
	dst.Unanswered += delta.Unanswered
	addHistogram(&dst.DnsLatency, delta.DnsLatency)
	addHistogram(&dst.Duration, delta.Duration)
	addHistogram(&dst.Handshake, delta.Handshake)
	addHistogram(&dst.HandshakeAck, delta.HandshakeAck)
}

// addHistogram adds bucket by bucket. A histogram never shares memory with the
// one it was added from.
func addHistogram(dst **netmonpb.Histogram, delta *netmonpb.Histogram) {
	if delta == nil {
		return
	}
	if *dst == nil {
		*dst = &netmonpb.Histogram{}
	}
	h := *dst
	if missing := len(delta.Buckets) - len(h.Buckets); missing > 0 {
		h.Buckets = append(h.Buckets, make([]uint64, missing)...)
	}
	for i, n := range delta.Buckets {
		h.Buckets[i] += n
	}
	h.SumNs += delta.SumNs
	h.SumS += delta.SumS
}

// Sum adds up the traffic of the rows of one view.
func Sum(rows []*netmonpb.Row, view netmonpb.View) *netmonpb.Ledger {
	l := &netmonpb.Ledger{}
	for _, r := range rows {
		if r.GetKey().GetView() == view {
			c := r.GetCounters()
			l.Packets += c.GetPacketsSent() + c.GetPacketsReceived()
			l.Bytes += c.GetBytesSent() + c.GetBytesReceived()
			l.Connections += c.GetConnections()
		}
	}
	return l
}
