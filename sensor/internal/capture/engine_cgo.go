//go:build linux && cgo

package capture

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/google/gopacket/afpacket"
	"golang.org/x/sys/unix"
)

// tpacket is the engine of the trade: gopacket's afpacket v1.1.19. It is the
// only code of ours that needs cgo, for the library wants the kernel's headers.
type tpacket struct {
	*afpacket.TPacket
}

// errMemory says that the kernel has no room for a ring of that size.
var errMemory = errors.New("no memory for the ring")

// openEngine opens a ring on all devices. The socket is close-on-exec before
// another goroutine can fork: a plugin that inherits it could send frames and
// would stay in the fanout group, taking packets, when the sensor is gone.
func openEngine(size ringSize) (engine, int, []byte, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	t, err := afpacket.NewTPacket(
		afpacket.TPacketVersion3,
		afpacket.OptBlockSize(size.block),
		afpacket.OptNumBlocks(size.blocks),
		afpacket.OptFrameSize(frameSize),
		afpacket.OptBlockTimeout(size.timeout),
		afpacket.OptPollTimeout(pollTimeout),
	)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return nil, -1, nil, fmt.Errorf("open packet socket: %w", ErrPrivilege)
	case err != nil && (errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EAGAIN) || strings.Contains(err.Error(), "packet_rx_ring")):
		return nil, -1, nil, fmt.Errorf("%w: %w", errMemory, err)
	case err != nil:
		return nil, -1, nil, fmt.Errorf("open packet socket: %w", err)
	}
	fd, ring, ok := peek(t, size)
	if ok {
		unix.CloseOnExec(fd)
	} else {
		// Which one it is we do not know. All of Go's are close-on-exec anyway.
		unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	}
	return tpacket{t}, fd, ring, nil
}

func (t tpacket) join(mode int, group uint16) error {
	return t.SetFanout(afpacket.FanoutType(mode), group)
}

func (t tpacket) read() (data []byte, at time.Time, wire, index int, err error) {
	data, ci, err := t.ZeroCopyReadPacketData()
	if errors.Is(err, afpacket.ErrTimeout) || errors.Is(err, unix.EINTR) {
		return nil, time.Time{}, 0, 0, nil
	}
	return data, ci.Timestamp, ci.Length, ci.InterfaceIndex, err
}

func (t tpacket) stats() (packets, drops, freezes uint32, err error) {
	_, s, err := t.SocketStats()
	return uint32(s.Packets()), uint32(s.Drops()), uint32(s.QueueFreezes()), err
}
