package capture

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
)

func (b *builder) linkLayers() {
	const shortest = 14 + 20
	tags := []uint32{0x8100, 0x88a8, 0x9100, 0x9200}

	ip4, ip6 := b.plain4, b.plain6
	b.place(b.ethernet)
	b.emit(bpf.LoadExtension{Num: bpf.ExtLen})
	b.branch(bpf.JumpLessThan, shortest, b.whole, next)
	for depth := range uint32(3) {
		inner := b.label()
		b.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: 14 + 4*depth}, bpf.LoadAbsolute{Off: 12 + 4*depth, Size: 2})
		b.oneOf(ip4, 0x0800)
		b.oneOf(ip6, 0x86dd)
		ip4, ip6 = b.ip4, b.ip6
		if depth == 2 {
			b.oneOf(b.whole, tags...)
		} else {
			b.oneOf(inner, tags...)
		}
		b.oneOf(b.whole, 0x8847, 0x8848, 0x8864) // MPLS, PPPoE
		b.branch(bpf.JumpLessThan, 0x600, b.whole, b.cut)
		b.place(inner)
	}

	b.place(b.raw)
	b.emit(bpf.LoadExtension{Num: bpf.ExtLen})
	b.branch(bpf.JumpLessThan, 20, b.whole, next)
	b.emit(bpf.LoadConstant{Dst: bpf.RegX}, bpf.LoadAbsolute{Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
	b.oneOf(b.ip4, 4)
	b.branch(bpf.JumpEqual, 6, b.ip6, b.whole)
}

// addresses notes whether one of them is ignored. hit is where the tests go
// that find one; it is placed here.
func (b *builder) addresses(hit label) {
	done := b.label()
	if b.rules.localhost {
		b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memLoopback})
		b.branch(bpf.JumpEqual, 1, b.ignored, next)
	}
	b.jump(done)
	b.place(hit)
	b.set(memRefused)
	b.place(done)
}

// plainFrames are most: Ethernet without tags, and an IP header without options or
// extensions. What stands where is known, which makes loads cheap. All that is not so
// goes the long way from the start.
func (b *builder) plainFrames() {
	const ip = 14
	b.place(b.plain4) // at least the shortest, so not cut off
	b.fixed = ip
	b.load(0, 1)
	b.branch(bpf.JumpEqual, 0x45, next, b.ip4)
	b.header4()
	b.fixed = ip + 20
	b.transports()

	b.place(b.plain6)
	b.fixed = ip
	b.atLeast(40)
	b.load(6, 1)
	b.oneOf(b.ip6, extensions()...)
	b.header6()
	b.fixed = ip + 40
	b.transports()
	b.fixed = 0
}

func (b *builder) network4() {
	b.place(b.ip4)
	b.atLeast(20)
	b.load(0, 1)
	b.branch(bpf.JumpLessThan, 0x45, b.whole, next)
	b.branch(bpf.JumpGreaterThan, 0x4f, b.whole, next)
	b.header4()
	b.load(0, 1)
	b.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2})
	b.advance()
	b.jump(b.transport)
}

// header4 puts the protocol into scratch, where the packet has a transport header.
func (b *builder) header4() {
	if len(b.rules.nets4) > 0 {
		hit, fine, other := b.label(), b.label(), b.label()
		b.load(12, 4)
		b.in(b.rules.nets4, hit, other)
		b.place(other)
		b.load(16, 4)
		b.in(b.rules.nets4, hit, fine)
		b.place(fine)
		b.addresses(hit)
	}
	b.load(9, 1)
	b.emit(bpf.StoreScratch{Src: bpf.RegA, N: memProtocol})
	b.oneOf(b.whole, protoAH)
	b.load(6, 2)
	b.branch(bpf.JumpBitsSet, 0x1fff, b.later, next)
}

// The extension headers of IPv6 that are walked, as in DEFINITIONS 2.3.
const (
	extFragment = 44
	maxExt      = 3
)

func extOptions() []uint32 { return []uint32{0, 43, 60, 135, 139, 140} }

func extensions() []uint32 { return append(extOptions(), extFragment, protoAH) }

func (b *builder) network6() {
	b.place(b.ip6)
	b.atLeast(40)
	b.header6()
	b.skipBytes(40)
	for range maxExt {
		options, fragment, auth, walked := b.label(), b.label(), b.label(), b.label()
		b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memProtocol})
		b.oneOf(options, extOptions()...)
		b.oneOf(fragment, extFragment)
		b.branch(bpf.JumpEqual, protoAH, auth, b.transport)

		b.place(options)
		b.nextHeader()
		b.load(1, 1)
		b.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 3})
		b.advance()
		b.jump(walked)

		b.place(auth)
		b.nextHeader()
		b.load(1, 1)
		b.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 2}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2})
		b.advance()
		b.jump(walked)

		b.place(fragment)
		b.nextHeader()
		b.load(2, 2)
		b.branch(bpf.JumpBitsSet, 0xfff8, b.later, next)
		b.skipBytes(8)
		b.place(walked)
	}
	b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memProtocol})
	b.oneOf(b.whole, extensions()...)
	b.jump(b.transport)
}

// header6 puts the next header into scratch.
func (b *builder) header6() {
	b.load(0, 1)
	b.branch(bpf.JumpLessThan, 0x60, b.whole, next)
	b.branch(bpf.JumpGreaterThan, 0x6f, b.whole, next)
	if nets := b.rules.nets6; len(nets) > 0 {
		hit := b.label()
		for _, off := range []uint32{8, 24} {
			for _, n := range nets {
				b.prefix6(off, n.Addr().As16(), n.Bits(), hit)
			}
		}
		b.addresses(hit)
	}
	b.load(6, 1)
	b.emit(bpf.StoreScratch{Src: bpf.RegA, N: memProtocol})
}

// nextHeader puts the number that an extension header begins with into scratch.
func (b *builder) nextHeader() {
	b.atLeast(8)
	b.load(0, 1)
	b.emit(bpf.StoreScratch{Src: bpf.RegA, N: memProtocol})
}

// prefix6 goes to hit where the address at off lies in the prefix.
func (b *builder) prefix6(off uint32, addr [16]byte, bits int, hit label) {
	miss := b.label()
	for w := uint32(0); bits > 0; w, bits = w+4, bits-32 {
		b.load(off+w, 4)
		if bits < 32 {
			b.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: ^uint32(0) << (32 - bits)})
		}
		b.branch(bpf.JumpEqual, binary.BigEndian.Uint32(addr[w:]), next, miss)
	}
	b.jump(hit)
	b.place(miss)
}

// laterFragments have no ports. Those of UDP may hold the rest of a DNS answer.
func (b *builder) laterFragments() {
	b.place(b.later)
	b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memProtocol})
	b.oneOf(b.whole, protoUDP)
	b.oneOf(b.whole, extensions()...)
	count := b.label()
	b.unlessRefused()
	if r := b.rules; r.all {
		b.jump(count)
	} else {
		numbers := r.numbers()
		if len(r.tcp) > 0 {
			numbers = append(numbers, span{protoTCP, protoTCP}).merged()
		}
		b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memProtocol})
		b.in(numbers, count, b.ignored)
	}
	b.place(count)
	b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memProtocol})
	b.branch(bpf.JumpEqual, protoTCP, b.whole, b.cut)
}
