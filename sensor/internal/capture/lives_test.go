//go:build linux && cgo

package capture

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

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
