package names

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/netmon-sensor/netmon/sensor/internal/index"
)

// transactionKey is what a query and its response have in common besides the
// question: client and server, their ports, the message's ID, and the protocol.
type transactionKey [40]byte

func newTransactionKey(client, server *[16]byte, clientPort, serverPort uint16, msg []byte, protocol uint8) (k transactionKey) {
	copy(k[:16], client[:])
	copy(k[16:32], server[:])
	id := binary.BigEndian.Uint16(msg)
	binary.BigEndian.PutUint64(k[32:], uint64(clientPort)<<48|uint64(serverPort)<<32|uint64(id)<<16|uint64(protocol))
	return k
}

// transaction is a query that waits for its response (DEFINITIONS 7).
type transaction struct {
	first    int64  // time of the first query
	queries  uint64 // repetitions included
	question uint64 // hash of the name
	kind     uint16
	iface    uint16
	hash     uint32 // of the key
}

// transactions are those that wait, the oldest first. Each is looked up once, whatever
// becomes of it.
type transactions struct {
	ring[transactionKey, transaction]
	index index.Index
}

func newTransactions(max int) *transactions {
	t := &transactions{ring: newRing[transactionKey, transaction](max)}
	t.index.Reset()
	return t
}

// find returns the node of k, or 0.
func (t *transactions) find(k *transactionKey, hash uint32) uint32 {
	for i := range t.index.Slots(hash) {
		if t.at(i).key == *k {
			return i
		}
	}
	return 0
}

// add makes k, which must not be there, the youngest. Its value is what the node's
// last user left, but for the hash.
func (t *transactions) add(k *transactionKey, hash uint32) *transaction {
	i := t.enter(*k)
	t.index.Insert(hash, i)
	v := &t.at(i).value
	v.hash = hash
	return v
}

func (t *transactions) remove(i uint32) {
	t.index.Remove(t.at(i).value.hash, i)
	t.leave(i)
}

// queryTimeout is how long a query waits for its response, in nanoseconds.
const queryTimeout = 10e9

type rowKey struct {
	resolver           [16]byte
	iface, kind, rcode uint16
}

// query begins or repeats a transaction. The parser has read the message.
func (o *Observer) query(p *Packet, msg []byte, protocol uint8) {
	k := newTransactionKey(&p.Src, &p.Dst, p.SrcPort, p.DstPort, msg, protocol)
	hash := index.Hash(o.seed, k[:])
	d, question, i := &o.parser, o.question(), o.pending.find(&k, hash)
	if t := &o.pending.at(i).value; i != 0 && t.kind == d.qtype && t.question == question && p.Time-t.first <= queryTimeout {
		t.queries++
		return
	}
	if i != 0 {
		o.unanswered(i)
	} else if o.pending.full() {
		o.out.Stats.TransactionsOverflowed++
		o.unanswered(o.pending.first())
	}
	t := o.pending.add(&k, hash)
	t.first, t.queries, t.question, t.kind, t.iface = p.Time, 1, question, d.qtype, p.Interface
}

// response ends a transaction. One that answers nothing, or again, counts as a
// response without a query.
func (o *Observer) response(p *Packet, msg []byte, rcode uint16, protocol uint8) {
	k := newTransactionKey(&p.Dst, &p.Src, p.DstPort, p.SrcPort, msg, protocol)
	d, i := &o.parser, o.pending.find(&k, index.Hash(o.seed, k[:]))
	t := &o.pending.at(i).value
	if i != 0 && p.Time-t.first > queryTimeout {
		o.unanswered(i)
		i = 0
	}
	if i == 0 || d.asked && (t.kind != d.qtype || t.question != o.question()) { // the answer to something else
		o.row(&p.Src, p.Interface, d.qtype, rcode).Responses++
		return
	}
	row := o.row(&p.Src, t.iface, t.kind, rcode)
	row.Queries += t.queries
	row.Responses++
	latency := max(p.Time-t.first, 0) // files may have their frames out of order
	bound := 0
	for bound < len(LatencyBounds) && latency > LatencyBounds[bound] {
		bound++
	}
	row.Latency[bound]++
	row.SumNS += uint64(latency)
	o.pending.remove(i)
}

func (o *Observer) expireTransactions(clock int64) {
	for o.pending.len() > 0 {
		i := o.pending.first()
		if clock-o.pending.at(i).value.first <= queryTimeout {
			return
		}
		o.unanswered(i)
	}
}

func (o *Observer) unanswered(i uint32) {
	n := o.pending.at(i)
	o.row((*[16]byte)(n.key[16:]), n.value.iface, n.value.kind, Unanswered).Queries += n.value.queries
	o.pending.remove(i)
}

// question returns the hash of the name that the parsed message asks for.
func (o *Observer) question() uint64 {
	if !o.parser.asked {
		return 0
	}
	return maphash.Bytes(o.seed, o.parser.bytes(o.parser.question))
}

// row returns the row with this key, or the one for all others where there are too many.
func (o *Observer) row(resolver *[16]byte, iface, kind, rcode uint16) *DNSCount {
	recent := &o.recent[(resolver[15]^uint8(kind)^uint8(rcode))%uint8(len(o.recent))]
	if i := *recent; i < len(o.out.DNS) {
		r := &o.out.DNS[i]
		if r.Resolver == *resolver && r.Interface == iface && r.Type == kind && r.Rcode == rcode {
			return r
		}
	}
	k := rowKey{*resolver, iface, kind, rcode}
	i, ok := o.rows[k]
	if !ok && len(o.out.DNS) >= o.limits.DNSRows {
		o.out.Stats.RowsOverflowed++
		k = rowKey{iface: iface, rcode: rcode}
		i, ok = o.rows[k]
	}
	if !ok {
		i = len(o.out.DNS)
		o.rows[k] = i
		o.out.DNS = append(o.out.DNS, DNSCount{Resolver: k.resolver, Interface: k.iface, Type: k.kind, Rcode: k.rcode})
	}
	*recent = i
	return &o.out.DNS[i]
}
