package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An injector puts frames on the receive side of an interface by running an XDP
// program in test mode (BPF_PROG_TEST_RUN with live frames): three times as fast
// as any transmit path, which is what it takes to find a sensor's limit.
type injector struct {
	program int
	index   int
}

// instruction is one of eBPF.
type instruction struct {
	code      uint8
	registers uint8 // source in the upper half, target in the lower
	offset    int16
	value     int32
}

// rewrite gives each frame one of 10,000 source addresses at random and lets it go
// up the stack. It is written out here so that no compiler for it is needed.
var rewrite = []instruction{
	{0x61, 0x16, 0, 0},         // r6 = context.data
	{0x61, 0x12, 4, 0},         // r2 = context.data_end
	{0xbf, 0x63, 0, 0},         // r3 = r6
	{0x07, 0x03, 0, 60},        // r3 += 60
	{0x2d, 0x23, 5, 0},         // if r3 > r2 goto the last two
	{0x85, 0, 0, 7},            // r0 = bpf_get_prandom_u32()
	{0x97, 0, 0, flows},        // r0 %= flows
	{0x6b, 0x06, sourceLow, 0}, // = r0
	{0xb7, 0x00, 0, xdpPass},   // r0 = XDP_PASS
	{0x95, 0, 0, 0},            // return
	{0xb7, 0x00, 0, xdpDrop},
	{0x95, 0, 0, 0},
}

const (
	flows       = 10_000
	sourceLow   = 28 // where the low half of the source address stands in a frame
	xdpDrop     = 1
	xdpPass     = 2
	typeXDP     = 6
	cmdProgLoad = 5
	cmdTestRun  = 10
	liveFrames  = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
)

func newInjector(iface string) (*injector, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, err
	}
	license := []byte("GPL\x00")
	load := struct {
		kind, count           uint32
		instructions, license uint64
		logLevel, logSize     uint32
		log                   uint64
		version, flags        uint32
		name                  [16]byte
		_                     [64]byte
	}{
		kind: typeXDP, count: uint32(len(rewrite)),
		instructions: address(&rewrite[0]), license: address(&license[0]),
	}
	fd, err := bpf(cmdProgLoad, unsafe.Pointer(&load), unsafe.Sizeof(load))
	runtime.KeepAlive(license)
	if err != nil {
		return nil, fmt.Errorf("load an XDP program: %w", err)
	}
	return &injector{fd, i.Index}, nil
}

func (i *injector) close() { unix.Close(i.program) }

// inject puts so many copies of a frame on the interface from each CPU given.
func (i *injector) inject(frame []byte, packets int, cpus ...int) (sent, error) {
	var all sent
	var mutex sync.Mutex // of all and first
	var first error
	var running sync.WaitGroup
	begin := time.Now()
	for _, cpu := range cpus {
		running.Go(func() {
			pinned(cpu, func() {
				used := threadTime()
				err := i.run(frame, packets)
				mutex.Lock()
				defer mutex.Unlock()
				all.cpu += threadTime() - used
				all.packets += packets
				if first == nil {
					first = err
				}
			})
		})
	}
	running.Wait()
	all.wall = time.Since(begin)
	return all, first
}

// run is one call for all packets: each sets up a pool of pages.
func (i *injector) run(frame []byte, packets int) error {
	var context [24]byte // struct xdp_md
	binary.NativeEndian.PutUint32(context[4:], uint32(len(frame)))
	binary.NativeEndian.PutUint32(context[12:], uint32(i.index))
	test := struct {
		program, result               uint32
		sizeIn, sizeOut               uint32
		in, out                       uint64
		repeat, duration              uint32
		contextSizeIn, contextSizeOut uint32
		contextIn, contextOut         uint64
		flags, cpu, batch, _          uint32
	}{
		program: uint32(i.program), sizeIn: uint32(len(frame)), in: address(&frame[0]), repeat: uint32(packets),
		contextSizeIn: uint32(len(context)), contextIn: address(&context[0]), flags: liveFrames, batch: 64,
	}
	_, err := bpf(cmdTestRun, unsafe.Pointer(&test), unsafe.Sizeof(test))
	runtime.KeepAlive(frame)
	runtime.KeepAlive(&context)
	if err != nil {
		return fmt.Errorf("inject frames: %w", err)
	}
	return nil
}

func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

func bpf(command int, attributes unsafe.Pointer, size uintptr) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attributes), size)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
