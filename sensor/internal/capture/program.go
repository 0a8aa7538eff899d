package capture

import (
	"math"

	"golang.org/x/net/bpf"
)

// Scratch memory.
const (
	memRefused  = iota // 1: an address is ignored; only DNS passes
	memProtocol        // IP protocol, or next header
	memLoopback        // 1: on a loopback device, which is ignored
	memOffset          // of the transport header
	memPort
)

// Program compiles f for a packet socket that hears all devices. The program
// lets pass the frames of the interfaces given by their index, and returns how
// many bytes of each to keep; with full it keeps all of each.
//
// It never refuses what Allow would count. It lets pass more: see
// NeedsUserCheck. With Count it lets the first bytes of all pass that is left
// out. On loopback devices, where the kernel shows every packet twice, it refuses
// the outgoing one.
//
// Where the rules are too long for the kernel to take them twice, no packet has the
// shorter way. What makes the program too long even so is left to Allow, and too many
// interfaces to whoever reads the packets.
func (f *Filter) Program(interfaces []int, full bool) []bpf.Instruction {
	ours := spans{}
	for _, i := range interfaces {
		ours = append(ours, span{uint32(i), uint32(i)})
	}
	ours = ours.merged()
	r := *f.compiled()
	plain := true
	for _, shorten := range []func(){
		func() {},
		func() { plain = false },
		func() { r.ports, r.nets6 = nil, r.nets6[max(len(r.nets6)-maxNets6, 0):] }, // the last is ::1
		func() { r.nets4 = r.localhostNet() },
		func() { ours = spans{{0, 1<<31 - 1}} },
	} {
		shorten()
		b := newBuilder(&r, full, f != nil && f.Count)
		b.entry(ours)
		b.body(plain)
		if p, err := b.program(); err == nil {
			return p
		}
	}
	return dropAll()
}

func (r *rules) localhostNet() spans {
	if !r.localhost {
		return nil
	}
	return spans{{127 << 24, 127<<24 | 1<<24 - 1}}
}

// maxNets6 is how many IPv6 prefixes fit a long program: each takes up to 16
// instructions.
const maxNets6 = 100

// body is the program without its entry, for frames of one link type: what
// remains has no extension but the length, so that bpf.VM can run it.
func (f *Filter) bodyProgram(link uint16, loopback, full, plain bool) ([]bpf.Instruction, error) {
	b := newBuilder(f.compiled(), full, f.Count)
	b.clear()
	if loopback && b.rules.localhost {
		b.set(memLoopback)
	}
	switch link {
	case linkEthernet:
		b.jump(b.ethernet)
	case linkRaw:
		b.jump(b.raw)
	default:
		b.jump(b.cut)
	}
	b.body(plain)
	return b.program()
}

// builder writes the program from front to back: entry, link layer, IP,
// transport and snap, returns.
type builder struct {
	*assembler
	rules *rules
	full  bool
	count bool   // keep the first bytes of what is left out
	fixed uint32 // where the header stands that is read; 0: at X

	ethernet, raw    label
	plain4, plain6   label // behind an Ethernet header without tags; X is 14
	ip4, ip6         label // X is the offset of the IP header
	later, transport label // the protocol is in scratch; X is the transport header
	whole, some, cut label // returns
	refuse           label // likewise: not ours, or shown twice
	ignored          label // likewise: left out by a rule
}

func newBuilder(r *rules, full, count bool) *builder {
	b := &builder{assembler: newAssembler(), rules: r, full: full, count: count}
	for _, l := range []*label{&b.ethernet, &b.raw, &b.plain4, &b.plain6, &b.ip4, &b.ip6, &b.later, &b.transport,
		&b.whole, &b.some, &b.cut, &b.refuse, &b.ignored} {
		*l = b.label()
	}
	return b
}

// entry is the only part with extensions of the kernel, but for the length.
func (b *builder) entry(ours spans) {
	mine, loopback := b.label(), b.label()
	b.emit(bpf.LoadExtension{Num: bpf.ExtInterfaceIndex})
	b.in(ours, mine, b.refuse)
	b.place(mine)
	b.clear()
	b.emit(bpf.LoadExtension{Num: bpf.ExtLinkLayerType})
	b.oneOf(b.ethernet, arphrdEther)
	b.oneOf(loopback, arphrdLoopback)
	b.oneOf(b.raw, arphrdNone, arphrdVoid, arphrdPPP, arphrdRawIP, arphrdTunnel, arphrdTunnel6, arphrdSIT, arphrdIPGRE, arphrdIP6GRE)
	b.jump(b.cut)
	b.place(loopback)
	b.emit(bpf.LoadExtension{Num: bpf.ExtType})
	b.oneOf(b.refuse, uint32(TypeOutgoing))
	if b.rules.localhost {
		b.set(memLoopback)
	}
	b.jump(b.ethernet)
}

// clear gives the scratch memory its values: the kernel refuses a program that
// may read what was not written.
func (b *builder) clear() {
	b.emit(bpf.LoadConstant{Dst: bpf.RegA}, bpf.StoreScratch{Src: bpf.RegA, N: memRefused}, bpf.StoreScratch{Src: bpf.RegA, N: memLoopback})
}

func (b *builder) set(flag int) {
	b.emit(bpf.LoadConstant{Dst: bpf.RegA, Val: 1}, bpf.StoreScratch{Src: bpf.RegA, N: flag})
}

// body is all behind the entry. With plain, most packets have a shorter way.
func (b *builder) body(plain bool) {
	if !plain {
		b.plain4, b.plain6 = b.ip4, b.ip6
	}
	b.linkLayers()
	if plain {
		b.plainFrames()
	}
	b.network4()
	b.network6()
	b.laterFragments()
	b.place(b.transport)
	b.transports()
	b.place(b.whole)
	b.emit(bpf.RetConstant{Val: keepAll})
	b.place(b.some)
	b.emit(bpf.RetConstant{Val: b.keep(snapMaybe)})
	b.place(b.cut)
	b.emit(bpf.RetConstant{Val: b.keep(snapBulk)})
	b.place(b.ignored)
	if b.count {
		b.emit(bpf.RetConstant{Val: snapBulk})
	}
	b.place(b.refuse)
	b.emit(bpf.RetConstant{Val: 0})
}

func (b *builder) keep(n uint32) uint32 {
	if b.full {
		return keepAll
	}
	return n
}

// atLeast goes to whole where fewer than n bytes follow X: a load past the end
// would refuse the frame, and it must be counted.
func (b *builder) atLeast(n uint32) {
	if b.fixed > 0 {
		b.emit(bpf.LoadExtension{Num: bpf.ExtLen})
		b.branch(bpf.JumpLessThan, b.fixed+n, b.whole, next)
		return
	}
	b.emit(bpf.LoadExtension{Num: bpf.ExtLen}, bpf.ALUOpX{Op: bpf.ALUOpSub})
	b.branch(bpf.JumpLessThan, n, b.whole, next)
	b.branch(bpf.JumpGreaterThan, math.MaxInt32, b.whole, next) // X is past the end
}

// load reads from the header. The kernel calls a function for what is relative to X.
func (b *builder) load(off uint32, size int) {
	if b.fixed > 0 {
		b.emit(bpf.LoadAbsolute{Off: b.fixed + off, Size: size})
	} else {
		b.emit(bpf.LoadIndirect{Off: off, Size: size})
	}
}

// advance adds A to X.
func (b *builder) advance() { b.emit(bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.TAX{}) }

// skip adds n to X.
func (b *builder) skipBytes(n uint32) { b.emit(bpf.LoadConstant{Dst: bpf.RegA, Val: n}); b.advance() }

// unlessRefused goes to refuse where an address is ignored.
func (b *builder) unlessRefused() {
	if len(b.rules.nets4) > 0 || len(b.rules.nets6) > 0 {
		b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memRefused})
		b.branch(bpf.JumpEqual, 1, b.ignored, next)
	}
}

// transports is all from the transport header on.
func (b *builder) transports() {
	r, tcp, udp, other, ports := b.rules, b.label(), b.label(), b.label(), b.label()
	snapTCP, snapUDP := b.label(), b.label()
	b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memProtocol})
	b.oneOf(tcp, protoTCP)
	b.oneOf(udp, protoUDP)
	if len(r.ports) > 0 {
		b.oneOf(ports, protoDCCP, protoSCTP, protoUDPLite)
	}
	b.jump(other)

	b.place(tcp)
	b.atLeast(4)
	b.eitherPort(spans{{portDNS, portDNS}}, b.whole)
	b.jump(ports)
	b.place(udp)
	b.atLeast(4)
	b.eitherPort(spans{{portDNS, portDNS}, {portMDNS, portMDNS}}, b.whole)

	b.place(ports) // once for all: the list may be long
	if len(r.ports) > 0 {
		b.atLeast(4)
		b.eitherPort(r.ports, b.ignored)
	}
	b.place(other)
	b.unlessRefused()
	b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memProtocol})
	if count := b.label(); !r.all {
		some := b.label()
		b.in(r.numbers(), count, some)
		b.place(some)
		b.counted(protoTCP, r.tcp, count)
		b.counted(protoUDP, r.udp, count)
		b.jump(b.ignored)
		b.place(count)
		b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memProtocol})
	}
	b.oneOf(snapTCP, protoTCP)
	b.branch(bpf.JumpEqual, protoUDP, snapUDP, b.cut)
	b.place(snapUDP)
	b.snap(b.datagram)
	b.place(snapTCP)
	b.snap(b.segment)
}

// counted goes to count where the packet, whose protocol is in A, is of the one
// given and has a port in some.
func (b *builder) counted(protocol uint32, some spans, count label) {
	if len(some) == 0 {
		return
	}
	not := b.label()
	b.branch(bpf.JumpEqual, protocol, next, not)
	b.eitherPort(some, count)
	b.jump(b.ignored)
	b.place(not)
}

// eitherPort goes to hit where a port lies in s.
func (b *builder) eitherPort(s spans, hit label) {
	for _, off := range []uint32{0, 2} {
		miss := b.label()
		b.load(off, 2)
		b.in(s, hit, miss)
		b.place(miss)
	}
}

func (r *rules) numbers() spans {
	var s spans
	for n, counts := range r.protocols {
		if counts {
			s = append(s, span{uint32(n), uint32(n)})
		}
	}
	return s.merged()
}

// dropAll is the program that lets nothing pass.
func dropAll() []bpf.Instruction { return []bpf.Instruction{bpf.RetConstant{Val: 0}} }
