package capture

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// ringPacket is a packet as the kernel lays it out in a block.
type ringPacket struct {
	at     int64
	index  int32
	hatype uint16
	kind   byte
	wire   uint32
	data   string
}

const mac = 82 // where Ethernet frames begin, from the packet header on

// fill writes packets into a block and hands it over.
func fill(block []byte, ps ...ringPacket) {
	native.PutUint32(block[blockCount:], uint32(len(ps)))
	native.PutUint32(block[blockFirst:], blockHeader)
	at := blockHeader
	for i, p := range ps {
		h := block[at:]
		step := (mac + len(p.data) + 15) &^ 15
		if i < len(ps)-1 {
			native.PutUint32(h[packetNext:], uint32(step))
		}
		native.PutUint32(h[packetSec:], uint32(p.at/1e9))
		native.PutUint32(h[packetNsec:], uint32(p.at%1e9))
		native.PutUint32(h[packetCaptured:], uint32(len(p.data)))
		native.PutUint32(h[packetWire:], p.wire)
		native.PutUint16(h[packetMac:], mac)
		native.PutUint32(h[packetIndex:], uint32(p.index))
		native.PutUint16(h[packetHatype:], p.hatype)
		h[packetType] = p.kind
		copy(h[mac:], p.data)
		at += step
	}
	native.PutUint32(block[blockStatus:], unix.TP_STATUS_USER)
}

// fakeEngine is an engine without a kernel.
type fakeEngine struct {
	counts  [3]uint32
	filters [][]bpf.RawInstruction
	reads   []ringPacket
	closed  int
	refuses error
}

func (e *fakeEngine) SetBPF(p []bpf.RawInstruction) error {
	e.filters = append(e.filters, p)
	return e.refuses
}
func (e *fakeEngine) Close()                 { e.closed++ }
func (e *fakeEngine) join(int, uint16) error { return nil }
func (e *fakeEngine) stats() (p, d, f uint32, err error) {
	return e.counts[0], e.counts[1], e.counts[2], nil
}
func (e *fakeEngine) read() ([]byte, time.Time, int, int, error) {
	if len(e.reads) == 0 {
		return nil, time.Time{}, 0, 0, nil
	}
	p := e.reads[0]
	e.reads = e.reads[1:]
	if p.data == "" {
		return nil, time.Time{}, 0, 0, errors.New("broken")
	}
	return []byte(p.data), time.Unix(0, p.at), int(p.wire), int(p.index), nil
}

// handRing is a ring source over plain memory, with device 7 as interface 1.
func handRing(blocks, block int) *ringSource {
	var t atomic.Pointer[table]
	t.Store(&table{
		list:    []Interface{{}, {Name: "eth0", Index: 7, Link: linkRaw, Present: true}},
		numbers: map[int32]uint16{7: 1},
	})
	s := &socket{engine: &fakeEngine{}, fd: -1, size: ringSize{block: block, blocks: blocks, timeout: time.Millisecond}}
	if blocks > 0 {
		s.ring = make([]byte, blocks*block)
	}
	return newRingSource(s, 0, &t, 1000, -1)
}

func next1(t *testing.T, r *ringSource) []Packet {
	t.Helper()
	ps, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

// What a ring holds as it begins is accounted for, whatever the kernel says of it.
func TestRingBegins(t *testing.T) {
	r := handRing(3, 1<<16)
	early := ringPacket{at: 999, index: 7, hatype: arphrdEther, wire: 4, data: "old!"}
	fill(r.ring[:1<<16], early, early)
	fill(r.ring[1<<16:2<<16], early)
	r.engine.(*fakeEngine).counts = [3]uint32{9, 8, 1} // what has since been cleared is not in it
	r.begin()
	next1(t, r)
	next1(t, r)
	if got := r.totals; got != [3]uint64{3} || r.skipped.Load() != 3 {
		t.Errorf("%v in the ring, %d passed over", got, r.skipped.Load())
	}
	r.engine.(*fakeEngine).counts = [3]uint32{12, 9, 1}
	r.count()
	if got := r.totals; got != [3]uint64{5, 1} {
		t.Errorf("then %v", got)
	}
}

func TestRingWalk(t *testing.T) {
	r := handRing(2, 1<<16)
	fill(r.ring[:1<<16],
		ringPacket{at: 999, index: 7, hatype: arphrdEther, wire: 4, data: "old!"},
		ringPacket{at: 1e9 + 5, index: 7, hatype: arphrdEther, kind: 4, wire: 1500, data: "abc"},
		ringPacket{at: 1e9 + 3, index: 7, hatype: arphrdNone, kind: 0, wire: 2, data: "raw"},
		ringPacket{at: 1e9 + 9, index: 8, hatype: arphrdEther, wire: 4, data: "else"},
		ringPacket{at: 1e9 + 8, index: 7, hatype: 801, kind: 6, wire: 4, data: "wlan"},
	)
	got := next1(t, r)
	want := []Packet{
		{Data: []byte("abc"), Time: 1e9 + 5, Clock: 1e9 + 5, Order: 1e9 + 5, Length: 1500, Link: 1, Interface: 1, Type: TypeOutgoing},
		{Data: []byte("raw"), Time: 1e9 + 3, Clock: 1e9 + 5, Order: 1e9 + 3, Length: 3, Link: 101, Interface: 1, Type: TypeHost},
		{Data: []byte("wlan"), Time: 1e9 + 8, Clock: 1e9 + 8, Order: 1e9 + 8, Length: 4, Link: linkUnknown, Interface: 1, Type: TypeUnknown},
	}
	if !slices.EqualFunc(got, want, func(a, b Packet) bool {
		same := string(a.Data) == string(b.Data)
		a.Data, b.Data = nil, nil
		return same && a.Time == b.Time && a.Clock == b.Clock && a.Order == b.Order && a.Length == b.Length &&
			a.Link == b.Link && a.Interface == b.Interface && a.Type == b.Type
	}) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if cap(got[0].Data) != 3 {
		t.Errorf("an append to a frame would write into the ring: capacity %d", cap(got[0].Data))
	}
	if r.skipped.Load() != 2 || r.delivered.Load() != 3 || r.damaged.Load() != 0 {
		t.Errorf("skipped %d, delivered %d, damaged %d", r.skipped.Load(), r.delivered.Load(), r.damaged.Load())
	}

	// The block is given back at the next call, not before.
	if native.Uint32(r.ring[blockStatus:]) == unix.TP_STATUS_KERNEL {
		t.Error("block released while its packets are in use")
	}
	fill(r.ring[1<<16:], ringPacket{at: 2e9, index: 7, hatype: arphrdEther, wire: 1, data: "b"})
	if got := next1(t, r); len(got) != 1 || native.Uint32(r.ring[blockStatus:]) != unix.TP_STATUS_KERNEL {
		t.Errorf("%d packets, status of the first block %d", len(got), native.Uint32(r.ring[blockStatus:]))
	}
	fill(r.ring[:1<<16], ringPacket{at: 3e9, index: 7, hatype: arphrdEther, wire: 1, data: "c"})
	if got := next1(t, r); len(got) != 1 || string(got[0].Data) != "c" {
		t.Errorf("second lap: %v", got)
	}
	if r.Close(); r.Close() != nil || r.engine.(*fakeEngine).closed != 1 {
		t.Error("closed more than once")
	}
	if _, err := r.Next(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A block of many packets is given in pieces, and released after the last.
func TestRingLongBlock(t *testing.T) {
	r := handRing(1, 1<<20)
	ps := slices.Repeat([]ringPacket{{at: 5e9, index: 7, hatype: arphrdEther, wire: 60, data: "x"}}, 3*ringBlock+1)
	fill(r.ring, ps...)
	for _, want := range []int{ringBlock, ringBlock, ringBlock, 1} {
		if got := next1(t, r); len(got) != want {
			t.Fatalf("%d packets, want %d", len(got), want)
		}
		if !r.ready() {
			t.Fatal("released too early")
		}
	}
}

func TestRingClock(t *testing.T) {
	r := handRing(1, 1<<16)
	for _, step := range []struct{ to, want int64 }{
		{1000e9, 1000e9},
		{999e9, 1000e9},                        // another CPU
		{1000e9 - clockStep, 1000e9},           // not yet a step
		{1000e9 - clockStep - 1, 998e9 - 1},    // set back
		{math.MaxInt64, math.MaxInt64}, {5, 5}, // and far
	} {
		if r.advance(step.to); r.Clock() != step.want {
			t.Errorf("advance to %d: %d, want %d", step.to, r.Clock(), step.want)
		}
	}
}

// An idle source says how far time has gone, and never further than a packet
// that may still come.
func TestRingIdleClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := handRing(0, 1<<16)
		if got := next1(t, r); len(got) != 0 {
			t.Fatalf("%d packets", len(got))
		}
		late := time.Since(time.Unix(0, r.Clock()))
		if late != 2*time.Millisecond+lateness {
			t.Errorf("idle clock is %v behind", late)
		}
	})
}

func TestRingByLibrary(t *testing.T) {
	r := handRing(0, 1<<16)
	e := r.engine.(*fakeEngine)
	e.reads = []ringPacket{{at: 1e9, index: 7, wire: 90, data: "abc"}, {at: 1e9, index: 9, wire: 3, data: "abc"}, {at: 5, index: 7, data: "abc"}, {}}
	got := next1(t, r)
	if len(got) != 1 || string(got[0].Data) != "abc" || got[0].Length != 90 || got[0].Link != linkRaw || got[0].Type != TypeUnknown || got[0].Interface != 1 {
		t.Errorf("got %+v", got)
	}
	for range 2 {
		if got := next1(t, r); len(got) != 0 {
			t.Errorf("not skipped: %+v", got)
		}
	}
	if _, err := r.Next(); err == nil || r.skipped.Load() != 2 {
		t.Errorf("skipped %d, %v", r.skipped.Load(), err)
	}
}

// The library's counters wrap at 32 bits.
func TestSocketCounts(t *testing.T) {
	e := &fakeEngine{counts: [3]uint32{0xfffffff0, 0, 0}}
	s := &socket{engine: e, fd: -1}
	s.count()
	e.counts = [3]uint32{0x10, 0x8, 1}
	s.count()
	if want := [3]uint64{0xfffffff0 + 0x20 - 8, 8, 1}; s.totals != want {
		t.Errorf("%d, want %d", s.totals, want)
	}
	e.counts[0] += 5
	s.close()
	e.counts[0] += 100
	s.count() // of a closed socket nothing is asked
	if s.totals[0] != 0xfffffff0+0x20-8+5 {
		t.Errorf("after close: %d", s.totals)
	}
}

func TestRingMemory(t *testing.T) {
	const room = 8 << 20
	for _, test := range []struct {
		options        Options
		room           int64
		shards, blocks int
		notes          int
		fails          bool
	}{
		{Options{Shards: 4, RingMemory: 64 << 20}, 1 << 40, 4, 16, 0, false},
		{Options{Shards: 3, RingMemory: 64 << 20}, 1 << 40, 3, 21, 0, false},
		{Options{Shards: 8, RingMemory: 5 << 20}, 1 << 40, 2, 2, 1, false},
		{Options{Shards: 99, RingMemory: 64 << 20}, 1 << 40, 16, 4, 1, false},
		{Options{Shards: 1, RingMemory: 1 << 10}, 1 << 40, 1, 2, 1, false},
		{Options{Shards: 2, RingMemory: 64 << 20}, room, 2, 4, 3, false},
		{Options{Shards: 8, RingMemory: 64 << 20}, room, 4, 2, 3, false},
		{Options{Shards: 4, RingMemory: 64 << 20}, 1 << 20, 1, 2, 5, true},
	} {
		r := &Rings{options: test.options}
		if err := r.settle(); err != nil {
			t.Fatal(err)
		}
		opened := int64(0)
		var engines []*fakeEngine
		err := r.openSockets(func(s ringSize) (engine, int, []byte, error) {
			if opened += int64(s.block * s.blocks); opened > test.room {
				opened = 0 // all are closed
				return nil, -1, nil, errMemory
			}
			engines = append(engines, &fakeEngine{})
			return engines[len(engines)-1], 5, make([]byte, 1), nil
		})
		if (err != nil) != test.fails || r.options.Shards != test.shards || r.size.blocks != test.blocks || len(r.notes) != test.notes {
			t.Errorf("%+v with room for %d: %d shards of %d blocks, %v, %q", test.options, test.room, r.options.Shards, r.size.blocks, err, r.notes)
		}
		if !test.fails && len(r.sockets) != test.shards {
			t.Errorf("%d sockets for %d shards", len(r.sockets), test.shards)
		}
		for i, e := range engines {
			if open := i >= len(engines)-len(r.sockets); open == (e.closed > 0) {
				t.Errorf("engine %d of %d closed %d times", i, len(engines), e.closed)
			}
			if len(e.filters) != 1 || len(e.filters[0]) != 1 || e.filters[0][0].K != 0 {
				t.Errorf("first filter %v", e.filters)
			}
		}
	}
}

// A filter that the kernel refuses is an error at the start, and told later.
func TestFilterRefused(t *testing.T) {
	bad := &fakeEngine{refuses: unix.ENOMEM}
	var told []string
	r := &Rings{
		options: Options{Event: func(s string) { told = append(told, s) }},
		sockets: []*socket{{engine: &fakeEngine{}}, {engine: bad}},
	}
	tab := &table{list: []Interface{{}, {Index: 7, Present: true}}}
	if err := r.attach(tab); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("attach: %v", err)
	}
	if r.follow(tab); len(told) != 1 || !strings.Contains(told[0], "attach filter") {
		t.Errorf("told %q", told)
	}
	r.sockets[1].close() // by its reader, whose socket may be gone any time
	if err := r.attach(tab); err != nil || len(bad.filters) != 2 {
		t.Errorf("a closed ring gets a filter: %v, %d", err, len(bad.filters))
	}
}

func TestOptionsRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"unknown fanout":    {Fanout: "random"},
		"unknown protocol":  {Filter: &Filter{Protocols: []string{"x"}}},
		"interface pattern": {Interfaces: []string{"eth["}},
		`pattern ""`:        {Interfaces: []string{""}},
	} {
		if _, err := OpenRings(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestNoInterfaceError(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"eht0", `no interface "eht0"; did you mean eth0?`},
		{"eth", `no interface "eth"; did you mean eth0 or eth1?`},
		{"wireguard", `no interface "wireguard"; there are lo, eth0, eth1, docker0`},
		{"docker", `no interface "docker"; did you mean docker0?`},
	} {
		err := newNoInterfaceError(test.name, []string{"lo", "eth0", "eth1", "docker0"})
		if err.Error() != test.want || !errors.Is(err, ErrNoInterface) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}

func TestRegistry(t *testing.T) {
	r := newRegistry()
	now := time.Unix(1000, 0)
	dev := func(index int, name string, up bool) device { return device{index: index, name: name, up: up} }
	step := func(want []string, ds ...device) *table {
		t.Helper()
		tab, changes := r.update(ds, now)
		if !slices.Equal(changes, want) {
			t.Errorf("changes %q, want %q", changes, want)
		}
		return tab
	}
	step([]string{"interface a appeared", "interface b appeared, down"}, dev(2, "a", true), dev(3, "b", false))
	tab := step([]string{"interface b is up"}, dev(2, "a", true), dev(3, "b", true))
	if tab.numbers[2] != 1 || tab.numbers[3] != 2 || !slices.Equal(tab.indexes(), []int{2, 3}) {
		t.Errorf("%+v", tab)
	}
	tab = step([]string{"interface a is gone"}, dev(3, "b", true))
	if tab.numbers[2] != 1 || !slices.Equal(tab.names(), []string{"b"}) || tab.interfaceOf(1).Name != "a" || tab.interfaceOf(1).Present {
		t.Errorf("packets of a that wait in a ring: %+v", tab)
	}
	tab = step([]string{"interface a appeared", "interface b was made anew"}, dev(9, "a", true), dev(10, "b", true))
	if tab.numbers[9] != 1 || tab.numbers[2] != 1 || tab.numbers[3] != 2 || tab.numbers[10] != 2 {
		t.Errorf("a name keeps its number: %+v", tab)
	}
	now = now.Add(2 * stray)
	tab = step([]string{"interface b is gone", "interface c appeared"}, dev(9, "a", true), dev(10, "c", true))
	if tab.numbers[10] != 3 || tab.numbers[2] != 0 || tab.numbers[3] != 0 {
		t.Errorf("renamed from b to c: %+v", tab.numbers)
	}
	if got := tab.interfaceOf(99); got.Name != "" {
		t.Errorf("no interface 99: %+v", got)
	}
}

// A host of containers makes up names for ever; numbers are used again.
// What an interface counted goes on under its name, whatever device has it, and
// begins where its capture does.
func TestRegistryCounts(t *testing.T) {
	dev := func(name string, index int, rx uint64) device {
		return device{name: name, index: index, counted: Counted{RxPackets: rx}}
	}
	r, now := newRegistry(), time.Unix(0, 0)
	counted := func(n int, current uint64) uint64 {
		i := r.list[n]
		if !i.Present {
			return i.ended.RxPackets
		}
		c := i.counted(Counted{RxPackets: current})
		return c.RxPackets
	}
	r.update([]device{dev("a", 1, 100)}, now)
	if n := counted(1, 150); n != 50 {
		t.Errorf("captured with 100, now 150: %d", n)
	}
	r.rebase(dev("a", 1, 110))
	if n := counted(1, 150); n != 40 {
		t.Errorf("begun again with 110: %d", n)
	}
	r.left[1] = Counted{RxPackets: 160} // its farewell
	r.update(nil, now)
	if n := counted(1, 0); n != 50 {
		t.Errorf("gone with 160: %d", n)
	}
	r.update([]device{dev("a", 2, 7)}, now)
	if n := counted(1, 9); n != 52 {
		t.Errorf("another device with 2 more: %d", n)
	}
	r.update([]device{dev("a", 2, 10)}, now)
	r.update([]device{dev("a", 3, 0)}, now) // no farewell was heard of the one before
	if n := counted(1, 1); n != 54 {
		t.Errorf("a third with 1: %d", n)
	}
	r.left[3] = Counted{RxPackets: 5}
	r.update([]device{dev("b", 3, 5)}, now) // renamed
	if n, m := counted(1, 0), counted(2, 8); n != 58 || m != 3 {
		t.Errorf("renamed: %d under the old name, %d under the new", n, m)
	}
}

func TestRegistryChurn(t *testing.T) {
	r := newRegistry()
	now := time.Unix(1000, 0)
	for i := range 4 * reuseNumbers {
		now = now.Add(forgotten / 100)
		name := "veth" + time.Duration(i).String()
		tab, changes := r.update([]device{{index: i + 2, name: name, up: true}}, now)
		n := tab.numbers[int32(i+2)]
		if n == 0 || tab.interfaceOf(n).Name != name || !slices.Contains(changes, "interface "+name+" appeared") {
			t.Fatalf("%s: number %d, %q", name, n, changes)
		}
	}
	if len(r.list) > 2*reuseNumbers || len(r.stray) > 2*reuseNumbers {
		t.Errorf("%d numbers, %d strays", len(r.list), len(r.stray))
	}
}

func TestRegistryIsBounded(t *testing.T) {
	r := newRegistry()
	r.list, r.gone = make([]Interface, 1<<16), make([]time.Time, 1<<16)
	for n := range r.list {
		r.list[n].Name = "former"
	}
	eth := []device{{index: 2, name: "eth0"}, {index: 3, name: "eth1"}}
	tab, changes := r.update(eth, time.Now())
	if tab.refused != 2 || len(tab.indexes()) != 0 || !slices.Contains(changes, "interface eth1 is not captured: there are too many") {
		t.Errorf("%d refused, %q", tab.refused, changes)
	}
	r.gone[7] = time.Now().Add(-2 * forgotten)
	if tab, _ = r.update(eth, time.Now()); tab.refused != 1 || tab.numbers[2] != 7 {
		t.Errorf("%d refused, number %d", tab.refused, tab.numbers[2])
	}
}

func TestLocalSet(t *testing.T) {
	s := newLocalSet([]device{{addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64")}}})
	for address, want := range map[string]bool{
		"192.0.2.7": true, "192.0.2.8": false, "2001:db8::7": true, "2001:db8::": false, "127.0.0.53": true, "::1": true, "0.0.0.0": false,
	} {
		if got := s.Contains(netip.MustParseAddr(address).As16()); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// The fanout program on frames as the kernel shows them to it.
func TestFanoutProgram(t *testing.T) {
	machine := func(kind Type, proto uint32) *bpf.VM {
		p := fanoutProgram()
		for i, in := range p {
			switch in {
			case bpf.LoadExtension{Num: bpf.ExtType}:
				p[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: uint32(kind)}
			case bpf.LoadExtension{Num: bpf.ExtProto}:
				p[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: proto}
			}
		}
		m, err := bpf.NewVM(p)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	run := func(proto uint32, b []byte) int {
		n, err := machine(TypeHost, proto).Run(b)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	tagged := func(proto uint16, b []byte) []byte { return append(big.AppendUint16([]byte{0x41, 0x23}, proto), b...) }
	pppoe := func(proto uint16, b []byte) []byte {
		return append(big.AppendUint16([]byte{0x11, 0, 0, 1, 0, 99}, proto), b...)
	}
	shards := map[int]int{}
	for i := range 4000 {
		src, dst := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), netip.MustParseAddr("192.0.2.1")
		type6, type4, ppp := uint16(0x86dd), uint16(0x0800), uint16(0x21)
		type_ := type4
		if i%2 == 1 {
			src, dst = netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i), 14: byte(i >> 8)}), netip.MustParseAddr("2001:db8::1")
			type_, ppp = type6, 0x57
		}
		there := (&spec{raw: true, src: src, dst: dst, protocol: 17, sport: 5, dport: 6}).frame()
		back := (&spec{raw: true, src: dst, dst: src, protocol: 17, sport: 6, dport: 5, payload: make([]byte, 50)}).frame()
		want := run(uint32(type_), there)
		for _, got := range []int{
			run(uint32(type_), back), run(0x8100, tagged(type_, there)), run(0x88a8, tagged(type_, back)),
			run(0x8100, there), run(0x8864, pppoe(ppp, back)),
		} {
			if got != want {
				t.Fatalf("%v and %v: %d and %d", src, dst, got, want)
			}
		}
		shards[want%4]++
	}
	for i := range 4 {
		if shards[i] < 500 {
			t.Errorf("shard %d gets %d of 4000 pairs: %v", i, shards[i], shards)
		}
	}
	if run(0x0806, make([]byte, 28)) != 0 || run(0x0800, nil) != 0 || run(0x8864, make([]byte, 60)) != 0 {
		t.Error("what is not IP goes elsewhere than to shard 0")
	}
}

func FuzzRing(f *testing.F) {
	block := make([]byte, 4096)
	fill(block, ringPacket{at: 2000, index: 7, data: "abc"}, ringPacket{at: 3000, index: 7, data: "def"})
	f.Add(block[:512])
	f.Fuzz(func(t *testing.T, data []byte) {
		r := handRing(2, 4096)
		copy(r.ring, data)
		copy(r.ring[4096:], data)
		for b := range 2 {
			native.PutUint32(r.ring[b*4096+blockStatus:], unix.TP_STATUS_USER)
		}
		// Every packet gives at least the room of its header.
		for range 2 * (2 + 4096/packetHeader) {
			if r.left == 0 && r.block == 1 && r.holding {
				return
			}
			for _, p := range next1(t, r) {
				if len(p.Data) > 4096 || int(p.Length) < len(p.Data) {
					t.Fatalf("%d bytes, length %d", len(p.Data), p.Length)
				}
			}
		}
		t.Fatal("the walk does not end")
	})
}

func BenchmarkRing(b *testing.B) {
	const packets = 4000
	r := handRing(4, 1<<20)
	var ps []ringPacket
	for i := range packets {
		ps = append(ps, ringPacket{at: int64(i) * 1000, index: 7, hatype: arphrdEther, wire: 1500, data: strings.Repeat("x", 128)})
	}
	for i := range 4 {
		fill(r.ring[i<<20:(i+1)<<20], ps...)
	}
	b.ReportAllocs()
	for b.Loop() {
		native.PutUint32(r.ring[r.block<<20+blockStatus:], unix.TP_STATUS_USER)
		if r.holding {
			native.PutUint32(r.ring[(r.block+1)%4<<20+blockStatus:], unix.TP_STATUS_USER)
		}
		for range (packets + ringBlock - 1) / ringBlock {
			r.Next()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/packets, "ns/packet")
}

func TestRingAllocates(t *testing.T) {
	r := handRing(1, 1<<20)
	fill(r.ring, slices.Repeat([]ringPacket{{at: 5e9, index: 7, hatype: arphrdEther, wire: 60, data: "x"}}, 5000)...)
	next1(t, r)
	if n := testing.AllocsPerRun(15, func() { r.Next() }); n != 0 {
		t.Errorf("%v allocations per call", n)
	}
}
