package flow

import (
	"encoding/binary"
	"testing"

	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

const second = int64(1e9)

// A sent is one packet of a scenario: from end a or b, at a time in seconds.
type sent struct {
	fromB    bool
	at       int64
	flags    uint8
	seq, ack uint32
	flow     int  // to which flow it belongs, from 0
	fromInit bool // its initiator sent it
}

const (
	syn = packet.SYN
	ack = packet.ACK
	rst = packet.RST
	fin = packet.FIN
)

// TestConnections is about DEFINITIONS 3.2 and 3.3 for TCP.
func TestConnections(t *testing.T) {
	const a, b = false, true
	for _, c := range []struct {
		name    string
		packets []sent
	}{
		{"handshake", []sent{{a, 0, syn, 1, 0, 0, true}, {b, 0, syn | ack, 9, 2, 0, false}, {a, 0, ack, 2, 10, 0, true}}},
		{"SYN again", []sent{{a, 0, syn, 1, 0, 0, true}, {a, 1, syn, 1, 0, 0, true}, {a, 3, syn, 1, 0, 0, true}}},
		{"SYN again after data", []sent{{a, 0, syn, 1, 0, 0, true}, {b, 0, ack, 9, 2, 0, false}, {a, 1, syn, 1, 0, 0, true}}},
		{"SYN of another connection", []sent{{a, 0, syn, 1, 0, 0, true}, {a, 1, syn, 2, 0, 1, true}}},
		{"FIN ends nothing", []sent{{a, 0, syn, 1, 0, 0, true}, {b, 1, fin | ack, 9, 2, 0, false}, {a, 1, ack, 2, 10, 0, true}}},
		{"refused", []sent{{a, 0, syn, 1, 0, 0, true}, {b, 0, rst | ack, 0, 2, 0, false}, {a, 1, syn, 5, 0, 1, true}}},
		{"SYN+ACK before its SYN", []sent{{b, 0, syn | ack, 9, 2, 0, false}, {a, 0, syn, 1, 0, 0, true}}},
		{"SYN+ACK before another SYN", []sent{{b, 0, syn | ack, 9, 2, 0, false}, {a, 0, syn, 7, 0, 1, true}}},
		{"SYN after a start in the middle", []sent{{a, 0, ack, 1, 0, 0, true}, {a, 0, syn, 1, 0, 1, true}}},
		{"both open at once", []sent{{a, 0, syn, 1, 0, 0, true}, {b, 0, syn, 9, 0, 0, false}, {b, 1, syn, 9, 0, 0, false},
			{a, 1, syn | ack, 1, 10, 0, true}}},
		{"responder opens another", []sent{{a, 0, syn, 1, 0, 0, true}, {b, 0, syn, 9, 0, 0, false}, {b, 1, syn, 8, 0, 1, true}}},
		{"responder opens after data", []sent{{a, 0, syn, 1, 0, 0, true}, {a, 0, ack, 2, 0, 0, true}, {b, 1, syn, 9, 0, 1, true}}},
		{"responder opens after a reset", []sent{{a, 0, syn, 1, 0, 0, true}, {b, 0, syn | rst | ack, 0, 2, 0, false}, {b, 1, syn, 9, 0, 1, true}}},
		{"responder opens after a start in the middle", []sent{{a, 0, ack, 1, 0, 0, true}, {b, 0, syn, 9, 0, 1, true}}},
		{"idle for 600 s", []sent{{a, 0, ack, 1, 0, 0, true}, {b, 600, ack, 1, 0, 0, false}, {a, 1200, ack, 1, 0, 0, true}}},
		{"idle for longer", []sent{{a, 0, ack, 1, 0, 0, true}, {b, 601, ack, 1, 0, 1, true}}},
		{"time goes back", []sent{{a, 900, ack, 1, 0, 0, true}, {b, 0, ack, 1, 0, 0, false}, {a, 1500, ack, 1, 0, 0, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := New(Options{KeepIdle: true})
			for i, p := range c.packets {
				h := between(4, protoTCP, 50000, 50001)
				h.TCP, h.TCPFlags, h.Seq, h.Ack = true, p.flags, p.seq, p.ack
				if p.fromB {
					swap(&h)
				}
				r := put(table, &h, p.at*second)
				if r.Generation != uint32(p.flow+1) || r.FromInitiator != p.fromInit {
					t.Errorf("packet %d: flow %d, from the initiator %t", i, r.Generation-1, r.FromInitiator)
				}
			}
		})
	}
}

// TestHeaderCutOff: of a flow whose first segment was cut off behind the ports
// nobody knows the SYN.
func TestHeaderCutOff(t *testing.T) {
	table := New(Options{})
	h := between(4, protoTCP, 50000, 50001)
	put(table, &h, 0)
	swap(&h)
	h.TCP, h.TCPFlags = true, packet.SYN
	if r := put(table, &h, 0); !r.Born || !r.FromInitiator {
		t.Errorf("%+v", r)
	}
}

// TestInitiator is about DEFINITIONS 3.3 and 3.4: who is it, by one packet.
func TestInitiator(t *testing.T) {
	group4, group6 := [4]byte{224, 0, 0, 251}, [16]byte{0xff, 2, 15: 0xfb}
	for _, c := range []struct {
		name       string
		version    uint8
		protocol   uint8
		src, dst   uint16
		flags      int // -1: no TCP header
		to         []byte
		fromSource bool
	}{
		{"client to server", 4, 17, 40000, 53, -1, nil, true},
		{"server to client", 4, 17, 53, 40000, -1, nil, false},
		{"server to client 6", 6, 17, 53, 40000, -1, nil, false},
		{"low to low", 4, 17, 123, 123, -1, nil, true},
		{"low to 1023", 4, 17, 53, 1023, -1, nil, true},
		{"1023 to 1024", 4, 6, 1023, 1024, -1, nil, false},
		{"1024 to 1024", 4, 6, 1024, 1024, -1, nil, true},
		{"port 0", 4, 17, 0, 40000, -1, nil, true},
		{"NFS", 4, 6, 900, 2049, ack, nil, true},
		{"SCTP", 4, 132, 80, 40000, -1, nil, false},
		{"ICMP", 4, 1, 0, 0, -1, nil, true},
		{"SYN from a low port", 4, 6, 22, 40000, syn, nil, true},
		{"SYN+ACK to a low port", 4, 6, 40000, 22, syn | ack, nil, false},
		{"to a group", 4, 17, 53, 40000, -1, group4[:], true},
		{"to everybody", 4, 17, 67, 40000, -1, []byte{255, 255, 255, 255}, true},
		{"to a group 6", 6, 17, 53, 40000, -1, group6[:], true},
		{"to 240.0.0.1", 4, 17, 53, 40000, -1, []byte{240, 0, 0, 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := between(c.version, c.protocol, c.src, c.dst)
			if c.flags >= 0 {
				h.TCP, h.TCPFlags = true, uint8(c.flags)
			}
			copy(h.Dst[16-len(c.to):], c.to)
			table := New(Options{})
			if r := put(table, &h, 0); r.FromInitiator != c.fromSource {
				t.Errorf("from the initiator: %t", r.FromInitiator)
			}
			r := table.Harvest(nil, 0, true)[0]
			initiator, port := h.Src, h.SrcPort
			if !c.fromSource {
				initiator, port = h.Dst, h.DstPort
			}
			if r.Initiator != initiator || r.InitiatorPort != port || r.Version != c.version || r.Protocol != c.protocol {
				t.Errorf("%+v", r)
			}
			if (r.PacketsSent == 1) != c.fromSource || r.PacketsSent+r.PacketsReceived != 1 {
				t.Errorf("%d packets sent, %d received", r.PacketsSent, r.PacketsReceived)
			}
		})
	}
}

// TestTakeFirst wants the place where an end begins once after each SYN that says it.
func TestTakeFirst(t *testing.T) {
	const a, b = false, true
	type first struct {
		seq uint32
		ok  bool
	}
	none := first{}
	for _, c := range []struct {
		name                 string
		packets              []sent
		initiator, responder first
		again                first // of the responder, when all comes once more
	}{
		{"handshake", []sent{{a, 0, syn, 1, 0, 0, true}, {b, 0, syn | ack, 9, 2, 0, false}}, first{2, true}, first{10, true}, none},
		{"from 0 on", []sent{{a, 0, syn, 0, 0, 0, true}, {b, 0, syn | ack, 0, 1, 0, false}}, first{1, true}, first{1, true}, none},
		{"no SYN", []sent{{a, 0, ack, 1, 0, 0, true}, {b, 0, ack, 9, 2, 0, false}}, none, none, none},
		{"SYN+ACK alone", []sent{{b, 0, syn | ack, 9, 2, 0, false}}, none, first{10, true}, none},
		{"SYN+ACK before its SYN", []sent{{b, 0, syn | ack, 9, 2, 0, false}, {a, 0, syn, 1, 0, 0, true}}, first{2, true}, first{10, true}, none},
		{"both open at once", []sent{{a, 0, syn, 1, 0, 0, true}, {b, 0, syn, 9, 0, 0, false}}, first{2, true}, first{10, true}, none},
		{"SYN+ACK of the initiator", []sent{{a, 0, ack, 70, 0, 0, true}, {a, 0, syn | ack, 1, 10, 0, true}}, first{2, true}, none, none},
		{"another SYN+ACK", []sent{{b, 0, syn | ack, 9, 2, 0, false}, {b, 0, syn | ack, 50, 2, 0, false}}, none, first{51, true}, first{51, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := New(Options{})
			send := func(p sent) Result {
				h := between(4, protoTCP, 50000, 50001)
				h.TCP, h.TCPFlags, h.Seq, h.Ack = true, p.flags, p.seq, p.ack
				if p.fromB {
					swap(&h)
				}
				return put(table, &h, p.at*second)
			}
			take := func(slot uint32, initiator, responder first) {
				t.Helper()
				for from, want := range map[bool]first{true: initiator, false: responder} {
					if seq, ok := table.TakeFirst(slot, from); ok != want.ok || ok && seq != want.seq {
						t.Errorf("initiator %t: %d, %t; want %+v", from, seq, ok, want)
					}
				}
			}
			var r Result
			for _, p := range c.packets {
				r = send(p)
			}
			take(r.Slot, c.initiator, c.responder)
			for _, p := range c.packets {
				send(p)
			}
			take(r.Slot, none, c.again)
		})
	}
}

func TestLand(t *testing.T) {
	table := New(Options{})
	h := between(4, protoTCP, 53, 53)
	h.Dst = h.Src
	for range 3 {
		if r := put(table, &h, 0); !r.FromInitiator {
			t.Error("a packet to its own source is received")
		}
	}
	if r := table.Harvest(nil, 0, true); len(r) != 1 || r[0].PacketsSent != 3 {
		t.Errorf("%+v", r)
	}
}

// TestKeys: what makes two packets one flow, and what does not.
func TestKeys(t *testing.T) {
	table := New(Options{})
	base := between(4, protoUDP, 1000, 2000)
	first := put(table, &base, 0)
	for name, change := range map[string]func(*packet.Header, *uint16){
		"source":      func(h *packet.Header, _ *uint16) { h.Src[15]++ },
		"destination": func(h *packet.Header, _ *uint16) { h.Dst[12]++ },
		"source port": func(h *packet.Header, _ *uint16) { h.SrcPort++ },
		"other port":  func(h *packet.Header, _ *uint16) { h.DstPort++ },
		"ports swapped": func(h *packet.Header, _ *uint16) {
			h.SrcPort, h.DstPort = h.DstPort, h.SrcPort
		},
		"protocol":  func(h *packet.Header, _ *uint16) { h.Protocol = protoTCP },
		"interface": func(_ *packet.Header, i *uint16) { *i = 1 },
		"version":   func(h *packet.Header, _ *uint16) { h.Version = 6 },
	} {
		h, iface := base, uint16(0)
		change(&h, &iface)
		if r := Arrive(table, &h, iface, 0, 0); !r.Born || r.Generation == first.Generation {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, version := range []uint8{4, 6} {
		h := between(version, protoUDP, 7, 8)
		a := put(table, &h, 0)
		swap(&h)
		if b := put(table, &h, 0); b.Born || b.Slot != a.Slot || b.FromInitiator {
			t.Errorf("the answer belongs to %+v, the question to %+v", b, a)
		}
	}
}

func TestUndecided(t *testing.T) {
	for _, c := range []struct {
		protocol uint8
		port     uint16
		want     bool
	}{{6, 443, true}, {17, 443, true}, {6, 0, false}, {17, 0, false}, {1, 0, false}, {132, 443, false}, {47, 0, false}} {
		h := between(4, c.protocol, c.port, c.port)
		if r := put(New(Options{}), &h, 0); r.Undecided != c.want {
			t.Errorf("protocol %d, port %d: undecided %t", c.protocol, c.port, r.Undecided)
		}
	}
}

// between is a packet of 100 bytes between two addresses that are ever the same.
func TestMidstream(t *testing.T) {
	for flags, want := range map[uint8]bool{syn: false, syn | ack: false, ack: true, rst: true, fin | ack: true} {
		h := between(4, protoTCP, 50000, 443)
		h.TCP, h.TCPFlags = true, flags
		table := New(Options{})
		put(table, &h, second)
		h.TCPFlags = syn ^ flags&syn // what follows changes nothing
		put(table, &h, second)
		for _, r := range table.Harvest(nil, 2*second, true) {
			if r.Order == 1 && r.Generation == 1 && r.Midstream != want {
				t.Errorf("first packet with flags %#x: midstream %t", flags, r.Midstream)
			}
		}
	}
	cut := between(4, protoTCP, 50000, 443) // whose flags were not captured
	table := New(Options{})
	put(table, &cut, second)
	if rs := table.Harvest(nil, 2*second, true); len(rs) != 1 || rs[0].Midstream {
		t.Errorf("without flags: %+v", rs)
	}
}

func between(version, protocol uint8, src, dst uint16) packet.Header {
	h := packet.Header{Version: version, Protocol: protocol, Bytes: 100, SrcPort: src, DstPort: dst}
	binary.BigEndian.PutUint64(h.Src[8:], 0xffff_c0_00_02_01)
	binary.BigEndian.PutUint64(h.Dst[8:], 0xffff_c6_33_64_02)
	if version == 6 {
		h.Src[0], h.Dst[0] = 0x20, 0x20
	}
	return h
}

func swap(h *packet.Header) {
	h.Src, h.Dst, h.SrcPort, h.DstPort = h.Dst, h.Src, h.DstPort, h.SrcPort
}

func put(t *Table, h *packet.Header, time int64) Result {
	return Arrive(t, h, 0, time, 1)
}
