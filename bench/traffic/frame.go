package traffic

import (
	"encoding/binary"
	"math/rand/v2"
)

const (
	protoTCP = 6
	protoUDP = 17

	flagSYN = 0x02
	flagPSH = 0x08
	flagACK = 0x10

	clients   = 20_000
	addresses = 4  // of each domain
	smallest  = 60 // bytes of a frame without its FCS
)

// A writer builds one frame after the other in the same memory.
type writer struct {
	random  *rand.Rand
	frame   []byte
	message []byte
	filler  [1500]byte
	packets uint32 // of scenes with gaps
}

// An end of a packet.
type end struct {
	address uint32 // its low 32 bits
	server  bool
	port    uint16
}

// packet is the next packet of flow k: a handshake, a ClientHello where the flow
// has one, then data.
func (w *writer) packet(s *Scene, k int, f *flow) []byte {
	client, server := clientEnd(s, k), serverEnd(f)
	up, flags := w.random.IntN(10) < 3, byte(flagACK)
	var payload []byte
	switch {
	case f.udp || s.Sizes == Small || f.sent > 3 || f.sent == 3 && !f.ours:
		payload = w.filler[:w.size(s.Sizes, f, up)]
	case f.sent == 0:
		up, flags = true, flagSYN
	case f.sent == 1:
		up, flags = false, flagSYN|flagACK
	case f.sent == 2:
		up = true
	default:
		w.clientHello(name(f.domain))
		up, flags, payload = true, flagPSH|flagACK, w.message
	}
	seq := &f.seq[0]
	if !up {
		client, server = server, client
		seq = &f.seq[1]
	}
	number, ack := *seq, uint32(1)
	if s.Gaps {
		w.packets++
		number, ack = w.packets, w.packets^0x5555
	}
	frame := w.build(f.v6, f.udp, flags, number, ack, client, server, payload)
	*seq += uint32(len(payload))
	if flags&flagSYN != 0 {
		*seq++
	}
	return frame
}

// size is the length of a payload.
func (w *writer) size(s Sizes, f *flow, up bool) int {
	headers := 40
	if f.v6 {
		headers += 20
	}
	if f.udp {
		headers -= 12
	}
	switch {
	case s == Small, s == Full && up: // acknowledgements; the frame is filled up
		return 0
	case s == Full:
		return 1500 - headers
	}
	switch n := w.random.IntN(12); {
	case n < 7:
		return 0
	case n < 11:
		return 576 - headers
	}
	return 1500 - headers
}

func clientEnd(s *Scene, k int) end {
	port := 1024 + (k/clients*131+k*7)%64000
	if s.Even {
		port = 1024 + k/clients
	}
	return end{address: 10<<24 | uint32(k%clients), port: uint16(port)}
}

func serverEnd(f *flow) end {
	e := end{address: serverAddress(f.domain, int(f.answer)), server: true, port: 80}
	switch {
	case f.udp:
		e.port = 4500
	case f.ours:
		e.port = 443
	}
	return e
}

// serverAddress is one of a domain's, in 100.64.0.0/10.
func serverAddress(domain int32, n int) uint32 {
	return 100<<24 | 64<<16 | uint32(int(domain)*addresses+n%addresses)
}

// build makes a frame. Checksums are left at 0: nobody here verifies them.
func (w *writer) build(v6, udp bool, flags byte, seq, ack uint32, src, dst end, payload []byte) []byte {
	b := append(w.frame[:0], 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1)
	protocol, transport := byte(protoTCP), 20
	if udp {
		protocol, transport = protoUDP, 8
	}
	length := uint16(transport + len(payload))
	if v6 {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, length)
		b = append(b, protocol, 60)
		b = appendIPv6(appendIPv6(b, src), dst)
	} else {
		b = append(b, 0x08, 0x00, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, 20+length)
		b = append(b, 0, 0, 0x40, 0, 60, protocol, 0, 0)
		b = binary.BigEndian.AppendUint32(b, src.address)
		b = binary.BigEndian.AppendUint32(b, dst.address)
	}
	b = binary.BigEndian.AppendUint16(b, src.port)
	b = binary.BigEndian.AppendUint16(b, dst.port)
	if udp {
		b = binary.BigEndian.AppendUint16(b, length)
		b = append(b, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint32(b, seq)
		b = binary.BigEndian.AppendUint32(b, ack)
		b = append(b, 0x50, flags, 0xfa, 0, 0, 0, 0, 0)
	}
	b = append(b, payload...)
	for len(b) < smallest {
		b = append(b, 0)
	}
	w.frame = b
	return b
}

func appendIPv6(b []byte, e end) []byte {
	b = append(b, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0)
	if e.server {
		b[len(b)-8] = 0x5e
	}
	return binary.BigEndian.AppendUint32(b, e.address)
}
