package names

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// This is as much of a capture reader and flow table as the replay test needs:
// classic pcap, Ethernet with VLAN tags, raw IP and Linux cooked frames, IPv4
// and IPv6. The real ones are other packages', which this one does not know.

type frame struct {
	time int64
	ip   []byte // from the IP header on; nil where there is none
	wire int    // length of that on the wire
}

var errNotPCAP = errors.New("not a classic pcap file")

func readPCAP(b []byte) ([]frame, error) {
	if len(b) < 24 {
		return nil, errNotPCAP
	}
	var order binary.ByteOrder = binary.LittleEndian
	scale := int64(1000)
	switch magic := binary.LittleEndian.Uint32(b); magic {
	case 0xa1b2c3d4:
	case 0xa1b23c4d:
		scale = 1
	case 0xd4c3b2a1:
		order = binary.BigEndian
	default:
		return nil, errNotPCAP
	}
	link := order.Uint32(b[20:]) & 0xffff
	var frames []frame
	for b = b[24:]; len(b) >= 16; {
		n, wire := int(order.Uint32(b[8:])), int(order.Uint32(b[12:]))
		f := frame{time: int64(order.Uint32(b))*1e9 + int64(order.Uint32(b[4:]))*scale}
		if len(b) < 16+n {
			break
		}
		if at := ipOffset(link, b[16:16+n]); at >= 0 {
			f.ip, f.wire = b[16+at:16+n], max(wire, n)-at
		}
		frames = append(frames, f)
		b = b[16+n:]
	}
	return frames, nil
}

func ipOffset(link uint32, b []byte) int {
	at, kind := 0, uint16(0)
	switch link {
	case 12, 101:
		return 0
	case 1:
		at = 12
	case 113:
		at = 14
	case 276:
		at = 0
	default:
		return -1
	}
	for ; len(b) >= at+2; at += 4 {
		kind = binary.BigEndian.Uint16(b[at:])
		if kind != 0x8100 && kind != 0x88a8 {
			break
		}
	}
	if kind != 0x0800 && kind != 0x86dd {
		return -1
	}
	if link == 276 {
		return 20
	}
	return at + 2
}

// transport is what one IP packet carries.
type transport struct {
	src, dst   [16]byte
	version    uint8
	protocol   uint8
	fragment   bool
	id, offset uint32
	more       bool
	payload    []byte // from the transport header on
	wire       int    // length of that on the wire
}

func readIP(f frame) (t transport, err error) {
	b := f.ip
	if len(b) < 20 || b[0]>>4 == 6 && len(b) < 40 {
		return t, io.ErrUnexpectedEOF
	}
	at, end := 0, 0
	switch t.version = b[0] >> 4; t.version {
	case 4:
		at, end = int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		t.protocol = b[9]
		t.src, t.dst = mapped(b[12:16]), mapped(b[16:20])
		word := binary.BigEndian.Uint16(b[6:])
		t.id, t.offset, t.more = uint32(binary.BigEndian.Uint16(b[4:])), uint32(word&0x1fff)*8, word&0x2000 != 0
		t.fragment = t.offset > 0 || t.more
	case 6:
		at, end = 40, 40+int(binary.BigEndian.Uint16(b[4:]))
		t.protocol = b[6]
		t.src, t.dst = [16]byte(b[8:24]), [16]byte(b[24:40])
		for len(b) >= at+8 && (t.protocol == 0 || t.protocol == 43 || t.protocol == 60 || t.protocol == 44) {
			next, n := b[at], 8+int(b[at+1])*8
			if t.protocol == 44 {
				word := binary.BigEndian.Uint16(b[at+2:])
				t.id, t.offset, t.more = binary.BigEndian.Uint32(b[at+4:]), uint32(word&^7), word&1 != 0
				t.fragment, n = t.offset > 0 || t.more, 8
			}
			t.protocol, at = next, at+n
		}
	default:
		return t, errors.New("no IP")
	}
	if end < at || end > f.wire {
		end = f.wire
	}
	t.wire = end - at
	t.payload = b[min(at, len(b)):min(end, len(b))]
	return t, nil
}

func mapped(b []byte) [16]byte {
	a := [16]byte{10: 0xff, 11: 0xff}
	copy(a[12:], b)
	return a
}

// flowTable finds flows by DEFINITIONS 3, fragments without ports left out.
type flowTable struct {
	live  map[flowKey]*testFlow
	flows []*testFlow
}

type flowKey struct {
	protocol uint8
	a, b     endpoint
}

type endpoint struct {
	address [16]byte
	port    uint16
}

type testFlow struct {
	initiator, responder endpoint
	protocol             uint8
	slot                 uint32
	start, last          int64
	order                uint64
	isn, otherISN        int64 // -1 where not known
	established          bool
	decided              bool
	done                 [2]bool   // from the initiator, from the responder
	first                [2]uint32 // sequence numbers of the first bytes; 0 where not known
	name                 string
	source               Source
}

func (t *flowTable) add(src, dst endpoint, protocol uint8, tcp []byte, time int64, order uint64) (f *testFlow, fromInitiator bool) {
	k := flowKey{protocol, src, dst}
	if bytes.Compare(src.address[:], dst.address[:]) > 0 || src.address == dst.address && src.port > dst.port {
		k.a, k.b = dst, src
	}
	idle := int64(60e9)
	var flags byte
	seq, ack := int64(-1), int64(-1)
	if protocol == 6 {
		idle = 600e9
		if len(tcp) >= 14 {
			flags, seq, ack = tcp[13], int64(binary.BigEndian.Uint32(tcp[4:])), int64(binary.BigEndian.Uint32(tcp[8:]))
		}
	}
	syn := flags&0x12 == 2
	if f = t.live[k]; f != nil {
		switch fromInitiator = f.initiator == src; {
		case time-f.last > idle:
			f = nil
		case !syn:
		case fromInitiator && f.isn != seq, !fromInitiator && f.otherISN >= 0 && f.otherISN != seq,
			!fromInitiator && f.otherISN < 0 && (f.established || f.isn < 0):
			f = nil
		}
	}
	if f == nil {
		f = &testFlow{initiator: src, responder: dst, protocol: protocol, slot: uint32(len(t.flows)), start: time, last: time, order: order, isn: -1, otherISN: -1}
		if flags&0x12 == 0x12 || flags&2 == 0 && !isGroup(&dst.address) && src.port > 0 && src.port < 1024 && dst.port >= 1024 && dst.port != 2049 {
			f.initiator, f.responder = dst, src
		}
		t.live[k] = f
		t.flows = append(t.flows, f)
	}
	fromInitiator = f.initiator == src
	f.last = max(f.last, time)
	switch {
	case syn && fromInitiator && f.isn < 0:
		f.isn = seq
	case syn && !fromInitiator && f.otherISN < 0:
		f.otherISN = seq
	case flags&2 != 0 && !syn && !fromInitiator && f.isn < 0:
		f.isn = int64(uint32(ack - 1))
	case protocol == 6 && flags&2 == 0 && len(tcp) >= 14:
		f.established = true
	}
	return f, fromInitiator
}

// replay runs a capture through an Observer and names its flows as the join
// would.
func replay(frames []frame, limits Limits) ([]*testFlow, Stats) {
	table := flowTable{live: map[flowKey]*testFlow{}}
	o := NewObserver(limits)
	for i, fr := range frames {
		ip, err := readIP(fr)
		if err != nil {
			continue
		}
		p := Packet{Src: ip.src, Dst: ip.dst, Time: fr.time, Order: uint64(i + 1)}
		if ip.fragment {
			if ip.protocol == 17 {
				p.Payload, p.PayloadLength = ip.payload, uint32(max(ip.wire, 0))
				o.Fragment(ip.version, ip.protocol, ip.id, ip.offset, ip.more, &p)
			}
			if ip.offset > 0 {
				continue
			}
		}
		if ip.protocol != 6 && ip.protocol != 17 || len(ip.payload) < 8 {
			continue
		}
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(ip.payload), binary.BigEndian.Uint16(ip.payload[2:])
		f, from := table.add(endpoint{p.Src, p.SrcPort}, endpoint{p.Dst, p.DstPort}, ip.protocol, ip.payload, p.Time, p.Order)
		p.Slot, p.Generation, p.FromInitiator = f.slot, 1, from
		if ip.fragment {
			continue
		}
		head := 8
		if ip.protocol == 6 {
			if len(ip.payload) < 20 {
				continue
			}
			head = int(ip.payload[12]>>4) * 4
			p.Seq = binary.BigEndian.Uint32(ip.payload[4:])
			p.PSH = ip.payload[13]&8 != 0
			if ip.payload[13]&2 != 0 {
				p.Seq++
				f.first[side(&p)] = p.Seq
			}
			p.First, p.Begun = f.first[side(&p)], f.first[side(&p)] != 0
		}
		p.Payload, p.PayloadLength = ip.payload[min(head, len(ip.payload)):], uint32(max(ip.wire-head, 0))
		dns := p.SrcPort == 53 || p.DstPort == 53 || ip.protocol == 17 && (p.SrcPort == 5353 || p.DstPort == 5353)
		if (f.decided || f.done[side(&p)]) && !dns {
			continue
		}
		if ip.protocol == 6 {
			decided, done := o.TCP(&p)
			f.decided = decided || f.decided
			f.done[side(&p)] = done || f.done[side(&p)]
		} else {
			f.decided = o.UDP(&p) || f.decided
		}
	}
	var h Harvest
	o.Harvest(&h, 1<<62)
	nameFlows(table.flows, &h)
	return table.flows, h.Stats
}

func nameFlows(flows []*testFlow, h *Harvest) {
	for _, w := range h.Owns {
		if f := flows[w.Slot]; f.source == 0 {
			f.name, f.source = string(h.Text[w.NameStart:w.NameEnd]), w.Source
		}
	}
	book := NewBook(0)
	facts := h.Facts
	for _, f := range flows {
		for len(facts) > 0 && facts[0].Order < f.order {
			book.Learn(&facts[0], h.Text, book.Spot(&facts[0], h.Text))
			facts = facts[1:]
		}
		if f.source == 0 {
			id, source := book.Lookup(f.initiator.address, f.responder.address)
			f.name, f.source = book.Name(id), source
		}
	}
}
