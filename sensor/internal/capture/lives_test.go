//go:build linux && cgo

package capture

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// processTime is the CPU time that this process has used.
func processTime(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func interfaceStats(r *Rings, number uint16) Counted {
	for _, s := range r.Stats().Interfaces {
		if s.Interface == number {
			return s.Counted
		}
	}
	return Counted{}
}

// Many devices come and go, in waves and under the same names: 500 ends with
// NETMON_SLOW=1. The last of a wave is captured within a second of appearing, what
// the names counted goes on, and nothing is left behind.
func TestLiveManyDevices(t *testing.T) {
	l := newLab(t)
	devices := 40
	if os.Getenv("NETMON_SLOW") == "1" {
		devices = 250
	}
	r := l.open(Options{Interfaces: []string{"a*"}, Shards: 1, RingMemory: 2 << 20})
	rd := l.read(r)
	last := fmt.Sprintf("a%d", devices-1)
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	var number uint16
	var former Counted
	const waves = 2
	for wave := range waves {
		for i := range devices {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.HardwareAddr = fmt.Sprintf("a%d", i), net.HardwareAddr{2, 0, 0, 0, 0, 1}
			l.do(l.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: fmt.Sprintf("b%d", i)}))
		}
		appeared := time.Now()
		peer := fmt.Sprintf("b%d", devices-1)
		l.up(last, peer)
		send := l.sender(peer)
		frame := udpFrame(1, "192.0.2.1", "192.0.2.2", 100, byte(10+wave), nil)
		caught := func() bool {
			send(frame)
			rd.mu.Lock()
			defer rd.mu.Unlock()
			return slices.ContainsFunc(rd.all, marked(byte(10+wave)))
		}
		eventually(t, time.Second, "a packet of the last device", caught)
		t.Logf("wave %d: captured after %v", wave, time.Since(appeared).Round(time.Millisecond))
		g := rd.wait(1, marked(byte(10+wave)))[0]
		if number == 0 {
			number = g.Interface
		}
		if g.name != last || g.Interface != number {
			t.Errorf("a packet of %q, number %d after %d", g.name, g.Interface, number)
		}
		eventually(t, time.Second, "all of them are captured", func() bool { return len(r.Names()) == devices })
		before := interfaceStats(r, number)
		if before.RxPackets <= former.RxPackets || before.TxPackets != former.TxPackets {
			t.Errorf("counted %+v after %+v", before, former)
		}
		want := before
		want.TxPackets, want.TxBytes = before.TxPackets+1, before.TxBytes+uint64(len(frame))
		l.sender(last)(frame)
		for i := range devices { // the one that counted goes first, into the middle of the others
			l.do(l.LinkDel(l.link(fmt.Sprintf("a%d", devices-1-i))))
		}
		eventually(t, time.Second, "none is captured", func() bool { return len(r.Names()) == 0 })
		eventually(t, time.Second, "all was counted", func() bool { former = interfaceStats(r, number); return former == want })
	}
	if n := len(r.Interfaces()); n != devices+1 {
		t.Errorf("%d numbers for %d names", n, devices)
	}
	if after := descriptors(t); after > files+2*waves { // the senders end with the test
		t.Errorf("%d descriptors before, %d after", files, after)
	}
	if after := runtime.NumGoroutine(); after > goroutines {
		t.Errorf("%d goroutines before, %d after", goroutines, after)
	}
	used, begin := processTime(t), time.Now()
	eventually(t, 5*time.Second, "a second passes", func() bool { return time.Since(begin) > time.Second })
	if used = processTime(t) - used; used > 200*time.Millisecond {
		t.Errorf("%v of CPU time in a second of rest", used)
	}
}

// What a device counted last is told after the kernel stopped listing it.
func TestFarewell(t *testing.T) {
	const index = 7
	eth := func(rx uint64) device { return device{index: index, name: "eth0", counted: Counted{RxPackets: rx}} }
	for name, c := range map[string]struct {
		steps func(r *registry, update func(...device))
		want  uint64
	}{
		"before the look": {func(r *registry, update func(...device)) {
			r.farewell(index, Counted{RxPackets: 15})
			update()
		}, 5},
		"after it, once": {func(r *registry, update func(...device)) {
			update()
			r.farewell(index, Counted{RxPackets: 15})
			r.farewell(index, Counted{RxPackets: 99})
			update()
		}, 5},
		"never": {func(r *registry, update func(...device)) { update() }, 2},
		"come back with its number": {func(r *registry, update func(...device)) {
			update()
			update(eth(20))
			r.farewell(index, Counted{RxPackets: 21})
			update()
		}, 2 + 1},
	} {
		r := newRegistry()
		update := func(ds ...device) { r.update(ds, time.Now()) }
		update(eth(10))
		update(eth(12))
		c.steps(r, update)
		if got := r.list[1].ended.RxPackets; got != c.want || r.list[1].Present {
			t.Errorf("%s: %d packets, want %d", name, got, c.want)
		}
	}
}

// A device that is moved to another namespace is gone, and what it counted stays.
// One that comes from there is captured.
func TestLiveMoved(t *testing.T) {
	l := newLab(t)
	here, err := os.Open("/proc/thread-self/ns/net")
	l.do(err)
	defer here.Close()
	l.do(unix.Unshare(unix.CLONE_NEWNET))
	there, err := os.Open("/proc/thread-self/ns/net")
	l.do(err)
	defer there.Close()
	far, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	l.do(err)
	defer far.Close()
	l.do(unix.Setns(int(here.Fd()), unix.CLONE_NEWNET))

	l.veth("v1", "v2")
	r := l.open(Options{Interfaces: []string{"v*"}, Shards: 1, RingMemory: 2 << 20})
	rd := l.read(r)
	l.sender("v2")(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 1, nil))
	number := rd.wait(2, marked(1))[1].Interface // out of v2, into v1
	l.do(l.LinkSetNsFd(l.link("v1"), int(there.Fd())))
	eventually(t, time.Second, "v1 gone", func() bool { return slices.Equal(r.Names(), []string{"v2"}) })
	for _, s := range r.Stats().Interfaces {
		if s.Interface == number && s.RxPackets != 1 {
			t.Errorf("%+v after it went", s)
		}
	}
	v1, err := far.LinkByName("v1")
	l.do(err)
	l.do(far.LinkSetNsFd(v1, int(here.Fd())))
	l.up("v1")
	send := l.sender("v2")
	eventually(t, time.Second, "v1 back", func() bool { return len(r.Names()) == 2 })
	eventually(t, time.Second, "a packet", func() bool {
		send(udpFrame(1, "192.0.2.1", "192.0.2.2", 100, 2, nil))
		rd.mu.Lock()
		defer rd.mu.Unlock()
		return slices.ContainsFunc(rd.all, func(c caught) bool { return marked(2)(c) && c.Interface == number })
	})
}

// Rings that are opened under load begin with some packet and miss, double and
// invent none after it.
func TestLiveStartUnderLoad(t *testing.T) {
	l := newLab(t)
	l.veth("v1", "v2")
	l.veth("w1", "w2")
	quit, ended := make(chan struct{}), make(chan int)
	in, foreign := l.sender("v2"), l.sender("w2")
	go func() {
		n := 0
		for {
			select {
			case <-quit:
				ended <- n
				return
			default:
			}
			n++
			frame := udpFrame(1, fmt.Sprintf("10.0.%d.%d", n>>8&0xff, n&0xff), "192.0.2.2", 100, 1, nil)
			frame[60], frame[61], frame[62] = byte(n>>16), byte(n>>8), byte(n)
			in(frame)
			foreign(frame)
			time.Sleep(200 * time.Microsecond) // the pace, no wait for anything
		}
	}()
	r := l.open(Options{Interfaces: []string{"v1"}, Shards: 4, RingMemory: 16 << 20})
	rd := l.read(r)
	rd.wait(300, every)
	close(quit)
	sent := <-ended
	number := func(c caught) int { return int(c.Data[60])<<16 | int(c.Data[61])<<8 | int(c.Data[62]) }
	eventually(t, 5*time.Second, "the last packet", func() bool {
		rd.mu.Lock()
		defer rd.mu.Unlock()
		return slices.ContainsFunc(rd.all, func(c caught) bool { return number(c) == sent })
	})
	eventually(t, 5*time.Second, "every ring gave what it got, from before the filter, too", func() bool {
		return !slices.ContainsFunc(r.Stats().Shards, func(s ShardStats) bool { return s.Packets != s.Delivered+s.Skipped+s.Damaged })
	})
	rd.stop()
	seen := map[int]int{}
	first := sent
	for _, c := range rd.all {
		if c.name != "v1" {
			t.Fatalf("a packet of %q", c.name)
		}
		seen[number(c)]++
		first = min(first, number(c))
	}
	for n := first; n <= sent; n++ {
		if seen[n] != 1 {
			t.Fatalf("packet %d of %d to %d was given %d times", n, first, sent, seen[n])
		}
	}
}
