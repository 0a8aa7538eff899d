package names

import (
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"
)

// exchange gives an observer queries and responses at times in milliseconds.
type exchange struct {
	t *testing.T
	o *Observer
}

func (e exchange) query(ms int64, id uint16, name string) {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeAAAA)
	m.Id = id
	p := answerTo(pack(e.t, m))
	p.Src, p.Dst, p.SrcPort, p.DstPort, p.Time, p.Interface = p.Dst, p.Src, p.DstPort, p.SrcPort, ms*1e6, 3
	e.o.UDP(p)
}

func (e exchange) response(ms int64, id uint16, name string, rcode int) {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeAAAA)
	m.Id, m.Response, m.Rcode = id, true, rcode
	p := answerTo(pack(e.t, m))
	p.Time, p.Interface = ms*1e6, 3
	e.o.UDP(p)
}

func TestTransactions(t *testing.T) {
	type row struct {
		rcode              uint16
		queries, responses uint64
		sum                uint64 // ms
	}
	for _, c := range []struct {
		name  string
		run   func(e exchange)
		clock int64 // ms
		want  []row
	}{
		{"answered", func(e exchange) { e.query(0, 1, "a."); e.response(7, 1, "A.", 0) }, 0, []row{{0, 1, 1, 7}}},
		{"repeated", func(e exchange) { e.query(0, 1, "a."); e.query(5, 1, "a."); e.response(7, 1, "a.", 3) }, 0, []row{{3, 2, 1, 7}}},
		{"answered twice", func(e exchange) { e.query(0, 1, "a."); e.response(7, 1, "a.", 0); e.response(9, 1, "a.", 0) }, 0, []row{{0, 1, 2, 7}}},
		{"answer without a query", func(e exchange) { e.response(7, 1, "a.", 2) }, 0, []row{{2, 0, 1, 0}}},
		{"another name", func(e exchange) { e.query(0, 1, "a."); e.response(7, 1, "b.", 0) }, 10001, []row{{0, 0, 1, 0}, {Unanswered, 1, 0, 0}}},
		{"the number used again", func(e exchange) { e.query(0, 1, "a."); e.query(1, 1, "b."); e.response(7, 1, "b.", 0) }, 0, []row{{Unanswered, 1, 0, 0}, {0, 1, 1, 6}}},
		{"still waiting", func(e exchange) { e.query(0, 1, "a.") }, 10000, nil},
		{"unanswered", func(e exchange) { e.query(0, 1, "a."); e.query(2000, 1, "a.") }, 10001, []row{{Unanswered, 2, 0, 0}}},
		{"too late", func(e exchange) { e.query(0, 1, "a."); e.response(10001, 1, "a.", 0) }, 0, []row{{Unanswered, 1, 0, 0}, {0, 0, 1, 0}}},
		{"time goes back", func(e exchange) { e.query(9, 1, "a."); e.response(7, 1, "a.", 0) }, 0, []row{{0, 1, 1, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := NewObserver(DefaultLimits())
			c.run(exchange{t, o})
			var h Harvest
			o.Harvest(&h, c.clock*1e6)
			if len(h.DNS) != len(c.want) {
				t.Fatalf("%+v, want %+v", h.DNS, c.want)
			}
			for i, w := range c.want {
				g := h.DNS[i]
				if (row{g.Rcode, g.Queries, g.Responses, g.SumNS / 1e6}) != w {
					t.Errorf("row %+v, want %+v", g, w)
				}
				if g.Resolver != addr(53) || g.Type != dns.TypeAAAA || g.Interface != 3 {
					t.Errorf("row of %v type %d interface %d", g.Resolver, g.Type, g.Interface)
				}
				var n uint64
				for _, l := range g.Latency {
					n += l
				}
				if answered := min(g.Queries, g.Responses); n != answered {
					t.Errorf("%d latencies, want %d", n, answered)
				}
			}
		})
	}
}

func TestLatencyBounds(t *testing.T) {
	o := NewObserver(DefaultLimits())
	e := exchange{t, o}
	for i, ms := range []int64{0, 1, 2, 3, 5000, 5001, 9999} {
		e.query(0, uint16(i), "a.")
		e.response(ms, uint16(i), "a.", 0)
	}
	h := harvest(o)
	if want := [13]uint64{0: 2, 1: 1, 2: 1, 11: 1, 12: 2}; len(h.DNS) != 1 || h.DNS[0].Latency != want {
		t.Errorf("%+v, want %v", h.DNS, want)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	limits := DefaultLimits()
	limits.DNSTransactions, limits.DNSRows = 3, 2
	o := NewObserver(limits)
	e := exchange{t, o}
	for i := range uint16(10) {
		e.query(0, i, "a.")
	}
	e.response(1, 9, "a.", 0)
	e.response(1, 8, "a.", 1)
	e.response(1, 7, "a.", 2)
	h := harvest(o)
	var queries, responses uint64
	for _, r := range h.DNS {
		queries += r.Queries
		responses += r.Responses
	}
	if queries != h.Stats.DNSQueries || responses != h.Stats.DNSResponses {
		t.Errorf("rows have %d queries and %d responses, stats %d and %d", queries, responses, h.Stats.DNSQueries, h.Stats.DNSResponses)
	}
	if s := h.Stats; s.TransactionsOverflowed+s.RowsOverflowed != 7+2 || s.StreamsOverflowed != 0 {
		t.Errorf("overflowed: %+v", s)
	}
	if last := h.DNS[len(h.DNS)-1]; last.Resolver != [16]byte{} || last.Type != 0 {
		t.Errorf("%+v", last)
	}
}

// TestTransactionsAreFound compares with a map, also where many keys have one hash.
func TestTransactionsAreFound(t *testing.T) {
	for _, keys := range []uint64{12, 1000} {
		all, want, r := newTransactions(int(keys)), map[transactionKey]int64{}, rand.New(rand.NewPCG(1, 2))
		for i := range int64(30_000) {
			id := r.Uint64N(keys)
			k := transactionKey{31: byte(r.IntN(2)), 38: byte(id >> 8), 39: byte(id)}
			hash := uint32(id % 300)
			n := all.find(&k, hash)
			first, there := want[k]
			if (n != 0) != there || there && all.at(n).value.first != first {
				t.Fatalf("%+v: node %d, want it %v", k, n, there)
			}
			switch {
			case there:
				all.remove(n)
				delete(want, k)
			case all.full():
				delete(want, all.at(all.first()).key)
				all.remove(all.first())
				fallthrough
			default:
				all.add(&k, hash).first = i
				want[k] = i
			}
			if all.len() != len(want) {
				t.Fatalf("%d are there, want %d", all.len(), len(want))
			}
		}
	}
}

func TestQueriesCount(t *testing.T) {
	o := NewObserver(DefaultLimits())
	for _, flags := range []uint16{0x0100, 0x2800 /* update */, 0x8183} {
		p := answerTo([]byte{0, 1, byte(flags >> 8), byte(flags)})
		o.UDP(p)
	}
	o.UDP(answerTo([]byte{0, 1, 0}))
	h := harvest(o)
	want := Stats{DNSQueries: 1, DNSResponses: 1, DNSMalformed: 3}
	want.DNSRcodes[3] = 1
	if h.Stats != want {
		t.Errorf("%+v, want %+v", h.Stats, want)
	}
}
