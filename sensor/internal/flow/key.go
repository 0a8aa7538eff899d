package flow

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// A key names a flow with its initiator first. Two ends, protocol and
// interface; the IP version is the family's. A packet matches the key in
// either direction.
type key interface {
	comparable
	hash(*seed) uint32 // the same for both directions
	protocol() uint8
	iface() uint16
	describe(*Record)
}

// key4 packs a flow key of IPv4 into two words: address, port and 16 bits more
// of each end. So swapping the ends is swapping all but the low 16 bits.
type key4 struct {
	a uint64 // initiator's address and port, interface
	b uint64 // responder's address and port, protocol
}

// key6 is the same for IPv6.
type key6 struct {
	aHigh, aLow uint64
	bHigh, bLow uint64
	rest        uint64 // ports of a and b, interface, protocol
}

// keys are those of a packet's flow, by who of the two is its initiator. They
// are passed by pointer, since two of IPv6 do not fit the registers.
type keys[K key] struct{ src, dst K }

func keys4(k *keys[key4], h *packet.Header, iface uint16) {
	k.src, k.dst = ends4(h, iface)
}

func ends4(h *packet.Header, iface uint16) (src, dst key4) {
	s := uint64(binary.BigEndian.Uint32(h.Src[12:]))<<32 | uint64(h.SrcPort)<<16
	d := uint64(binary.BigEndian.Uint32(h.Dst[12:]))<<32 | uint64(h.DstPort)<<16
	i, p := uint64(iface), uint64(h.Protocol)
	return key4{s | i, d | p}, key4{d | i, s | p}
}

func keys6(k *keys[key6], h *packet.Header, iface uint16) {
	srcHigh, srcLow := binary.BigEndian.Uint64(h.Src[:]), binary.BigEndian.Uint64(h.Src[8:])
	dstHigh, dstLow := binary.BigEndian.Uint64(h.Dst[:]), binary.BigEndian.Uint64(h.Dst[8:])
	s, d := uint64(h.SrcPort), uint64(h.DstPort)
	rest := uint64(iface)<<16 | uint64(h.Protocol)
	k.src.aHigh, k.src.aLow, k.src.bHigh, k.src.bLow, k.src.rest = srcHigh, srcLow, dstHigh, dstLow, s<<48|d<<32|rest
	k.dst.aHigh, k.dst.aLow, k.dst.bHigh, k.dst.bLow, k.dst.rest = dstHigh, dstLow, srcHigh, srcLow, d<<48|s<<32|rest
}

func (k key4) protocol() uint8 { return uint8(k.b) }
func (k key6) protocol() uint8 { return uint8(k.rest) }

func (k key4) iface() uint16 { return uint16(k.a) }
func (k key6) iface() uint16 { return uint16(k.rest >> 16) }

// differs returns 0 for the same key, else 1, without a branch: which end sent a packet
// cannot be foreseen.
func (k key4) differs(o key4) int { return notZero((k.a ^ o.a) | (k.b ^ o.b)) }

func (k *key6) differs(o *key6) int {
	return notZero((k.aHigh ^ o.aHigh) | (k.aLow ^ o.aLow) | (k.bHigh ^ o.bHigh) | (k.bLow ^ o.bLow) | (k.rest ^ o.rest))
}

func notZero(n uint64) int { return int((n | -n) >> 63) }

func (k key4) describe(r *Record) {
	r.Version, r.Protocol, r.Interface = 4, uint8(k.b), uint16(k.a)
	putMapped(&r.Initiator, k.a)
	putMapped(&r.Responder, k.b)
	r.InitiatorPort, r.ResponderPort = uint16(k.a>>16), uint16(k.b>>16)
}

func (k key6) describe(r *Record) {
	r.Version, r.Protocol, r.Interface = 6, uint8(k.rest), uint16(k.rest>>16)
	binary.BigEndian.PutUint64(r.Initiator[:], k.aHigh)
	binary.BigEndian.PutUint64(r.Initiator[8:], k.aLow)
	binary.BigEndian.PutUint64(r.Responder[:], k.bHigh)
	binary.BigEndian.PutUint64(r.Responder[8:], k.bLow)
	r.InitiatorPort, r.ResponderPort = uint16(k.rest>>48), uint16(k.rest>>32)
}

func putMapped(a *[16]byte, end uint64) {
	binary.BigEndian.PutUint64(a[:], 0)
	binary.BigEndian.PutUint64(a[8:], 0xffff<<32|end>>32)
}

// A seed makes hashes that nobody outside can foresee, so that nobody can
// choose addresses that collide. Nothing but speed depends on it.
type seed [4]uint64

func newSeed() (s seed) {
	for i := range s {
		s[i] = rand.Uint64()
	}
	return s
}

func (k key4) hash(s *seed) uint32 {
	x, y := k.a>>16, k.b>>16
	lo, hi := min(x, y), max(x, y)
	return finish(mix(lo<<16|k.a&0xffff^s[0], hi<<16|k.b&0xffff^s[1]))
}

func (k key6) hash(s *seed) uint32 { return hash6(&k, s) }

func hash6(k *key6, s *seed) uint32 {
	a := mix(k.aHigh^s[0], k.aLow^s[1]) + k.rest>>48*oddA
	b := mix(k.bHigh^s[0], k.bLow^s[1]) + k.rest>>32&0xffff*oddA
	return finish(mix(a+b^s[2], a^b^k.rest<<32^s[3]))
}

// Odd constants with evenly spread bits, from wyhash.
const (
	oddA = 0xa0761d6478bd642f
	oddB = 0xe7037ed1a0b428db
)

// mix multiplies to 128 bits and folds, as wyhash does.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func finish(h uint64) uint32 {
	return uint32((h ^ h>>32) * oddB >> 32)
}
