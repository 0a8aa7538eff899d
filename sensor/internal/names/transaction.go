package names

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
)

// transactionKey is what a query and its response have in common besides the
// question.
type transactionKey struct {
	client, server [16]byte
	rest           uint64 // ports of both, id, protocol
}

func keyOf(client, server *[16]byte, clientPort, serverPort uint16, msg []byte, protocol uint8) transactionKey {
	id := binary.BigEndian.Uint16(msg)
	return transactionKey{*client, *server, uint64(clientPort)<<48 | uint64(serverPort)<<32 | uint64(id)<<16 | uint64(protocol)}
}

// transaction is a query that waits for its response (DEFINITIONS 7).
type transaction struct {
	first    int64  // time of the first query
	queries  uint64 // repetitions included
	question uint64 // hash of the name
	kind     uint16
	iface    uint16

	hash uint32 // of the key
	next uint32 // node in its chain, or 0
}

// transactions finds by their keys those that wait. Nobody outside can foresee which
// keys share a chain.
type transactions struct {
	ring[transactionKey, transaction]
	seed  [5]uint64
	heads []uint32 // first nodes of the chains, 0 is none; there are 2^n
}

func newTransactions(max int) *transactions {
	t := &transactions{ring: newRing[transactionKey, transaction](max), heads: make([]uint32, nodesPerChunk)}
	for i := range t.seed {
		t.seed[i] = rand.Uint64()
	}
	return t
}

// hash mixes as wyhash does, and as the flow table.
func (t *transactions) hash(k *transactionKey) uint32 {
	s := &t.seed
	h := mix(word(k.client[:])^s[0], word(k.client[8:])^s[1]) ^ mix(word(k.server[:])^s[2], word(k.server[8:])^s[3])
	h = mix(h^s[4], k.rest^s[0])
	return uint32(h ^ h>>32)
}

func (t *transactions) head(hash uint32) *uint32 { return &t.heads[int(hash)&(len(t.heads)-1)] }

// find returns the node of k, or 0, and the hash of k.
func (t *transactions) find(k *transactionKey) (i, hash uint32) {
	hash = t.hash(k)
	for i = *t.head(hash); i != 0; {
		n := t.at(i)
		if n.value.hash == hash && n.key.rest == k.rest && n.key.client == k.client && n.key.server == k.server {
			break
		}
		i = n.value.next
	}
	return i, hash
}

// add makes k, which must not be there, the youngest. Its value is what the node's
// last user left, but for its place among the others.
func (t *transactions) add(k *transactionKey, hash uint32) *transaction {
	if t.n == len(t.heads) {
		t.grow()
	}
	i, head := t.enter(*k), t.head(hash)
	v := &t.at(i).value
	v.hash, v.next = hash, *head
	*head = i
	return v
}

// grow doubles the chains.
func (t *transactions) grow() {
	old := t.heads
	t.heads = make([]uint32, 2*len(old))
	for _, i := range old {
		for i != 0 {
			v := &t.at(i).value
			head := t.head(v.hash)
			i, v.next, *head = v.next, *head, i
		}
	}
}

func (t *transactions) remove(i uint32) {
	v := &t.at(i).value
	before := t.head(v.hash)
	for *before != i {
		before = &t.at(*before).value.next
	}
	*before = v.next
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
	k := keyOf(&p.Src, &p.Dst, p.SrcPort, p.DstPort, msg, protocol)
	d, question := &o.parser, o.question()
	i, hash := o.pending.find(&k)
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
	k := keyOf(&p.Dst, &p.Src, p.DstPort, p.SrcPort, msg, protocol)
	d := &o.parser
	i, _ := o.pending.find(&k)
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
	o.row(&n.key.server, n.value.iface, n.value.kind, Unanswered).Queries += n.value.queries
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

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// mix multiplies to 128 bits and folds.
func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
