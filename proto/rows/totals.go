package rows

import (
	"slices"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Totals is the cumulative state that windows add up to: applying a snapshot
// and then the windows after it gives the same rows as applying every window.
// The zero value is empty. It is not safe for concurrent use, but the rows that
// it has handed out are.
//
// It keeps no row that it is given. It has as many rows as the keys it was
// given that were not retired; who sends them bounds that.
type Totals struct {
	rows    map[string]*total
	scratch []byte // encoding of the key at hand

	// handed is how often Rows was called. A row that is older was handed out
	// and is copied before it changes.
	handed uint64
}

type total struct {
	row  *netmonpb.Row
	born uint64 // Totals.handed when row was made
}

// Apply adds deltas in their order: the rows of a window, or those of a
// snapshot to empty Totals. A row without a key is ignored.
func (t *Totals) Apply(rows []*netmonpb.Row) {
	for _, r := range rows {
		if r.GetKey() != nil {
			t.apply(r)
		}
	}
}

func (t *Totals) apply(r *netmonpb.Row) {
	sum := t.at(r.Key)
	if r.Counters != nil {
		if sum.Counters == nil {
			sum.Counters = &netmonpb.Counters{}
		}
		Add(sum.Counters, r.Counters)
	}
	if r.Gauge != nil {
		latest := *r.Gauge
		sum.Gauge = &latest
	}
	if r.Retired {
		t.retire(r.Key, sum)
	}
}

// retire moves the counters of a row to the row of its retired siblings. Its
// gauge ends: an old value is of no use to anybody.
func (t *Totals) retire(k *netmonpb.Key, sum *netmonpb.Row) {
	heir := RetiredKey(k)
	if Compare(heir, k) == 0 {
		return // the row of sums itself never ends
	}
	delete(t.rows, Key(k))
	if !zero(sum.Counters) {
		t.apply(&netmonpb.Row{Key: heir, Counters: sum.Counters})
	}
}

// at returns the row of k, ready to be changed.
func (t *Totals) at(k *netmonpb.Key) *netmonpb.Row {
	t.scratch = AppendKey(t.scratch[:0], k)
	e := t.rows[string(t.scratch)]
	switch {
	case e == nil:
		if t.rows == nil {
			t.rows = make(map[string]*total)
		}
		e = &total{row: &netmonpb.Row{Key: copyKey(k)}, born: t.handed}
		t.rows[string(t.scratch)] = e
	case e.born != t.handed:
		old := e.row
		e.row, e.born = &netmonpb.Row{Key: old.Key, Gauge: old.Gauge}, t.handed
		if old.Counters != nil {
			e.row.Counters = &netmonpb.Counters{}
			Add(e.row.Counters, old.Counters)
		}
	}
	return e.row
}

// Rows returns every row with its cumulative value, sorted by key. They are
// read-only and do not change any more: a later Apply changes copies.
func (t *Totals) Rows() []*netmonpb.Row {
	t.handed++
	out := make([]*netmonpb.Row, 0, len(t.rows))
	for _, e := range t.rows {
		out = append(out, e.row)
	}
	slices.SortFunc(out, func(a, b *netmonpb.Row) int { return Compare(a.Key, b.Key) })
	return out
}

// Has tells whether there is a row of a key, given as Key encodes it.
func (t *Totals) Has(key string) bool { return t.rows[key] != nil }

// Len is the number of rows.
func (t *Totals) Len() int { return len(t.rows) }

// copyKey copies the text too: a string of a decoded message may hold on to
// the whole message.
func copyKey(k *netmonpb.Key) *netmonpb.Key {
	return &netmonpb.Key{
		View: k.View, Direction: k.Direction, NameSource: k.NameSource,
		Interface: strings.Clone(k.Interface), Domain: strings.Clone(k.Domain),
		Address: slices.Clone(k.Address), Protocol: k.Protocol,
		Application: strings.Clone(k.Application),
		DnsType:     k.DnsType, DnsRcode: k.DnsRcode,
		Shard: k.Shard, Item: strings.Clone(k.Item), Detail: strings.Clone(k.Detail),
	}
}

// zero tells whether nothing was counted.
func zero(c *netmonpb.Counters) bool {
	if c == nil {
		return true
	}
	sum := c.BytesSent | c.BytesReceived | c.PacketsSent | c.PacketsReceived |
		c.Connections | c.Accesses | c.Value | c.DnsQueries | c.DnsResponses |
		c.RetransmittedBytes | c.Resets | c.Refused | c.Unanswered
	for _, h := range [...]*netmonpb.Histogram{c.DnsLatency, c.Duration, c.Handshake, c.HandshakeAck} {
		sum |= h.GetSumNs() | h.GetSumS()
		for _, n := range h.GetBuckets() {
			sum |= n
		}
	}
	return sum == 0
}
