package names

import "hash/maphash"

// transactionKey is what a query and its response have in common besides the
// question.
type transactionKey struct {
	client, server         [16]byte
	clientPort, serverPort uint16
	id                     uint16
	protocol               uint8
}

// transaction is a query that waits for its response (DEFINITIONS 7).
type transaction struct {
	first    int64  // time of the first query
	queries  uint64 // repetitions included
	question uint64 // hash of the name
	kind     uint16
	iface    uint16
}

// queryTimeout is how long a query waits for its response, in nanoseconds.
const queryTimeout = 10e9

type rowKey struct {
	resolver           [16]byte
	iface, kind, rcode uint16
}

// query begins or repeats a transaction. The parser has read the message.
func (o *Observer) query(p *Packet, msg []byte, protocol uint8) {
	k := transactionKey{p.Src, p.Dst, p.SrcPort, p.DstPort, uint16(msg[0])<<8 | uint16(msg[1]), protocol}
	d := &o.parser
	t := o.pending.get(k)
	if t != nil && t.kind == d.qtype && t.question == o.question() && p.Time-t.first <= queryTimeout {
		t.queries++
		return
	}
	if t != nil {
		o.unanswered(k, t)
	} else if o.pending.full() {
		oldest, t := o.pending.oldest()
		o.out.Stats.TransactionsOverflowed++
		o.unanswered(oldest, t)
	}
	*o.pending.add(k) = transaction{
		first: p.Time, queries: 1,
		question: o.question(), kind: d.qtype, iface: p.Interface,
	}
}

// response ends a transaction. One that answers nothing, or again, counts as a
// response without a query.
func (o *Observer) response(p *Packet, msg []byte, rcode uint16, protocol uint8) {
	k := transactionKey{p.Dst, p.Src, p.DstPort, p.SrcPort, uint16(msg[0])<<8 | uint16(msg[1]), protocol}
	d := &o.parser
	t := o.pending.get(k)
	if t != nil && p.Time-t.first > queryTimeout {
		o.unanswered(k, t)
		t = nil
	}
	if t != nil && d.asked && (t.kind != d.qtype || t.question != o.question()) {
		t = nil // the answer to something else
	}
	if t == nil {
		o.row(rowKey{p.Src, p.Interface, d.qtype, rcode}).Responses++
		return
	}
	row := o.row(rowKey{p.Src, t.iface, t.kind, rcode})
	row.Queries += t.queries
	row.Responses++
	latency := max(p.Time-t.first, 0) // files may have their frames out of order
	i := 0
	for i < len(LatencyBounds) && latency > LatencyBounds[i] {
		i++
	}
	row.Latency[i]++
	row.SumNS += uint64(latency)
	o.pending.remove(k)
}

func (o *Observer) expireTransactions(clock int64) {
	for o.pending.len() > 0 {
		k, t := o.pending.oldest()
		if clock-t.first <= queryTimeout {
			return
		}
		o.unanswered(k, t)
	}
}

func (o *Observer) unanswered(k transactionKey, t *transaction) {
	o.row(rowKey{k.server, t.iface, t.kind, Unanswered}).Queries += t.queries
	o.pending.remove(k)
}

// question returns the hash of the name that the parsed message asks for.
func (o *Observer) question() uint64 {
	if !o.parser.asked {
		return 0
	}
	return maphash.Bytes(o.seed, o.parser.bytes(o.parser.question))
}

// row returns the row of k, or the one for all others where there are too many.
func (o *Observer) row(k rowKey) *DNSCount {
	i, ok := o.rows[k]
	if !ok && len(o.out.DNS) >= o.limits.DNSRows {
		o.out.Stats.RowsOverflowed++
		k = rowKey{iface: k.iface, rcode: k.rcode}
		i, ok = o.rows[k]
	}
	if !ok {
		i = len(o.out.DNS)
		o.rows[k] = i
		o.out.DNS = append(o.out.DNS, DNSCount{Resolver: k.resolver, Interface: k.iface, Type: k.kind, Rcode: k.rcode})
	}
	return &o.out.DNS[i]
}
