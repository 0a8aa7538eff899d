package capture

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"reflect"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// engine is what opens a ring and owns its memory: an afpacket.TPacket, or a
// test's own.
type engine interface {
	SetBPF([]bpf.RawInstruction) error
	Close()

	// join makes the socket a member of a fanout group.
	join(mode int, group uint16) error

	// read waits for a packet as long as the poll timeout; without one data is nil.
	read() (data []byte, at time.Time, wire, index int, err error)

	// stats returns packets and drops since the opening, modulo 2^32.
	stats() (packets, drops, freezes uint32, err error)
}

// ringSize is how the memory of one ring is cut.
type ringSize struct {
	block, blocks int
	timeout       time.Duration // after which a block is handed over that is not full
}

const (
	// frameSize has no meaning for TPACKET_V3 but that it divides the block.
	frameSize = 2048

	// blockSize of the ring: no packet is longer, so none is cut by the end of a
	// block, and each fits the smallest block that a kernel with large pages takes.
	blockSize = 1 << 20

	// pollTimeout bounds how long a source waits, and so how long a shard takes
	// to see that it should end.
	pollTimeout = 200 * time.Millisecond
)

// peek reaches into e, which is a pointer to a struct around an
// afpacket.TPacket, for the descriptor and the memory that the library keeps to
// itself. v1.1.19 is the last version, so this will not break; should it, ok is
// false and the library's own read is used.
func peek(e any, size ringSize) (fd int, ring []byte, ok bool) {
	v := reflect.Indirect(reflect.ValueOf(e))
	f, r := v.FieldByName("fd"), v.FieldByName("ring")
	if f.Kind() != reflect.Int || r.Kind() != reflect.Slice || r.Type().Elem().Kind() != reflect.Uint8 {
		return -1, nil, false
	}
	fd, ring = int(f.Int()), r.Bytes()
	if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain != unix.AF_PACKET {
		return -1, nil, false
	}
	if version, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION); err != nil || version != unix.TPACKET_V3 {
		return -1, nil, false
	}
	if len(ring) != size.block*size.blocks || len(ring) == 0 {
		return -1, nil, false
	}
	return fd, ring, true
}

// joinAll makes one fanout group of all sockets. The sockets must have a filter
// that lets nothing pass.
func joinAll(sockets []*socket, mode int) (group uint16, err error) {
	first := sockets[0]
	if mode == unix.PACKET_FANOUT_CBPF && first.fd < 0 {
		mode = unix.PACKET_FANOUT_HASH // the program needs the descriptor
	}
	if group, err = newGroup(first, mode); err != nil {
		return 0, fmt.Errorf("join fanout group: %w", err)
	}
	for _, s := range sockets[1:] {
		if err := s.engine.join(mode, group); err != nil {
			return 0, fmt.Errorf("join fanout group %d: %w", group, err)
		}
	}
	if mode != unix.PACKET_FANOUT_CBPF {
		return group, nil
	}
	raw, err := bpf.Assemble(fanoutProgram())
	if err != nil {
		return 0, fmt.Errorf("assemble fanout program: %w", err)
	}
	if err := unix.SetsockoptSockFprog(first.fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, sockFprog(raw)); err != nil {
		return 0, fmt.Errorf("set fanout program: %w", err)
	}
	return group, nil
}

// newGroup has the kernel pick a group id that nobody has. A chosen one, by the
// process id say, may be that of another sensor in another container of the same
// network namespace: the two would share the packets, and no error would tell.
func newGroup(s *socket, mode int) (group uint16, err error) {
	if s.fd >= 0 {
		if err = s.engine.join(mode|unix.PACKET_FANOUT_FLAG_UNIQUEID, 0); err == nil {
			id, err := unix.GetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
			return uint16(id), err
		}
	}
	for range 3 { // a kernel before 4.13
		var b [2]byte
		rand.Read(b[:])
		group = binary.NativeEndian.Uint16(b[:])
		if err = s.engine.join(mode, group); err == nil {
			return group, nil
		}
	}
	return 0, err
}

func sockFprog(raw []bpf.RawInstruction) *unix.SockFprog {
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
}
