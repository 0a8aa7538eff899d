package capture

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// netHeader makes a load relative to the network header (SKF_NET_OFF).
const netHeader = 0xfff00000

// Scratch memory of the fanout program.
const (
	fanBase = iota // what offsets into the IP header are added to
	fanTotal
)

// fanoutProgram puts both directions of a flow and all its fragments on the same
// shard: it folds the two addresses, not the ports, which later fragments do not
// have. The kernel's own hash needs its DEFRAG flag for that, which hands over
// whole datagrams in place of fragments and hides those that stay incomplete,
// and it dissects every packet, which costs a third more.
//
// Shard 0 gets what is not IP. The kernel takes the result modulo the shards.
func fanoutProgram() []bpf.Instruction {
	const (
		typeIP4, typeIP6, typePPPoE = 0x0800, 0x86dd, 0x8864
		pppIP4, pppIP6              = 0x0021, 0x0057
	)
	words4, words6 := []uint32{12, 16}, []uint32{8, 12, 16, 20, 24, 28, 32, 36} // of the addresses
	a := newAssembler()
	received, known := a.label(), a.label()
	ip4, ip6, tag, pppoe, other, mix := a.label(), a.label(), a.label(), a.label(), a.label(), a.label()
	load := func(off uint32, size int) { a.emit(bpf.LoadIndirect{Off: off, Size: size}) }
	base := func(more uint32) {
		a.emit(bpf.LoadConstant{Dst: bpf.RegA, Val: more}, bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.TAX{})
	}

	// When fanout looks at it a received frame begins with its network header,
	// one that is sent with its link layer. Loads relative to the network header
	// would do for both, but fail where it lies in a page fragment.
	a.emit(bpf.LoadConstant{Dst: bpf.RegX}, bpf.LoadExtension{Num: bpf.ExtType})
	a.branch(bpf.JumpEqual, uint32(TypeOutgoing), next, received)
	a.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: netHeader}, bpf.LoadExtension{Num: bpf.ExtProto})
	a.jump(known)

	// Most are received and have no tag: loads from where they begin are the cheapest.
	a.place(received)
	a.emit(bpf.LoadExtension{Num: bpf.ExtProto})
	for _, version := range []struct {
		kind  uint32
		words []uint32
	}{{typeIP4, words4}, {typeIP6, words6}} {
		other := a.label()
		a.branch(bpf.JumpEqual, version.kind, next, other)
		a.emit(bpf.LoadConstant{Dst: bpf.RegA})
		for _, off := range version.words {
			a.emit(bpf.TAX{}, bpf.LoadAbsolute{Off: off, Size: 4}, bpf.ALUOpX{Op: bpf.ALUOpAdd})
		}
		a.jump(mix)
		a.place(other)
	}

	a.place(known)
	a.oneOf(ip4, typeIP4)
	a.oneOf(ip6, typeIP6)
	a.oneOf(tag, 0x8100, 0x88a8)
	a.branch(bpf.JumpEqual, typePPPoE, pppoe, other)

	// A tag in band. On the way out the network header is behind it.
	a.place(tag)
	behind, skip4, skip6 := a.label(), a.label(), a.label()
	load(2, 2)
	a.oneOf(skip6, typeIP6)
	a.branch(bpf.JumpEqual, typeIP4, next, behind)
	load(4, 1) // a packet of 2048 bytes looks like a tag, but not this byte of it
	a.branch(bpf.JumpGreaterOrEqual, 0x45, next, behind)
	a.branch(bpf.JumpLessOrEqual, 0x4f, skip4, behind)
	a.place(behind)
	load(0, 1)
	a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
	a.oneOf(ip4, 4)
	a.branch(bpf.JumpEqual, 6, ip6, other)
	a.place(skip4)
	base(4)
	a.jump(ip4)
	a.place(skip6)
	base(4)
	a.jump(ip6)

	a.place(pppoe) // RFC 2516, section 4: six bytes, then the PPP protocol
	within4 := a.label()
	load(6, 2)
	a.branch(bpf.JumpEqual, pppIP4, within4, next)
	a.branch(bpf.JumpEqual, pppIP6, next, other)
	base(8)
	a.jump(ip6)
	a.place(within4)
	base(8)
	a.jump(ip4)

	sum := func(offs []uint32) { // the same for both directions
		a.emit(bpf.StoreScratch{Src: bpf.RegX, N: fanBase}, bpf.LoadConstant{Dst: bpf.RegA}, bpf.StoreScratch{Src: bpf.RegA, N: fanTotal})
		for _, off := range offs {
			a.emit(bpf.LoadScratch{Dst: bpf.RegX, N: fanBase}, bpf.LoadIndirect{Off: off, Size: 4},
				bpf.LoadScratch{Dst: bpf.RegX, N: fanTotal}, bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.StoreScratch{Src: bpf.RegA, N: fanTotal})
		}
		a.jump(mix)
	}
	a.place(ip4)
	sum(words4)
	a.place(ip6)
	sum(words6)

	// Neighbours differ in the last bits of an address only, so spread them: the
	// upper half of a product depends on all of its factor.
	a.place(mix)
	a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: 0x9e3779b1}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 16}, bpf.RetA{})
	a.place(other)
	a.emit(bpf.RetConstant{})
	p, err := a.program()
	if err != nil {
		panic(err) // the program has no input, and fits
	}
	return p
}

// fanoutMode is the kernel's number of a fanout mode by its name in the config.
func fanoutMode(name string) (mode int, known bool) {
	switch name {
	case "", "hash":
		return unix.PACKET_FANOUT_CBPF, true
	case "cpu":
		return unix.PACKET_FANOUT_CPU, true
	case "queue":
		return unix.PACKET_FANOUT_QM, true
	}
	return 0, false
}
