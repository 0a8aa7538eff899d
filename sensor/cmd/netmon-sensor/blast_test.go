package main

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A blaster sends frames out of an interface of a host as fast as the kernel takes
// them, around the queueing discipline, and counts those that it took.
type blaster struct {
	t       testing.TB
	fd      int
	taken   uint64
	frames  [blast][]byte
	vectors [blast]unix.Iovec
	headers [blast]mmsghdr
}

const blast = 32 // frames at once

type mmsghdr struct {
	unix.Msghdr
	sent uint32
	_    [4]byte
}

func (h *host) blaster(iface string) *blaster {
	h.t.Helper()
	b := &blaster{t: h.t}
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread, which stays in the namespace, ends with the goroutine.
		runtime.LockOSThread()
		result <- func() error {
			ns, err := os.Open(filepath.Join("/run/netns", h.ns))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			if b.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			i, err := net.InterfaceByName(iface)
			if err != nil {
				return err
			}
			if err := unix.SetsockoptInt(b.fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
				return err
			}
			return unix.Bind(b.fd, &unix.SockaddrLinklayer{Ifindex: i.Index})
		}()
	}()
	if err := <-result; err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { unix.Close(b.fd) })
	for i := range b.headers {
		b.frames[i] = make([]byte, 0, 2048)
		b.headers[i].Iov = &b.vectors[i]
		b.headers[i].SetIovlen(1)
	}
	return b
}

// send sends n frames, each of which make appends to an empty buffer.
func (b *blaster) send(n int, make func(frame []byte) []byte) {
	b.t.Helper()
	for n > 0 {
		now := min(n, blast)
		for i := range now {
			b.frames[i] = make(b.frames[i][:0])
			b.vectors[i].Base = &b.frames[i][0]
			b.vectors[i].SetLen(len(b.frames[i]))
		}
		for i := 0; i < now; {
			k, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.headers[i])), uintptr(now-i), 0, 0, 0)
			switch {
			case errno == 0:
				i += int(k)
			case errors.Is(errno, unix.ENOBUFS): // the device refused this one
				i++
				n++
				continue
			case !errors.Is(errno, unix.EINTR) && !errors.Is(errno, unix.EAGAIN):
				b.t.Fatalf("send: %v", errno)
			}
		}
		n -= now
		b.taken += uint64(now)
	}
}

// udpFrame appends a frame of UDP over IPv4 for nobody at the other end.
func udpFrame(f []byte, src, dst uint32, sport, dport uint16, payload []byte) []byte {
	f = append(f, 2, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(28+len(payload)))
	f = append(f, 0, 0, 0x40, 0, 64, 17, 0, 0)
	f = binary.BigEndian.AppendUint32(f, src)
	f = binary.BigEndian.AppendUint32(f, dst)
	f = binary.BigEndian.AppendUint16(f, sport)
	f = binary.BigEndian.AppendUint16(f, dport)
	f = binary.BigEndian.AppendUint16(f, uint16(8+len(payload)))
	f = append(f, 0, 0)
	return append(f, payload...)
}
