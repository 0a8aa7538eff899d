//go:build linux && cgo

package capture

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lab is a network namespace of its own with a pair of veth devices. The test's
// thread is in it and ends with the test.
type lab struct {
	*netlink.Handle
	t *testing.T
}

func newLab(t *testing.T) *lab {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread must not come back
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		missing(t, "CAP_SYS_ADMIN, for a network namespace: "+err.Error())
	}
	// Without IPv6's own chatter every packet is the test's.
	for _, which := range []string{"all", "default"} {
		os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	l := &lab{h, t}
	l.up("lo")
	return l
}

func (l *lab) link(name string) netlink.Link {
	l.t.Helper()
	link, err := l.LinkByName(name)
	if err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
	return link
}

func (l *lab) do(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) up(names ...string) {
	l.t.Helper()
	for _, n := range names {
		l.do(l.LinkSetUp(l.link(n)))
	}
}

// veth makes a pair of devices with the hardware addresses 02:00:00:00:00:01
// and :02, both up.
func (l *lab) veth(a, b string) {
	l.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = a, net.HardwareAddr{2, 0, 0, 0, 0, 1}, 9000
	if err := l.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: b, PeerHardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2}}); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			missing(l.t, "veth devices")
		}
		l.t.Fatal(err)
	}
	l.do(l.LinkSetMTU(l.link(b), 9000))
	l.up(a, b)
}

// sender sends frames as they are out of a device.
func (l *lab) sender(name string) func(frame []byte) {
	l.t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		missing(l.t, "CAP_NET_RAW")
	}
	l.do(err)
	l.t.Cleanup(func() { unix.Close(fd) })
	to := &unix.SockaddrLinklayer{Ifindex: l.link(name).Attrs().Index}
	return func(frame []byte) {
		l.t.Helper()
		for range 1000 { // a full queue passes
			err := unix.Sendto(fd, frame, 0, to)
			if err == nil {
				return
			}
			if !errors.Is(err, unix.ENOBUFS) {
				l.t.Fatalf("send out of %s: %v", name, err)
			}
			runtime.Gosched()
		}
		l.t.Fatal("the queue stays full")
	}
}

func (l *lab) open(o Options) *Rings {
	l.t.Helper()
	r, err := OpenRings(o)
	if errors.Is(err, ErrPrivilege) {
		missing(l.t, err.Error())
	}
	l.do(err)
	l.t.Cleanup(func() { r.Close() })
	return r
}

// caught is a packet with the shard that was given it.
type caught struct {
	Packet
	shard int
	name  string
}

// reader reads all sources of some rings, each in a goroutine that closes it in
// the end, and copies what they give.
type reader struct {
	t    *testing.T
	mu   sync.Mutex
	all  []caught
	news chan struct{} // something was added
	quit chan struct{}
	done sync.WaitGroup
}

func (l *lab) read(r *Rings) *reader {
	rd := &reader{t: l.t, news: make(chan struct{}, 1), quit: make(chan struct{})}
	for i, s := range r.Sources() {
		rd.done.Go(func() {
			defer s.Close()
			for told := int64(0); ; {
				select {
				case <-rd.quit:
					return
				default:
				}
				ps, err := s.Next()
				if err != nil {
					l.t.Errorf("shard %d: %v", i, err)
					return
				}
				for _, p := range ps {
					if p.Time < told {
						l.t.Errorf("shard %d: a packet of %d after the source said that all up to %d were given", i, p.Time, told)
					}
				}
				if len(ps) == 0 {
					told = s.Clock()
				}
				rd.add(r, i, ps)
			}
		})
	}
	l.t.Cleanup(rd.stop)
	return rd
}

func (rd *reader) add(r *Rings, shard int, ps []Packet) {
	if len(ps) == 0 {
		return
	}
	rd.mu.Lock()
	for _, p := range ps {
		p.Data = bytes.Clone(p.Data)
		rd.all = append(rd.all, caught{p, shard, r.Interface(p.Interface).Name})
	}
	rd.mu.Unlock()
	select {
	case rd.news <- struct{}{}:
	default:
	}
}

func (rd *reader) stop() {
	select {
	case <-rd.quit:
	default:
		close(rd.quit)
	}
	rd.done.Wait()
}

// wait returns the packets once there are n of those that want takes.
func (rd *reader) wait(n int, want func(caught) bool) []caught {
	rd.t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		rd.mu.Lock()
		got := slices.DeleteFunc(slices.Clone(rd.all), func(c caught) bool { return !want(c) })
		rd.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-rd.news:
		case <-deadline:
			rd.t.Fatalf("%d packets of %d after 5 s", len(got), n)
		}
	}
}

func every(caught) bool { return true }

func marked(mark byte) func(caught) bool {
	return func(c caught) bool { return c.Data[len(c.Data)-1] == mark }
}

// eventually polls for something that the kernel does in its own time.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// udpFrame is an Ethernet frame between the devices of veth; mark is its last byte.
func udpFrame(to byte, src, dst string, size int, mark byte, change func(*spec)) []byte {
	s := &spec{src: netip.MustParseAddr(src), dst: netip.MustParseAddr(dst), protocol: protoUDP, sport: 4000, dport: 9}
	if change != nil {
		change(s)
	}
	s.payload = make([]byte, max(size-len(s.frame()), 1))
	s.payload[len(s.payload)-1] = mark
	b := s.frame()
	copy(b, []byte{2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, 3 - to})
	return b
}

func TestLiveLengthsAndTypes(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	for _, full := range []bool{true, false} {
		r := l.open(Options{Interfaces: []string{"v1"}, Shards: 1, RingMemory: 4 << 20, FullPackets: full})
		rd := l.read(r)
		out, in := l.sender("v1"), l.sender("v2")
		foreign := udpFrame(1, "192.0.2.9", "192.0.2.1", 700, 6, nil)
		foreign[5] = 9
		broadcast := udpFrame(1, "192.0.2.9", "192.0.2.1", 800, 7, nil)
		copy(broadcast, []byte{255, 255, 255, 255, 255, 255})
		multicast := udpFrame(1, "192.0.2.9", "224.0.0.9", 900, 8, nil)
		copy(multicast, []byte{1, 0, 94, 0, 0, 9})
		arp := append(append(make([]byte, 12), 8, 6), make([]byte, 46)...)
		frames := []struct {
			send  func([]byte)
			frame []byte
			kind  Type
			keep  int
		}{
			{in, udpFrame(1, "192.0.2.1", "192.0.2.2", 60, 1, nil), TypeHost, 60},
			{in, udpFrame(1, "192.0.2.1", "192.0.2.2", 1514, 2, nil), TypeHost, snapBulk},
			{in, udpFrame(1, "192.0.2.1", "192.0.2.2", 9014, 3, func(s *spec) { s.dport = 53 }), TypeHost, 9014},
			{out, udpFrame(2, "192.0.2.2", "192.0.2.1", 1000, 4, nil), TypeOutgoing, snapBulk},
			{in, foreign, TypeOtherHost, snapBulk},
			{in, broadcast, TypeBroadcast, snapBulk},
			{in, multicast, TypeMulticast, snapBulk},
			{out, arp, TypeOutgoing, 60},
		}
		before := time.Now().UnixNano()
		for _, f := range frames {
			f.send(f.frame)
		}
		got := rd.wait(len(frames), every)
		for i, f := range frames {
			g, keep := got[i], f.keep
			if full {
				keep = len(f.frame)
			}
			if int(g.Length) != len(f.frame) || !bytes.Equal(g.Data, f.frame[:keep]) || g.Type != f.kind {
				t.Errorf("full %v, frame %d: length %d of %d, kept %d of %d, type %d of %d", full, i, g.Length, len(f.frame), len(g.Data), keep, g.Type, f.kind)
			}
			if g.name != "v1" || g.Link != linkEthernet || g.Time < before || g.Time > time.Now().UnixNano() || g.Order != uint64(g.Time) || g.Clock < g.Time {
				t.Errorf("frame %d: %+v", i, g.Packet)
			}
			if i > 0 && g.Time < got[i-1].Time {
				t.Errorf("frame %d came before the one sent earlier", i)
			}
		}
		rd.stop()
		s := r.Stats().Shards[0]
		if s.Delivered != uint64(len(frames)) || s.Packets != s.Delivered+s.Skipped || s.Drops != 0 || s.Damaged != 0 {
			t.Errorf("%+v", s)
		}
		r.Close()
	}
}

// Tags in a frame: the kernel takes the outer one off what is received, and the
// rest stays. Either way the IP packet is whole.
func TestLiveTags(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 2, RingMemory: 16 << 20})
	rd := l.read(r)
	in, out := l.sender("v2"), l.sender("v1")
	plain := udpFrame(1, "192.0.2.1", "192.0.2.2", 300, 1, nil)
	for n, tags := range [][]uint16{{0x8100}, {0x88a8, 0x8100}} {
		in(udpFrame(1, "192.0.2.1", "192.0.2.2", 300, byte(n), func(s *spec) { s.tags, s.dport = tags, 53 }))
		out(udpFrame(2, "192.0.2.2", "192.0.2.1", 300, byte(n), func(s *spec) { s.tags, s.sport = tags, 53 }))
	}
	shards := map[int]bool{}
	for _, g := range rd.wait(4, every) {
		shards[g.shard] = true
		at := bytes.Index(g.Data, []byte{0x45, 0})
		if at < 14 || (at-14)%4 != 0 || int(g.Length)-at < len(plain)-14-8 || int(g.Length) != len(g.Data) {
			t.Errorf("IP at %d, length %d, kept %d: %x", at, g.Length, len(g.Data), g.Data[:40])
		}
	}
	if len(shards) != 1 {
		t.Errorf("one flow on shards %v", shards)
	}
}

// Both directions of a flow, and its fragments, are on one shard.
func TestLiveFanout(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 4, RingMemory: 16 << 20})
	rd := l.read(r)
	in, out := l.sender("v2"), l.sender("v1")
	const flows = 200
	for i := range flows {
		here, far := fmt.Sprintf("10.0.%d.1", i), fmt.Sprintf("192.0.2.%d", i)
		if i%2 == 1 {
			here, far = fmt.Sprintf("2001:db8::%x", i), fmt.Sprintf("2001:db8:1::%x", i)
		}
		fragment := func(offset uint16, more bool) func(*spec) {
			return func(s *spec) {
				if i%2 == 1 {
					s.headers = []uint8{extFragment}
				}
				s.offset, s.more = offset, more
			}
		}
		in(udpFrame(1, far, here, 100, 0, nil))
		in(udpFrame(1, far, here, 1400, 0, fragment(0, true)))
		in(udpFrame(1, far, here, 100, 0, fragment(170, false)))
		out(udpFrame(2, here, far, 200, 0, func(s *spec) { s.sport, s.dport = 9, 4000 }))
		out(udpFrame(2, here, far, 1400, 0, fragment(170, true)))
	}
	shardOf, used := map[[2]netip.Addr]int{}, map[int]int{}
	got := rd.wait(5*flows, every)
	if len(got) != 5*flows {
		t.Errorf("%d packets of %d: none is put together or shown twice", len(got), 5*flows)
	}
	for _, g := range got {
		src, dst := netip.AddrFrom4([4]byte(g.Data[26:30])), netip.AddrFrom4([4]byte(g.Data[30:34]))
		if g.Data[12] == 0x86 {
			src, dst = netip.AddrFrom16([16]byte(g.Data[22:38])), netip.AddrFrom16([16]byte(g.Data[38:54]))
		}
		if src.Compare(dst) > 0 {
			src, dst = dst, src
		}
		pair := [2]netip.Addr{src, dst}
		if was, seen := shardOf[pair]; seen && was != g.shard {
			t.Fatalf("%v on shards %d and %d", pair, was, g.shard)
		}
		shardOf[pair] = g.shard
		used[g.shard]++
	}
	for i := range 4 {
		if used[i] < flows/2 {
			t.Errorf("shard %d has %d of %d packets", i, used[i], 5*flows)
		}
	}
}

func TestLiveFanoutModes(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	for _, mode := range []string{"hash", "cpu", "queue"} {
		a := l.open(Options{Interfaces: []string{"v1"}, Shards: 2, RingMemory: 16 << 20, Fanout: mode})
		b := l.open(Options{Interfaces: []string{"v1"}, Shards: 2, RingMemory: 16 << 20, Fanout: mode})
		readA, readB := l.read(a), l.read(b)
		in := l.sender("v2")
		for i := range 100 {
			in(udpFrame(1, fmt.Sprintf("10.0.0.%d", i), "192.0.2.1", 100, 0, nil))
		}
		if n, m := len(readA.wait(100, every)), len(readB.wait(100, every)); n != 100 || m != 100 || a.group == b.group {
			t.Errorf("%s: two sensors saw %d and %d packets of 100 in groups %d and %d", mode, n, m, a.group, b.group)
		}
		readA.stop()
		readB.stop()
		a.Close()
		b.Close()
	}
}

// What the filter refuses never reaches the ring.
func TestLiveFilter(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	l.veth("w1", "w2")
	f := &Filter{IgnorePorts: []PortRange{{9, 9}}, IgnoreNets: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Protocols: []string{"udp"}}
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 2, RingMemory: 16 << 20, Filter: f})
	rd := l.read(r)
	in, other := l.sender("v2"), l.sender("w2")
	port := func(p uint16) func(*spec) { return func(s *spec) { s.dport = p } }
	for range 50 {
		in(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 0, nil))
		in(udpFrame(1, "192.0.2.1", "198.51.100.2", 100, 0, port(80)))
		in(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 0, func(s *spec) { s.protocol = protoTCP }))
		other(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 0, port(80)))
	}
	in(udpFrame(1, "192.0.2.1", "198.51.100.2", 400, 1, port(53))) // names are learned from it
	in(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 2, port(80)))
	got := rd.wait(2, every)
	if len(got) != 2 || !marked(1)(got[0]) && !marked(1)(got[1]) {
		t.Errorf("%d packets passed", len(got))
	}
	rd.stop()
	packets := uint64(0)
	for _, s := range r.Stats().Shards {
		packets += s.Packets
	}
	if packets != 2 {
		t.Errorf("%d packets reached the rings", packets)
	}
}

// A ring that nobody reads drops, and counts each drop.
func TestLiveDrops(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 1, RingMemory: 2 << 20, FullPackets: true})
	in := l.sender("v2")
	const sent = 600
	for range sent {
		in(udpFrame(1, "192.0.2.1", "192.0.2.2", 9000, 0, nil))
	}
	s := r.Stats().Shards[0]
	if s.Drops == 0 || s.Packets == 0 || s.Packets+s.Drops != sent || s.Freezes == 0 {
		t.Errorf("of %d: %+v", sent, s)
	}
	rd := l.read(r)
	rd.wait(int(s.Packets), every)
	in(udpFrame(1, "192.0.2.1", "192.0.2.2", 9000, 5, nil))
	rd.wait(1, marked(5))
	rd.stop()
	after := r.Stats().Shards[0]
	if after.Drops != s.Drops || after.Delivered != s.Packets+1 || after.Packets != s.Packets+1 || after.RingBytes != 2<<20 {
		t.Errorf("before %+v, after %+v", s, after)
	}
}

// How long a shard held a block of the ring shows while it does and afterwards, once.
func TestLiveLongestHold(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 1, RingMemory: 2 << 20, BlockTimeout: 5 * time.Millisecond})
	s := r.Sources()[0]
	t.Cleanup(func() { s.Close() })
	l.sender("v2")(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 1, nil))
	var ps []Packet
	eventually(t, 5*time.Second, "a packet", func() bool {
		var err error
		ps, err = s.Next()
		l.do(err)
		return len(ps) > 0
	})
	hold := func() time.Duration { return r.Stats().Shards[0].LongestHold }
	const long = 50 * time.Millisecond
	begin := time.Now()
	eventually(t, 5*time.Second, "it is held", func() bool { return hold() >= long })
	if real := time.Since(begin); real < long-5*time.Millisecond {
		t.Errorf("%v of holding after %v", long, real)
	}
	_, err := s.Next()
	l.do(err)
	if after, then := hold(), hold(); after < long || then != 0 {
		t.Errorf("held %v in all, then %v", after, then)
	}
}

// A packet may wait in a block for long. Meanwhile the idle source must not say
// that time is past it: the reader of every test checks that.
func TestLiveIdleClock(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 1, RingMemory: 2 << 20, BlockTimeout: 500 * time.Millisecond})
	rd := l.read(r)
	l.sender("v2")(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 1, nil))
	sent := time.Now()
	rd.wait(1, every)
	if waited := time.Since(sent); waited < pollTimeout {
		t.Errorf("the packet waited %v only, so nothing was shown", waited)
	}
}

// heard collects events.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) say(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, s)
}

func (h *heard) has(s string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.all, s)
}

func TestLiveDownAndUp(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	var h heard
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 1, RingMemory: 2 << 20, Event: h.say})
	rd := l.read(r)
	send := func(mark byte) { l.sender("v2")(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, mark, nil)) }
	send(1)
	rd.wait(1, marked(1))
	l.do(l.LinkSetDown(l.link("v1")))
	eventually(t, time.Second, "v1 down", func() bool { return h.has("interface v1 is down") && !r.Interface(1).Up })
	l.up("v1")
	eventually(t, time.Second, "v1 up", func() bool { return h.has("interface v1 is up") && r.Interface(1).Up })
	eventually(t, time.Second, "carrier", func() bool { return l.link("v2").Attrs().OperState == netlink.OperUp })
	send(2)
	rd.wait(1, marked(2))
}

func TestLiveDeletedAndMadeAnew(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 2, RingMemory: 16 << 20, Promiscuous: true})
	rd := l.read(r)
	l.sender("v2")(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 1, nil))
	first := rd.wait(1, marked(1))[0]
	old := r.Interface(first.Interface).Index
	l.do(l.LinkDel(l.link("v1")))
	eventually(t, time.Second, "v1 gone", func() bool { return !r.Interface(first.Interface).Present && len(r.Names()) == 0 })
	l.veth("v1", "v2")
	eventually(t, time.Second, "v1 back", func() bool { return r.Interface(first.Interface).Present })
	if is := r.Interface(first.Interface); is.Index == old || is.Name != "v1" {
		t.Errorf("was %d, is %+v", old, is)
	}
	// The filter follows the table.
	send := l.sender("v2")
	eventually(t, time.Second, "a packet of the new device", func() bool {
		send(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 2, nil))
		rd.mu.Lock()
		defer rd.mu.Unlock()
		return slices.ContainsFunc(rd.all, marked(2))
	})
	if second := rd.wait(1, marked(2))[0]; second.Interface != first.Interface {
		t.Errorf("number %d, was %d", second.Interface, first.Interface)
	}
	eventually(t, time.Second, "promiscuous again", func() bool { return l.link("v1").Attrs().Promisc == 1 })
}

func TestLiveGlobAndRename(t *testing.T) {
	l := newLab(t)
	var h heard
	r := l.open(Options{Interfaces: []string{"eth*", "lo"}, Shards: 1, RingMemory: 2 << 20, Event: h.say})
	rd := l.read(r)
	l.veth("x1", "x2")
	send := l.sender("x2")
	send(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 1, nil)) // not ours yet
	l.do(l.LinkSetName(l.link("x1"), "eth7"))
	eventually(t, time.Second, "eth7 captured", func() bool { return slices.Contains(r.Names(), "eth7") && h.has("interface eth7 appeared") })
	eventually(t, time.Second, "a packet of eth7", func() bool {
		send(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 2, nil))
		rd.mu.Lock()
		defer rd.mu.Unlock()
		return slices.ContainsFunc(rd.all, marked(2))
	})
	if g := rd.wait(1, marked(2))[0]; g.name != "eth7" {
		t.Errorf("packet of %q", g.name)
	}
	l.do(l.LinkSetName(l.link("eth7"), "y1"))
	eventually(t, time.Second, "eth7 gone", func() bool { return !slices.Contains(r.Names(), "eth7") && h.has("interface eth7 is gone") })
	before := r.Stats().Shards[0].Packets
	for range 20 {
		send(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 3, nil))
	}
	if after := r.Stats().Shards[0].Packets; after != before {
		t.Errorf("%d packets of y1", after-before)
	}
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if slices.ContainsFunc(rd.all, marked(1)) || slices.ContainsFunc(rd.all, marked(3)) {
		t.Error("a packet of an interface that is not ours was given")
	}
}

// Without names it is where the default route goes, also when it comes later.
func TestLiveDefaultRoute(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	l.veth("w1", "w2")
	for i, name := range []string{"v1", "w1"} {
		l.do(l.AddrAdd(l.link(name), &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, byte(2+i), 1), Mask: net.CIDRMask(24, 32)}}))
	}
	none := l.open(Options{Shards: 1, RingMemory: 2 << 20})
	if len(none.Names()) != 0 || len(none.Notes()) != 1 {
		t.Errorf("without a route: %q, %q", none.Names(), none.Notes())
	}
	l.read(none)
	l.do(l.RouteAdd(&netlink.Route{LinkIndex: l.link("w1").Attrs().Index, Gw: net.IPv4(192, 0, 3, 9), Dst: nil}))
	r := l.open(Options{Shards: 1, RingMemory: 2 << 20})
	l.read(r)
	if !slices.Equal(r.Names(), []string{"w1"}) || len(r.Notes()) != 0 {
		t.Errorf("captured %q, %q", r.Names(), r.Notes())
	}
	if names, err := Match(nil); err != nil || !slices.Equal(names, []string{"w1"}) {
		t.Errorf("Match: %q, %v", names, err)
	}
	eventually(t, 2*routeLook, "the route is found", func() bool { return slices.Equal(none.Names(), []string{"w1"}) })
	if !r.Local().Contains(netip.MustParseAddr("192.0.2.1").As16()) || r.Local().Contains(netip.MustParseAddr("192.0.2.2").As16()) {
		t.Error("local addresses")
	}
	l.do(l.AddrAdd(l.link("v1"), &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 2), Mask: net.CIDRMask(24, 32)}}))
	eventually(t, time.Second, "the new address", func() bool { return r.Local().Contains(netip.MustParseAddr("192.0.2.2").As16()) })
}

// On loopback the kernel shows each packet twice.
func TestLiveLoopback(t *testing.T) {
	l := newLab(t)
	here, err := net.ListenPacket("udp4", "127.0.0.1:0")
	l.do(err)
	defer here.Close()
	r := l.open(Options{Interfaces: []string{"lo"}, Shards: 2, RingMemory: 16 << 20})
	ignoring := l.open(Options{Interfaces: []string{"lo"}, Shards: 1, RingMemory: 2 << 20, Filter: &Filter{IgnoreLocalhost: true}})
	rd := l.read(r)
	l.read(ignoring)
	const n = 30
	for range n {
		_, err := here.WriteTo([]byte("hello"), here.LocalAddr())
		l.do(err)
	}
	rd.wait(n, every)
	rd.stop()
	total := uint64(0)
	for _, s := range r.Stats().Shards {
		total += s.Packets
	}
	if total != n {
		t.Errorf("%d packets of %d", total, n)
	}
	if s := ignoring.Stats().Shards[0]; s.Packets != 0 {
		t.Errorf("localhost is ignored, but %d packets passed", s.Packets)
	}
}

// The name in a real ClientHello survives the snap, in several segments too.
func TestLiveHello(t *testing.T) {
	l := newLab(t)
	l.do(l.LinkSetMTU(l.link("lo"), 600))
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	l.do(err)
	defer listener.Close()
	r := l.open(Options{Interfaces: []string{"lo"}, Shards: 1, RingMemory: 2 << 20})
	rd := l.read(r)
	hello := append([]byte{0x16, 3, 1, 8, 0}, bytes.Repeat([]byte("name"), 512)...)
	client, err := net.Dial("tcp4", listener.Addr().String())
	l.do(err)
	defer client.Close()
	server, err := listener.Accept()
	l.do(err)
	defer server.Close()
	_, err = client.Write(hello)
	l.do(err)
	port := uint16(client.LocalAddr().(*net.TCPAddr).Port)
	var stream []byte
	eventually(t, 5*time.Second, "all of the hello", func() bool {
		stream = nil
		rd.mu.Lock()
		defer rd.mu.Unlock()
		for _, g := range rd.all {
			if g.Data[23] == protoTCP && big.Uint16(g.Data[34:]) == port {
				stream = append(stream, g.Data[34+int(g.Data[46]>>4)*4:]...)
			}
		}
		return len(stream) >= len(hello)
	})
	if !bytes.Equal(stream, hello) {
		t.Errorf("%d bytes differ from the %d sent", len(stream), len(hello))
	}
}

// A device without link layer gives raw IP.
func TestLiveTunnel(t *testing.T) {
	l := newLab(t)
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		missing(t, "/dev/net/tun: "+err.Error())
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("tun7")
	l.do(err)
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		missing(t, "tun devices: "+err.Error())
	}
	l.up("tun7")
	r := l.open(Options{Interfaces: []string{"tun7"}, Shards: 2, RingMemory: 16 << 20, Filter: &Filter{IgnorePorts: []PortRange{{77, 77}}}})
	rd := l.read(r)
	packet := udpFrame(1, "192.0.2.1", "192.0.2.2", 514, 1, nil)[14:]
	refused := udpFrame(1, "192.0.2.1", "192.0.2.2", 514, 2, func(s *spec) { s.dport = 77 })[14:]
	for _, p := range [][]byte{refused, packet} {
		_, err := unix.Write(fd, p)
		l.do(err)
	}
	got := rd.wait(1, every)
	if len(got) != 1 || got[0].Link != linkRaw || got[0].Length != 500 || !bytes.Equal(got[0].Data, packet[:snapBulk]) || got[0].name != "tun7" {
		t.Errorf("%d packets, first %+v", len(got), got[0].Packet)
	}
	if i := r.Interface(got[0].Interface); i.Link != linkRaw {
		t.Errorf("link type by netlink %d", i.Link)
	}
}

// A child inherits no packet socket.
func TestLiveCloseOnExec(t *testing.T) {
	l := newLab(t)
	r := l.open(Options{Interfaces: []string{"lo"}, Shards: 2, RingMemory: 16 << 20, Promiscuous: true})
	l.read(r)
	out, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
	l.do(err)
	ours := []int{r.promisc.fd}
	for _, s := range r.sockets {
		ours = append(ours, s.fd)
	}
	for _, fd := range ours {
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil || !strings.HasPrefix(name, "socket:") {
			t.Errorf("descriptor %d is %q, %v", fd, name, err)
		}
		if strings.Contains(string(out), name) {
			t.Errorf("the child has %s", name)
		}
	}
}

func TestLivePromiscuous(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 1, RingMemory: 2 << 20, Promiscuous: true})
	l.read(r)
	if n := l.link("v1").Attrs().Promisc; n != 1 {
		t.Errorf("promiscuity %d", n)
	}
	r.Close()
	if n := l.link("v1").Attrs().Promisc; n != 0 {
		t.Errorf("promiscuity %d after Close", n)
	}
}

func TestLiveStats(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	r := l.open(Options{Interfaces: []string{"v*"}, Shards: 1, RingMemory: 2 << 20})
	rd := l.read(r)
	in := l.sender("v2")
	for range 10 {
		in(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 0, nil))
	}
	rd.wait(20, every) // out of v2 and into v1
	got := map[string]InterfaceStats{}
	for _, s := range r.Stats().Interfaces {
		got[r.Interface(s.Interface).Name] = s
	}
	if got["v1"].RxPackets != 10 || got["v2"].TxPackets != 10 || len(got) != 2 {
		t.Errorf("%+v", got)
	}
	for name, bytes := range map[string]uint64{"v1": got["v1"].RxBytes, "v2": got["v2"].TxBytes} {
		if bytes < 10*(100-14) || bytes > 10*(100+4) {
			t.Errorf("%s counted %d bytes", name, bytes)
		}
	}
	text := strings.Join(r.Describe(), "\n")
	for _, want := range []string{"1 rings of 2 blocks", "interface 1: v", "filter of", "ret #128"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the description:\n%s", want, text)
		}
	}
}

// Where the library is not the one we know its own read serves.
func TestLiveByLibrary(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	r, err := openRings(Options{Interfaces: []string{"v1"}, Shards: 2, RingMemory: 16 << 20}, func(size ringSize) (engine, int, []byte, error) {
		e, _, _, err := openEngine(size)
		return e, -1, nil, err
	})
	if errors.Is(err, ErrPrivilege) {
		missing(t, err.Error())
	}
	l.do(err)
	defer r.Close()
	if len(r.Notes()) != 1 {
		t.Errorf("notes %q", r.Notes())
	}
	rd := l.read(r)
	in := l.sender("v2")
	const n = 50
	for i := range n {
		in(udpFrame(1, fmt.Sprintf("10.0.0.%d", i), "192.0.2.2", 1400, 1, nil))
	}
	for _, g := range rd.wait(n, every) {
		if g.Length != 1400 || len(g.Data) != snapBulk || g.Type != TypeUnknown || g.Link != linkEthernet || g.name != "v1" {
			t.Fatalf("%+v", g.Packet)
		}
	}
	rd.stop()
	total := uint64(0)
	for _, s := range r.Stats().Shards {
		total += s.Packets
	}
	if total != n {
		t.Errorf("%d packets counted", total)
	}
}

func TestLiveRefusals(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	var none *NoInterfaceError
	if _, err := OpenRings(Options{Interfaces: []string{"lo", "v3"}}); !errors.As(err, &none) || none.Name != "v3" || !slices.Contains(none.Similar, "v1") {
		t.Errorf("v3: %v", err)
	}
	if _, err := Match([]string{"v3"}); !errors.Is(err, ErrNoInterface) {
		t.Errorf("Match v3: %v", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	l.do(unix.Capget(&header, &caps[0]))
	if caps[0].Effective&(1<<unix.CAP_NET_RAW) == 0 {
		missing(t, "CAP_NET_RAW, to give up")
	}
	caps[0].Effective &^= 1 << unix.CAP_NET_RAW
	l.do(unix.Capset(&header, &caps[0])) // of this thread, which ends with the test
	_, err := OpenRings(Options{Interfaces: []string{"v1"}, Shards: 1})
	if !errors.Is(err, ErrPrivilege) || !errors.Is(err, os.ErrPermission) {
		t.Errorf("without CAP_NET_RAW: %v", err)
	}
	if names, err := Match([]string{"v*"}); err != nil || len(names) != 2 {
		t.Errorf("Match needs no privilege: %q, %v", names, err)
	}
}
