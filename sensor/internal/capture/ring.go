package capture

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// clockStep is how far time may fall back before it is taken for set back.
	// CPUs that write to the same ring are apart by far less.
	clockStep = int64(2 * time.Second)

	// lateness is how long a packet may wait beyond two block timeouts: the
	// kernel's timer hands over a block when it fires for the second time in it.
	lateness = 50 * time.Millisecond
)

// ringSource is one shard's ring. All its fields but the counters belong to the
// shard.
type ringSource struct {
	*socket
	shard int
	table *atomic.Pointer[table]
	since int64 // earlier packets passed before the filter was in place
	cpu   int   // to run on; -1: any
	born  time.Time

	block   int // the one being read, or waited for
	holding bool
	left    uint32 // packets of it not given yet
	at      int    // where the next one begins, from the start of the ring

	seen   *table // the table that known is from
	index  int32  // of the latest packet's device
	known  uint16 // its number
	ours   bool
	hatype uint16
	link   uint16

	clock  int64
	fds    [1]unix.PollFd
	out    [ringBlock]Packet
	pinned bool

	delivered atomic.Uint64
	skipped   atomic.Uint64
	damaged   atomic.Uint64
	opened    atomic.Int64 // the age at which the block at hand was; 0: none is
	held      atomic.Int64 // the longest that one was at hand, nanoseconds
}

func newRingSource(s *socket, shard int, t *atomic.Pointer[table], since int64, cpu int) *ringSource {
	return &ringSource{socket: s, shard: shard, table: t, since: since, cpu: cpu, born: time.Now(), hatype: arphrdEther, link: linkEthernet}
}

func (r *ringSource) Clock() int64 { return r.clock }

// Next gives what is left of the block at hand, or the next block, or nothing
// after the poll timeout.
func (r *ringSource) Next() ([]Packet, error) {
	if r.socket.closed { // written by Close only, which is called by the same goroutine
		return nil, os.ErrClosed
	}
	if !r.pinned {
		r.pin()
	}
	if t := r.table.Load(); t != r.seen {
		r.seen, r.index = t, 0 // no device has index 0
		r.known, r.ours = 0, false
	}
	if r.ring == nil {
		return r.nextByLibrary()
	}
	if r.left == 0 {
		r.release()
		ready, err := r.await()
		if !ready || err != nil {
			return nil, err
		}
		r.openBlock()
	}
	return r.walk(), nil
}

// Ready is true where the library reads: it alone knows.
func (r *ringSource) Ready() bool {
	if r.ring == nil || r.left > 0 {
		return true
	}
	r.release()
	return r.ready()
}

// status is the word by which the kernel and we hand a block to each other.
func (r *ringSource) status() *uint32 {
	return (*uint32)(unsafe.Pointer(&r.ring[r.block*r.size.block+blockStatus]))
}

func (r *ringSource) ready() bool { return atomic.LoadUint32(r.status())&unix.TP_STATUS_USER != 0 }

// release gives the block at hand back to the kernel.
func (r *ringSource) release() {
	if !r.holding {
		return
	}
	r.holding = false
	r.hold(r.age() - r.opened.Swap(0))
	atomic.StoreUint32(r.status(), unix.TP_STATUS_KERNEL)
	if r.block++; r.block == r.size.blocks {
		r.block = 0
	}
}

// await waits for the next block as long as the poll timeout.
func (r *ringSource) await() (ready bool, err error) {
	if r.ready() {
		return true, nil
	}
	fds := &r.fds
	fds[0] = unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN | unix.POLLERR}
	if _, err := unix.Poll(fds[:], int(pollTimeout/time.Millisecond)); err != nil && err != unix.EINTR {
		return false, fmt.Errorf("wait for packets: %w", err)
	}
	if fds[0].Revents&unix.POLLNVAL != 0 {
		return false, fmt.Errorf("wait for packets: %w", os.ErrClosed)
	}
	if fds[0].Revents&unix.POLLERR != 0 {
		// Unread, the error would end every later wait at once. ENETDOWN, of an
		// interface that went down, heals by itself.
		if code, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 && unix.Errno(code) != unix.ENETDOWN {
			return false, fmt.Errorf("packet socket: %w", unix.Errno(code))
		}
	}
	now := time.Now()
	if r.ready() {
		return true, nil
	}
	// What was stamped long enough before now is in a block that was handed over,
	// and all of those are read.
	r.advance(now.Add(-2*r.size.timeout - lateness).UnixNano())
	return false, nil
}

// advance moves the clock, back only where the time was set back.
func (r *ringSource) advance(to int64) {
	if to > r.clock || to < r.clock-clockStep {
		r.clock = to
	}
}

// hold notes for how long a block was at hand.
func (r *ringSource) hold(ns int64) {
	for was := r.held.Load(); ns > was && !r.held.CompareAndSwap(was, ns); was = r.held.Load() {
	}
}

// longestHold is for any goroutine. It begins anew with each call.
func (r *ringSource) longestHold() time.Duration {
	held := r.held.Swap(0)
	if opened := r.opened.Load(); opened != 0 {
		held = max(held, r.age()-opened)
	}
	return time.Duration(held)
}

// age is the time since the ring was opened, never 0.
func (r *ringSource) age() int64 { return int64(time.Since(r.born)) | 1 }

// nextByLibrary gives one packet read by the library, which does not say what
// type it is. The link type is the device's.
func (r *ringSource) nextByLibrary() ([]Packet, error) {
	data, stamp, wire, index, err := r.engine.read()
	if err != nil {
		return nil, fmt.Errorf("read packet: %w", err)
	}
	if data == nil {
		r.advance(time.Now().Add(-2*r.size.timeout - lateness).UnixNano())
		return nil, nil
	}
	if int32(index) != r.index {
		r.lookUp(int32(index))
	}
	at := stamp.UnixNano()
	if !r.ours || at < r.since {
		r.skipped.Add(1)
		return nil, nil
	}
	r.advance(at)
	r.delivered.Add(1)
	r.out[0] = Packet{Data: data, Time: at, Clock: r.clock, Order: uint64(at), Length: max(uint32(wire), uint32(len(data))),
		Link: r.seen.list[r.known].Link, Interface: r.known, Type: TypeUnknown}
	return r.out[:1], nil
}

// Close releases the ring. What was given is invalid from here.
func (r *ringSource) Close() error {
	r.socket.close()
	clear(r.out[:])
	return nil
}

// pin keeps the calling goroutine on a thread of its own and that on one CPU. The
// goroutine is never unlocked, so the thread ends with it and no other goroutine
// inherits the CPU.
func (r *ringSource) pin() {
	r.pinned = true
	if r.cpu < 0 {
		return
	}
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(r.cpu)
	unix.SchedSetaffinity(0, &set) // without it only the speed differs
}
