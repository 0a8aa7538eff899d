package doctor

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openSocket opens a packet socket that hears nothing: it has no protocol.
func openSocket() (int, error) {
	return unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
}

func version3(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3)
}

func makeRing(fd, block, n int) error {
	const frame = 2048
	return unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq3{
		Block_size: uint32(block), Block_nr: uint32(n), Frame_size: frame, Frame_nr: uint32(block / frame * n), Retire_blk_tov: 64,
	})
}

// landlockVersion asks as landlock_create_ruleset(2) says.
func landlockVersion() (int, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(version), nil
}

// seccompErrno asks whether a filter may refuse a call, as seccomp(2) says.
func seccompErrno() error {
	const getActionAvail = 2
	action := uint32(unix.SECCOMP_RET_ERRNO)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, getActionAvail, 0, uintptr(unsafe.Pointer(&action))); errno != 0 {
		return errno
	}
	return nil
}

// kernelClock asks without setting anything, as adjtimex(2) says.
func kernelClock() (synchronized bool, now time.Time, err error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, time.Now(), err
	}
	return t.Status&unix.STA_UNSYNC == 0, time.Now(), nil
}

// Offloads are what an interface, or the kernel for it, joins and splits.
type Offloads struct {
	GRO, LRO, TSO, GSO bool
}

// offloadsOf asks as ethtool does.
func offloadsOf(iface string) (o Offloads, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return o, err
	}
	defer unix.Close(fd)
	const lro = 1 << 15 // ETH_FLAG_LRO
	for _, q := range []struct {
		command, mask uint32
		to            *bool
	}{{unix.ETHTOOL_GGRO, ^uint32(0), &o.GRO}, {unix.ETHTOOL_GFLAGS, lro, &o.LRO}, {unix.ETHTOOL_GTSO, ^uint32(0), &o.TSO}, {unix.ETHTOOL_GGSO, ^uint32(0), &o.GSO}} {
		value, err := ethtool(fd, iface, q.command)
		if errors.Is(err, unix.EOPNOTSUPP) {
			continue // there is no such thing
		}
		if err != nil {
			return o, fmt.Errorf("ethtool: %w", err)
		}
		*q.to = value&q.mask != 0
	}
	return o, nil
}

// ethtool is the ioctl that reads one 32-bit value of an interface.
func ethtool(fd int, iface string, command uint32) (uint32, error) {
	value := struct{ command, data uint32 }{command, 0}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}{data: unsafe.Pointer(&value)}
	if len(iface) >= unix.IFNAMSIZ {
		return 0, unix.ENODEV
	}
	copy(request.name[:], iface)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return 0, errno
	}
	return value.data, nil
}
