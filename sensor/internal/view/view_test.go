package view

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

const second = int64(time.Second)

var traffic = []netmonpb.View{
	netmonpb.View_VIEW_DOMAINS, netmonpb.View_VIEW_ADDRESSES, netmonpb.View_VIEW_PROTOCOLS,
}

// flowTo is a flow of a name that only the name's number decides.
func flowTo(n int, bytes uint64) *Flow {
	f := &Flow{
		Interface: "eth0", Direction: netmonpb.Direction_DIRECTION_OUTBOUND,
		Domain: fmt.Sprintf("n%d.example.com", n), Source: netmonpb.NameSource_NAME_SOURCE_SNI,
		Protocol: 6, Application: "https",
		BytesSent: bytes / 3, BytesReceived: bytes - bytes/3, PacketsSent: 1, PacketsReceived: 2,
		Connections: 1, Accesses: 1,
	}
	copy(f.Remote[:], []byte{10: 0xff, 0xff, 10, byte(n >> 16), byte(n >> 8), byte(n)})
	return f
}

// randomFlows returns flows over everything that keys are made of.
func randomFlows(rng *rand.Rand, n, names int) []*Flow {
	zipf := rand.NewZipf(rng, 1.2, 3, uint64(names-1))
	out := make([]*Flow, n)
	for i := range out {
		f := flowTo(int(zipf.Uint64()), rng.Uint64N(1<<16))
		f.Interface = []string{"eth0", "wlan0"}[rng.IntN(2)]
		f.Direction = netmonpb.Direction(1 + rng.IntN(5))
		f.Protocol = uint8(rng.IntN(200))
		switch rng.IntN(8) {
		case 0:
			f.Domain, f.Source = Unattributed, netmonpb.NameSource_NAME_SOURCE_NONE
			f.Reason = []string{"no_lookup", "began_before"}[rng.IntN(2)]
		case 1:
			f.Domain = Excluded
		}
		out[i] = f
	}
	return out
}

// check looks at everything that has to hold for every window.
type check struct {
	t       *testing.T
	set     *Set
	maxRows int
	totals  rows.Totals
	in      Flow // sums of everything added
}

func newCheck(t *testing.T, o Options) *check {
	return &check{t: t, set: New(o), maxRows: o.MaxRows}
}

func (c *check) window(now int64, flows []*Flow) []*netmonpb.Row {
	c.t.Helper()
	return c.windowOf(now, len(flows), func(i int) *Flow { return flows[i] }, nil)
}

// windowOf is a window of n flows that are made one by one, and of some others.
func (c *check) windowOf(now int64, n int, flow func(i int) *Flow, others []*Flow) []*netmonpb.Row {
	c.t.Helper()
	var in Flow
	for i := range n + len(others) {
		var f *Flow
		if i < n {
			f = flow(i)
		} else {
			f = others[i-n]
		}
		c.set.Add(f)
		in.add(f)
	}
	c.in.add(&in)
	for _, tb := range c.set.traffic {
		if own, bound := len(tb.rows), tb.maxRows+2*tb.limit+100; own > bound {
			c.t.Fatalf("%v holds %d keys, more than %d", tb.view, own, bound)
		}
	}
	out := c.set.Cut(now)
	if !slices.IsSortedFunc(out, func(a, b *netmonpb.Row) int { return rows.Compare(a.Key, b.Key) }) {
		c.t.Fatal("rows are not sorted by key")
	}
	for i := 1; i < len(out); i++ {
		if rows.Compare(out[i-1].Key, out[i].Key) == 0 {
			c.t.Fatalf("two rows of %v", out[i].Key)
		}
	}
	c.totals.Apply(out)
	held := c.totals.Rows()
	for _, v := range traffic {
		if got := sum(out, v); got != in {
			c.t.Fatalf("%v: window sums to %+v, not %+v", v, got, in)
		}
		if got := sum(held, v); got != c.in {
			c.t.Fatalf("%v: everything sums to %+v, not %+v", v, got, c.in)
		}
		if own := ownRows(held, v); own > c.maxRows {
			c.t.Fatalf("%v has %d rows, more than %d", v, own, c.maxRows)
		}
	}
	for _, s := range c.set.Stats() {
		if s.View <= netmonpb.View_VIEW_PROTOCOLS && s.Rows != ownRows(held, s.View) {
			c.t.Fatalf("%v says %d rows, not %d", s.View, s.Rows, ownRows(held, s.View))
		}
	}
	return out
}

func (f *Flow) add(o *Flow) {
	f.BytesSent += o.BytesSent
	f.BytesReceived += o.BytesReceived
	f.PacketsSent += o.PacketsSent
	f.PacketsReceived += o.PacketsReceived
	f.Connections += o.Connections
	f.Accesses += o.Accesses
}

func sum(rs []*netmonpb.Row, v netmonpb.View) Flow {
	var s Flow
	for _, r := range rs {
		if c := r.Counters; r.Key.View == v {
			s.add(&Flow{
				BytesSent: c.BytesSent, BytesReceived: c.BytesReceived,
				PacketsSent: c.PacketsSent, PacketsReceived: c.PacketsReceived,
				Connections: c.Connections, Accesses: c.Accesses,
			})
		}
	}
	return s
}

func ownRows(rs []*netmonpb.Row, v netmonpb.View) (n int) {
	for _, r := range rs {
		if r.Key.View == v && (r.Key.Domain == "" || r.Key.Domain[0] != '(') {
			n++
		}
	}
	return n
}

// find returns the row of a domain on any interface, or nil.
func find(rs []*netmonpb.Row, domain string) *netmonpb.Row {
	for _, r := range rs {
		if r.Key.View == netmonpb.View_VIEW_DOMAINS && r.Key.Domain == domain {
			return r
		}
	}
	return nil
}

func TestRowsOfOneFlow(t *testing.T) {
	s := New(Options{MaxRows: 10})
	f := flowTo(1, 100)
	s.Add(f)
	counts := func() *netmonpb.Counters {
		return &netmonpb.Counters{
			BytesSent: 33, BytesReceived: 67, PacketsSent: 1, PacketsReceived: 2, Connections: 1, Accesses: 1,
		}
	}
	key := func(k *netmonpb.Key) *netmonpb.Key {
		k.Interface, k.Direction = "eth0", netmonpb.Direction_DIRECTION_OUTBOUND
		return k
	}
	want := []*netmonpb.Row{
		{Counters: counts(), Key: key(&netmonpb.Key{
			View: netmonpb.View_VIEW_DOMAINS, Domain: "n1.example.com", NameSource: netmonpb.NameSource_NAME_SOURCE_SNI})},
		{Counters: counts(), Key: key(&netmonpb.Key{
			View: netmonpb.View_VIEW_ADDRESSES, Address: []byte{10, 0, 0, 1}})},
		{Counters: counts(), Key: key(&netmonpb.Key{
			View: netmonpb.View_VIEW_PROTOCOLS, Protocol: 6, Application: "https"})},
	}
	got := s.Cut(second)
	if !equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if again := s.Cut(2 * second); len(again) != 0 {
		t.Errorf("an empty window has rows: %v", again)
	}
}

func equal(a, b []*netmonpb.Row) bool {
	return slices.EqualFunc(a, b, func(x, y *netmonpb.Row) bool { return proto.Equal(x, y) })
}

func TestViewsAgree(t *testing.T) {
	for _, maxRows := range []int{1, 7, 100, 5000} {
		t.Run(fmt.Sprint(maxRows), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(maxRows)))
			c := newCheck(t, Options{MaxRows: maxRows, IdleTimeout: 4 * time.Second})
			for w := range 20 {
				n := 500
				if w%4 == 3 {
					n = 20000 // more keys than candidates
				}
				if w%7 == 6 {
					n = 0
				}
				c.window(int64(w)*second, randomFlows(rng, n, 1<<20))
			}
		})
	}
}

// Whatever order the flows of a window come in, and however they are split
// over shards, the rows are the same.
func TestOrderDoesNotShow(t *testing.T) {
	for _, maxRows := range []int{3, 2000} {
		rng := rand.New(rand.NewPCG(2, uint64(maxRows)))
		a := New(Options{MaxRows: maxRows, IdleTimeout: 5 * time.Second})
		b := New(Options{MaxRows: maxRows, IdleTimeout: 5 * time.Second})
		c := New(Options{MaxRows: maxRows, IdleTimeout: 5 * time.Second})
		for w := range int64(12) {
			flows := randomFlows(rng, 100+int(w%3)*12000, 1<<18)
			for _, f := range flows {
				a.Add(f)
			}
			slices.SortFunc(flows, func(x, y *Flow) int { return int(x.Remote[15]) - int(y.Remote[15]) })
			for _, f := range flows {
				b.Add(f)
			}
			rng.Shuffle(len(flows), func(i, j int) { flows[i], flows[j] = flows[j], flows[i] })
			for _, f := range flows { // in two records each
				first, rest := *f, *f
				first.BytesReceived, first.PacketsReceived, first.Connections, first.Accesses = 0, 0, 0, 0
				rest.BytesSent, rest.PacketsSent = 0, 0
				c.Add(&first)
				c.Add(&rest)
			}
			want := a.Cut(w * second)
			if got := b.Cut(w * second); !equal(got, want) {
				t.Fatalf("max_rows %d, window %d: sorted flows give other rows", maxRows, w)
			}
			if got := c.Cut(w * second); !equal(got, want) {
				t.Fatalf("max_rows %d, window %d: shuffled halves of flows give other rows", maxRows, w)
			}
		}
	}
}

// A heavy name that appears under a flood of others has a row at the end of its
// second window, wherever in the window its flows come, and says what it
// counted since then exactly.
func TestLateHeavyHitter(t *testing.T) {
	orders := map[string]func(i, flood int) bool{
		"first":   func(i, _ int) bool { return i < 10 },
		"last":    func(i, flood int) bool { return i >= flood-10 },
		"between": func(i, flood int) bool { return i%(flood/10) == 77 },
	}
	for name, now := range orders {
		for _, fresh := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/fresh=%v", name, fresh), func(t *testing.T) {
				flood := 20_000
				if name == "between" && fresh && !testing.Short() {
					flood = 200_000
				}
				c := newCheck(t, Options{MaxRows: 500, IdleTimeout: time.Hour})
				var flows []*Flow
				for w := range 2 {
					flows = flows[:0]
					for i := range flood {
						n := i
						if fresh { // other names in each window
							n += w * flood
						}
						flows = append(flows, flowTo(n, 600))
					}
					c.window(int64(w)*second, flows)
				}
				heavy := flowTo(1<<23, 100_000)
				var last *netmonpb.Row
				for w := 2; w < 4; w++ {
					var with []*Flow
					for i, f := range flows {
						if now(i, len(flows)) {
							with = append(with, heavy)
						}
						with = append(with, f)
					}
					last = find(c.window(int64(w)*second, with), heavy.Domain)
				}
				if last == nil {
					t.Fatal("no row in the second window")
				}
				if got := last.Counters.BytesSent + last.Counters.BytesReceived; got != 10*100_000 {
					t.Errorf("row says %d bytes in its window, not 1000000", got)
				}
			})
		}
	}
}

// When every row is taken, a heavier name takes the lightest one's; that one
// is retired, and what is lighter than all rows stays without.
func TestHeavierTakesTheLightest(t *testing.T) {
	c := newCheck(t, Options{MaxRows: 3, IdleTimeout: time.Hour})
	c.window(1*second, []*Flow{flowTo(1, 1000), flowTo(2, 500), flowTo(3, 800)})
	out := c.window(2*second, []*Flow{flowTo(4, 900), flowTo(5, 100), flowTo(2, 10)})
	if r := find(out, "n2.example.com"); r == nil || !r.Retired || r.Counters.BytesSent != 3 {
		t.Errorf("the lightest row is %v", r)
	}
	if r := find(out, "n4.example.com"); r == nil || r.Retired {
		t.Errorf("the heavier name has the row %v", r)
	}
	if r := find(out, "n5.example.com"); r != nil {
		t.Errorf("the lightest name has the row %v", r)
	}
	if r := find(out, Other); r == nil || r.Counters.Connections != 1 {
		t.Errorf("other is %v", r)
	}
	held := c.totals.Rows()
	if r := find(held, Retired); r == nil || r.Counters.Connections != 2 {
		t.Errorf("retired is %v", r)
	}
	if s := c.set.Stats()[0]; s.Rows != 3 || s.Overflowed != 1 || s.Retired != 1 {
		t.Errorf("stats are %+v", s)
	}
}

// What was heavy once gives way to what is less heavy now, after a while.
func TestWeightFades(t *testing.T) {
	c := newCheck(t, Options{MaxRows: 1, IdleTimeout: time.Hour})
	c.window(0, []*Flow{flowTo(1, 100_000)})
	for w := int64(1); w < 400; w++ {
		if find(c.window(w*second, []*Flow{flowTo(2, 50_000)}), "n1.example.com") != nil {
			if w < 100 || w > 250 {
				t.Errorf("half the weight was enough in window %d", w)
			}
			return
		}
	}
	t.Error("the old row stays for ever")
}

// Among keys of the same weight the key decides.
func TestTies(t *testing.T) {
	for _, descending := range []bool{false, true} {
		c := newCheck(t, Options{MaxRows: 2, IdleTimeout: time.Hour})
		var light, heavy []*Flow
		for i := range 4 {
			light = append(light, flowTo(i, 100))
		}
		heavy = append(heavy, flowTo(7, 200))
		if descending {
			slices.Reverse(light)
		}
		c.window(0, light)
		c.window(second, heavy)
		var names []string
		for _, r := range c.totals.Rows() {
			if r.Key.View == netmonpb.View_VIEW_DOMAINS {
				names = append(names, r.Key.Domain)
			}
		}
		if want := []string{Other, Retired, "n3.example.com", "n7.example.com"}; !slices.Equal(names, want) {
			t.Errorf("names are %v, not %v", names, want)
		}
	}
}

func TestIdleRowsAreRetired(t *testing.T) {
	c := newCheck(t, Options{MaxRows: 10, IdleTimeout: 10 * time.Second})
	none := flowTo(9, 5)
	none.Domain = Unattributed
	c.window(0, []*Flow{flowTo(1, 100), flowTo(2, 100), none})
	c.window(5*second, []*Flow{flowTo(2, 100)})
	if out := c.window(10*second-1, nil); len(out) != 0 {
		t.Errorf("retired too early: %v", out)
	}
	out := c.window(10*second, nil)
	if r := find(out, "n2.example.com"); r != nil {
		t.Errorf("a row that is not idle was retired: %v", r)
	}
	r := find(out, "n1.example.com")
	if r == nil || !r.Retired || !proto.Equal(r.Counters, &netmonpb.Counters{}) {
		t.Fatalf("idle row: %v", r)
	}
	if out := c.window(12*second, nil); len(out) != 0 {
		t.Errorf("retired again: %v", out)
	}
	r = find(c.window(13*second, []*Flow{flowTo(1, 7)}), "n1.example.com")
	if r == nil || r.Retired || r.Counters.Connections != 1 {
		t.Errorf("a key that returned: %v", r)
	}
	c.window(1000*second, nil)
	held := c.totals.Rows()
	if r := find(held, Unattributed); r == nil {
		t.Error("a row of sums was retired")
	}
	if r := find(held, Retired); r == nil || r.Counters.Connections != 4 {
		t.Errorf("retired rows are %v", r)
	}
	if out := c.window(500*second, nil); len(out) != 0 { // the clock went back
		t.Errorf("rows without traffic: %v", out)
	}
}

// True since admission: what the rows of a name say until it is retired is what
// was added in the windows in which it had a row, nothing estimated.
func TestRowsAreExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	c := newCheck(t, Options{MaxRows: 50, IdleTimeout: 3 * time.Second})
	for w := range 30 {
		flows := randomFlows(rng, 4000, 100000)
		truth := map[string]*Flow{}
		for _, f := range flows {
			k := fmt.Sprint(f.Interface, f.Direction, f.Domain, f.Source, f.Reason)
			if truth[k] == nil {
				truth[k] = &Flow{}
			}
			truth[k].add(f)
		}
		for _, r := range c.window(int64(w)*second, flows) {
			if k := r.Key; k.View == netmonpb.View_VIEW_DOMAINS && k.Domain != Other {
				want := truth[fmt.Sprint(k.Interface, k.Direction, k.Domain, k.NameSource, k.Detail)]
				if got := sum([]*netmonpb.Row{r}, k.View); want == nil && got != (Flow{}) || want != nil && got != *want {
					t.Fatalf("window %d, %s: %+v, not %+v", w, k.Domain, got, want)
				}
			}
		}
	}
}

func TestInterfacesAreBounded(t *testing.T) {
	s := New(Options{MaxRows: 100})
	const n = maxInterfaces + 500
	for i := range n {
		f := flowTo(1, 10)
		f.Interface = fmt.Sprint("veth", i)
		s.Add(f)
	}
	interfaces := map[string]uint64{}
	for _, r := range s.Cut(second) {
		if r.Key.View == netmonpb.View_VIEW_DOMAINS {
			interfaces[r.Key.Interface] += r.Counters.Connections
		}
	}
	if len(interfaces) != maxInterfaces+1 || interfaces[Other] != n-maxInterfaces {
		t.Errorf("%d interfaces, %d flows on others", len(interfaces), interfaces[Other])
	}
}

func TestKeysHashApart(t *testing.T) {
	in := &interfaces{ids: map[string]uint16{}}
	eth, wlan := in.id("eth0"), in.id("wlan0")
	base := key{iface: eth, domain: "a"}
	keys := []key{base}
	for _, change := range []func(*key){
		func(k *key) { k.iface = wlan }, func(k *key) { k.domain = "b" },
		func(k *key) { k.application, k.domain = "a", "" }, func(k *key) { k.address[0] = 1 },
		func(k *key) { k.address[15] = 1 }, func(k *key) { k.dnsType = 1 }, func(k *key) { k.dnsRcode = 1 },
		func(k *key) { k.direction = 1 }, func(k *key) { k.source = 1 }, func(k *key) { k.protocol = 1 },
	} {
		k := base
		change(&k)
		keys = append(keys, k)
	}
	for i := range keys {
		for j := range i {
			if in.hash(&keys[i]) == in.hash(&keys[j]) {
				t.Errorf("%+v and %+v have the same hash", keys[i], keys[j])
			}
			if a, b := in.compare(&keys[i], &keys[j]), in.compare(&keys[j], &keys[i]); a == 0 || a != -b {
				t.Errorf("%+v and %+v compare %d and %d", keys[i], keys[j], a, b)
			}
		}
	}
}
