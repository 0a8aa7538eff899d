package main

import (
	"fmt"
	"net"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/netmon-sensor/netmon/bench/traffic"
)

// sent is what a source did.
type sent struct {
	packets int
	wall    time.Duration
	cpu     time.Duration // of the sending threads; with it, the kernel's half of a capture
}

// batch is how many frames go to the kernel at once; it was the fastest of 1 to 128.
const batch = 32

type message struct { // struct mmsghdr
	header unix.Msghdr
	sent   uint32
	_      [4]byte
}

// transmit sends frames from an interface over and over, as fast as it goes and
// around the queueing discipline, for so long.
func transmit(iface string, frames [][]byte, length time.Duration) (sent, error) {
	fd, err := packetSocket(iface)
	if err != nil {
		return sent{}, fmt.Errorf("send on %s: %w", iface, err)
	}
	defer unix.Close(fd)
	var messages [batch]message
	var vectors [batch]unix.Iovec
	for i := range messages {
		messages[i].header.Iov = &vectors[i]
		messages[i].header.SetIovlen(1)
	}
	done := sent{}
	next := 0
	begin, used := time.Now(), threadTime()
	for time.Since(begin) < length {
		for i := range vectors {
			f := frames[next%len(frames)]
			next++
			vectors[i].Base = &f[0]
			vectors[i].SetLen(len(f))
		}
		for k := 0; k < batch; {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[k])), uintptr(batch-k), 0, 0, 0)
			switch errno {
			case 0:
				k += int(n)
			case unix.EINTR, unix.EAGAIN, unix.ENOBUFS:
			default:
				return done, fmt.Errorf("send on %s: %w", iface, errno)
			}
		}
		done.packets += batch
	}
	done.wall, done.cpu = time.Since(begin), threadTime()-used
	runtime.KeepAlive(frames)
	return done, nil
}

// load keeps the frames of a scene in memory.
func load(s traffic.Scene) [][]byte {
	var frames [][]byte
	for _, f := range s.Frames() {
		frames = append(frames, append([]byte(nil), f...))
	}
	return frames
}

func packetSocket(iface string) (int, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: i.Index})
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// pinned calls f on a thread of its own that only runs on one CPU.
func pinned(cpu int, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with f
		var set unix.CPUSet
		set.Set(cpu % runtime.NumCPU())
		unix.SchedSetaffinity(0, &set)
		f()
	}()
	<-done
}

// threadTime is the CPU time of this thread.
func threadTime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}
