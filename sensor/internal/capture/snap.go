package capture

import "golang.org/x/net/bpf"

// How much of a frame the kernel copies into the ring. Most of the price of a
// packet that is not memory is fixed, but the rest is bytes, and so is the ring.
//
// Nothing that may hold a name is cut, on any port, without a memory of what
// came before, which classic BPF does not have:
//
//   - DNS and mDNS by port, and every later fragment of TCP and UDP: whole.
//   - UDP that begins like a QUIC long header or a DTLS handshake: whole.
//   - TCP with SYN, or whose payload begins like a TLS handshake record or an
//     HTTP method: whole. So the first segment of any request is.
//   - The continuation of a ClientHello or a request head: its last segment has
//     PSH, so a segment with PSH of up to 4 KiB is whole; those in its middle go
//     from a client, whose port is mostly the larger one, so of what goes to
//     the smaller port the first 4 KiB are kept. Cut off is only a
//     continuation without PSH towards the larger port.
//   - What the program cannot look into (MPLS, PPPoE, LLC, more than two tags
//     or three extension headers, AH under IPv4, damage): whole.
//
// All else, which is most of a download, is cut to snapBulk. Short frames are
// whole, which also keeps every load of the snap rules inside the frame.
const (
	keepAll   = 256 << 10 // longer than any frame
	snapBulk  = 128       // Ethernet, two tags, 60 bytes of IPv4, TCP up to its flags: 96
	snapMaybe = 4 << 10   // of a segment that may continue a ClientHello
	snapShort = 192       // no longer frame is cut
)

// deepest is the furthest offset of a transport header for which the snap rules
// stay inside a frame longer than snapShort: 82 + 60 + 3 bytes.
const deepest = 14 + 2*4 + 60

// snap has one of the rules above, for what is long enough.
func (b *builder) snap(rule func()) {
	if b.full {
		b.jump(b.whole)
		return
	}
	b.emit(bpf.LoadExtension{Num: bpf.ExtLen})
	b.branch(bpf.JumpLessOrEqual, snapShort, b.whole, next)
	if b.fixed == 0 {
		b.emit(bpf.TXA{})
		b.branch(bpf.JumpGreaterThan, deepest, b.whole, next)
	}
	rule()
}

// datagram: a QUIC long header has its first bit set (RFC 8999, section 5.1),
// a DTLS handshake record is 22.
func (b *builder) datagram() {
	b.load(8, 1)
	b.branch(bpf.JumpGreaterOrEqual, 0x80, b.whole, next)
	b.branch(bpf.JumpEqual, 0x16, b.whole, b.cut)
}

func (b *builder) segment() {
	const (
		syn  = 0x02
		push = 0x08
	)
	afterPush := b.label()
	b.load(13, 1)
	b.branch(bpf.JumpBitsSet, syn, b.whole, next)
	b.branch(bpf.JumpBitsSet, push, next, afterPush)
	b.emit(bpf.LoadExtension{Num: bpf.ExtLen})
	b.branch(bpf.JumpLessOrEqual, snapMaybe, b.whole, next)
	b.place(afterPush)

	// The ports, before X moves to the payload: memPort is 1 towards the smaller.
	down, up, payload := b.label(), b.label(), b.label()
	if b.fixed > 0 {
		b.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: b.fixed})
	}
	b.emit(bpf.StoreScratch{Src: bpf.RegX, N: memOffset})
	b.load(2, 2)
	b.emit(bpf.StoreScratch{Src: bpf.RegA, N: memPort})
	b.load(0, 2)
	b.emit(bpf.LoadScratch{Dst: bpf.RegX, N: memPort})
	b.branchX(bpf.JumpGreaterThan, down, up)
	b.place(down)
	b.set(memPort)
	b.jump(payload)
	b.place(up)
	b.emit(bpf.LoadConstant{Dst: bpf.RegA}, bpf.StoreScratch{Src: bpf.RegA, N: memPort})
	b.place(payload)
	b.emit(bpf.LoadScratch{Dst: bpf.RegX, N: memOffset})
	b.load(12, 1)
	b.emit(bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2})
	b.advance()

	b.fixed = 0 // the payload is at X
	b.load(0, 2)
	b.oneOf(b.whole, 0x1603) // TLS: handshake, version 3.x
	noMethod := b.label()
	for i := range uint32(3) { // a method has three characters or more
		letter, other := b.label(), b.label()
		b.load(i, 1)
		b.branch(bpf.JumpLessThan, 'A', other, next)
		b.branch(bpf.JumpLessOrEqual, 'Z', letter, other)
		b.place(other)
		if i > 0 {
			b.oneOf(letter, '_', '-')
		}
		b.jump(noMethod)
		b.place(letter)
	}
	b.jump(b.whole)
	b.place(noMethod)
	b.emit(bpf.LoadScratch{Dst: bpf.RegA, N: memPort})
	b.branch(bpf.JumpEqual, 1, b.some, b.cut)
}
