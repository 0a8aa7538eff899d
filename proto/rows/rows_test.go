package rows

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// set gives a field of a message a value that is not its zero.
func set(m protoreflect.Message, f protoreflect.FieldDescriptor, n int) {
	switch f.Kind() {
	case protoreflect.StringKind:
		m.Set(f, protoreflect.ValueOfString(fmt.Sprint("text", n)))
	case protoreflect.BytesKind:
		m.Set(f, protoreflect.ValueOfBytes([]byte{1, 2, 3, byte(n)}))
	case protoreflect.EnumKind:
		m.Set(f, protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)))
	case protoreflect.Uint32Kind:
		m.Set(f, protoreflect.ValueOfUint32(uint32(n)))
	case protoreflect.Uint64Kind:
		m.Set(f, protoreflect.ValueOfUint64(uint64(n)))
	case protoreflect.MessageKind:
		h := &netmonpb.Histogram{Buckets: []uint64{uint64(n), 0, 1}, SumNs: uint64(n), SumS: uint64(n)}
		m.Set(f, protoreflect.ValueOfMessage(h.ProtoReflect()))
	}
}

// A field that somebody adds to Key has to be known to everything that handles
// keys, or two rows become one.
func TestEveryKeyFieldCounts(t *testing.T) {
	base := &netmonpb.Key{}
	fields := base.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		k := &netmonpb.Key{}
		set(k.ProtoReflect(), fields.Get(i), 2)
		if Key(k) == Key(base) {
			t.Errorf("Key ignores %s", fields.Get(i).Name())
		}
		if Compare(k, base) <= 0 || Compare(base, k) >= 0 {
			t.Errorf("Compare ignores %s", fields.Get(i).Name())
		}
		if !proto.Equal(copyKey(k), k) {
			t.Errorf("copyKey ignores %s", fields.Get(i).Name())
		}
	}
}

// The same for Counters.
func TestEveryCounterIsAdded(t *testing.T) {
	fields := (&netmonpb.Counters{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		a, b := &netmonpb.Counters{}, &netmonpb.Counters{}
		set(a.ProtoReflect(), fields.Get(i), 3)
		if zero(a) {
			t.Errorf("zero ignores %s", fields.Get(i).Name())
		}
		Add(b, a)
		if !proto.Equal(a, b) {
			t.Errorf("Add ignores %s: %v", fields.Get(i).Name(), b)
		}
		Add(b, a)
		if proto.Equal(a, b) {
			t.Errorf("Add does not add %s", fields.Get(i).Name())
		}
	}
}

func TestParseKey(t *testing.T) {
	k := &netmonpb.Key{}
	fields := k.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		one := &netmonpb.Key{}
		set(one.ProtoReflect(), fields.Get(i), 200)
		set(k.ProtoReflect(), fields.Get(i), i)
		for _, k := range []*netmonpb.Key{one, k} {
			if got := ParseKey(Key(k)); !proto.Equal(got, k) {
				t.Errorf("%v is read back as %v", k, got)
			}
		}
	}
	text := Key(&netmonpb.Key{Interface: "eth0", Detail: "detail"})
	for n := range len(text) {
		if got := ParseKey(text[:n]); got != nil {
			t.Errorf("the first %d bytes are read as %v", n, got)
		}
	}
	for name, text := range map[string]string{
		"a length beyond the end":   strings.Repeat("\x00", 11) + "\xff\x01",
		"a number that never ends":  strings.Repeat("\xff", 20),
		"a number beyond 32 bits":   "\x00\x00\x00\x80\x80\x80\x80\x10" + strings.Repeat("\x00", 8),
		"a view beyond 32 bits":     "\x81\x80\x80\x80\x10" + strings.Repeat("\x00", 11),
		"a number in a longer form": "\x81\x00" + strings.Repeat("\x00", 11),
	} {
		if got := ParseKey(text); got != nil {
			t.Errorf("%s is read as %v", name, got)
		}
	}
}

func TestKeyIsInjective(t *testing.T) {
	keys := []*netmonpb.Key{
		{Interface: "a", Domain: "b"}, {Interface: "ab"}, {Domain: "ab"}, {Domain: "a", Application: "b"},
		{Item: "a", Detail: "b"}, {Item: "ab"}, {Detail: "ab"}, {Address: []byte("ab")}, {Detail: "a", Address: []byte("b")},
		{Protocol: 128}, {DnsType: 128}, {DnsRcode: 1}, {Shard: 1}, {View: 256}, {Direction: 256},
	}
	seen := map[string]*netmonpb.Key{}
	for _, k := range keys {
		if other := seen[Key(k)]; other != nil {
			t.Errorf("%v and %v have the same encoding", k, other)
		}
		seen[Key(k)] = k
	}
}

func domain(name string, n uint64) *netmonpb.Row {
	return &netmonpb.Row{
		Key:      &netmonpb.Key{View: netmonpb.View_VIEW_DOMAINS, Interface: "eth0", Domain: name},
		Counters: &netmonpb.Counters{BytesSent: n, DnsLatency: &netmonpb.Histogram{Buckets: []uint64{n}}},
	}
}

func retired(r *netmonpb.Row) *netmonpb.Row {
	r.Retired = true
	return r
}

func gauge(item string, v float64) *netmonpb.Row {
	return &netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Item: item}, Gauge: &v}
}

func TestTotals(t *testing.T) {
	tests := []struct {
		name  string
		apply []*netmonpb.Row
		want  []*netmonpb.Row
	}{
		{"adds up", []*netmonpb.Row{domain("b", 1), domain("a", 2), domain("b", 3)},
			[]*netmonpb.Row{domain("a", 2), domain("b", 4)}},
		{"retired moves, the last delta included",
			[]*netmonpb.Row{domain("a", 1), domain("b", 5), retired(domain("a", 2))},
			[]*netmonpb.Row{domain(Retired, 3), domain("b", 5)}},
		{"a key that returns starts at 0",
			[]*netmonpb.Row{domain("a", 1), retired(domain("a", 0)), domain("a", 7)},
			[]*netmonpb.Row{domain(Retired, 1), domain("a", 7)}},
		{"the heir never ends", []*netmonpb.Row{domain(Retired, 1), retired(domain(Retired, 1))},
			[]*netmonpb.Row{domain(Retired, 2)}},
		{"nothing to move leaves no heir", []*netmonpb.Row{retired(domain("a", 0))}, nil},
		{"the latest gauge stands", []*netmonpb.Row{gauge("x", 3), gauge("x", 1)}, []*netmonpb.Row{gauge("x", 1)}},
		{"a retired gauge is gone", []*netmonpb.Row{gauge("x", 3), retired(gauge("x", 3))}, nil},
		{"no key, no row", []*netmonpb.Row{{Counters: &netmonpb.Counters{Value: 1}}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var totals Totals
			totals.Apply(tt.apply)
			if got := totals.Rows(); !slices.EqualFunc(got, tt.want, func(a, b *netmonpb.Row) bool { return proto.Equal(a, b) }) {
				t.Errorf("got %v\nwant %v", got, tt.want)
			}
		})
	}
}

// What was handed out stays as it was, and what was handed in is not kept.
func TestTotalsShareNothing(t *testing.T) {
	var totals Totals
	in := domain("a", 1)
	totals.Apply([]*netmonpb.Row{in, gauge("x", 1)})
	before := totals.Rows()
	in.Counters.BytesSent, in.Counters.DnsLatency.Buckets[0], in.Key.Domain = 100, 100, "z"
	totals.Apply([]*netmonpb.Row{domain("a", 1), gauge("x", 2)})
	if !proto.Equal(before[0], domain("a", 1)) || !proto.Equal(before[1], gauge("x", 1)) {
		t.Errorf("rows handed out changed to %v", before)
	}
	if after := totals.Rows(); !proto.Equal(after[0], domain("a", 2)) || !proto.Equal(after[1], gauge("x", 2)) {
		t.Errorf("after: %v", after)
	}
}

// Wherever a sequence of rows is cut, the snapshot of the first part and the
// rows of the second give what the whole gives.
func TestSnapshotAndRest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []*netmonpb.Row
	for range 400 {
		r := domain(string(rune('a'+rng.IntN(8))), rng.Uint64N(100))
		r.Key.Direction = netmonpb.Direction(rng.IntN(2))
		r.Retired = rng.IntN(5) == 0
		all = append(all, r, gauge(string(rune('p'+rng.IntN(3))), float64(rng.IntN(9))))
	}
	var whole Totals
	whole.Apply(all)
	want := whole.Rows()
	for cut := 0; cut <= len(all); cut += 7 {
		var first, second Totals
		first.Apply(all[:cut])
		second.Apply(first.Rows())
		second.Apply(all[cut:])
		if got := second.Rows(); !slices.EqualFunc(got, want, func(a, b *netmonpb.Row) bool { return proto.Equal(a, b) }) {
			t.Fatalf("cut at %d: got %v, want %v", cut, got, want)
		}
	}
	sum := Sum(want, netmonpb.View_VIEW_DOMAINS)
	if in := Sum(all, netmonpb.View_VIEW_DOMAINS); !proto.Equal(sum, in) {
		t.Errorf("rows sum to %v, deltas to %v", sum, in)
	}
}

func BenchmarkApply(b *testing.B) {
	var deltas []*netmonpb.Row
	for i := range 10000 {
		deltas = append(deltas, domain(fmt.Sprintf("name%d.example.com", i), 5))
	}
	var totals Totals
	totals.Apply(deltas)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		totals.apply(deltas[i%len(deltas)])
	}
}
