package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// spec says what a frame is made of.
type spec struct {
	raw          bool     // no Ethernet header
	tags         []uint16 // types of VLAN tags, outermost first
	src, dst     netip.Addr
	protocol     uint8
	sport, dport uint16
	headers      []uint8 // IPv6 extension headers, or AH
	ihl          int     // IPv4 options in words
	offset       uint16  // fragment offset in units of 8
	more         bool
	flags        uint8
	payload      []byte
}

func (s *spec) String() string {
	short := *s
	short.payload = s.payload[:min(8, len(s.payload))]
	type plain spec
	return fmt.Sprintf("%+v, %d bytes of payload", plain(short), len(s.payload))
}

func (s *spec) version() uint8 {
	if s.src.Is4() {
		return 4
	}
	return 6
}

func (s *spec) frame() []byte {
	var b []byte
	if !s.raw {
		b = make([]byte, 12)
		for _, t := range s.tags {
			b = binary.BigEndian.AppendUint16(b, t)
			b = binary.BigEndian.AppendUint16(b, 0x4123)
		}
		b = binary.BigEndian.AppendUint16(b, map[uint8]uint16{4: 0x0800, 6: 0x86dd}[s.version()])
	}
	body := s.transport()
	if s.version() == 4 {
		h := make([]byte, 20+4*s.ihl)
		h[0] = 0x45 + byte(s.ihl)
		first := s.protocol
		if len(s.headers) > 0 {
			first, body = s.headers[0], append(s.extensions(), body...)
		}
		binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(body)))
		binary.BigEndian.PutUint16(h[6:], s.offset)
		if s.more {
			h[6] |= 0x20
		}
		h[9] = first
		copy(h[12:], s.src.AsSlice())
		copy(h[16:], s.dst.AsSlice())
		return slices.Concat(b, h, body)
	}
	h := make([]byte, 40)
	h[0], h[6] = 0x60, s.protocol
	if len(s.headers) > 0 {
		h[6], body = s.headers[0], append(s.extensions(), body...)
	}
	binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
	copy(h[8:], s.src.AsSlice())
	copy(h[24:], s.dst.AsSlice())
	return slices.Concat(b, h, body)
}

func (s *spec) extensions() (b []byte) {
	for i, kind := range s.headers {
		after := s.protocol
		if i+1 < len(s.headers) {
			after = s.headers[i+1]
		}
		h := make([]byte, 16)
		h[0], h[1] = after, 1
		switch kind {
		case extFragment:
			h = h[:8]
			binary.BigEndian.PutUint16(h[2:], s.offset<<3)
			if s.more {
				h[3] |= 1
			}
		case protoAH:
			h[1] = 2
		}
		b = append(b, h...)
	}
	return b
}

func (s *spec) transport() []byte {
	if s.offset > 0 {
		return s.payload
	}
	h := make([]byte, 8)
	if s.protocol == protoTCP {
		h = make([]byte, 32)
		h[12], h[13] = 8<<4, s.flags
	}
	binary.BigEndian.PutUint16(h, s.sport)
	binary.BigEndian.PutUint16(h[2:], s.dport)
	return append(h, s.payload...)
}

// allowed asks Allow as the sensor would.
func (s *spec) allowed(f *Filter) bool {
	later := s.offset > 0
	sport, dport := s.sport, s.dport
	if later || !hasPorts(s.protocol) {
		sport, dport = 0, 0
	}
	return f.Allow(s.version(), s.protocol, s.src.As16(), s.dst.As16(), sport, dport, later)
}

func (s *spec) port(ports ...uint16) bool {
	return slices.Contains(ports, s.sport) || slices.Contains(ports, s.dport)
}

// passes says what the kernel must do with the packet: let it pass if true.
func (s *spec) passes(f *Filter) bool {
	switch {
	case s.allowed(f):
		return true
	case s.opaque(), s.protocol == protoUDP && s.offset > 0:
		return true
	case s.offset > 0:
		return false
	case s.protocol == protoTCP:
		return s.port(portDNS)
	case s.protocol == protoUDP:
		return s.port(portDNS, portMDNS)
	}
	return false
}

// opaque says whether the program cannot look into the packet.
func (s *spec) opaque() bool {
	if s.version() == 4 {
		return len(s.headers) > 0
	}
	at := slices.Index(s.headers, extFragment) + 1
	if s.offset > 0 && at <= maxExt {
		return at < len(s.headers) // the protocol is an extension header
	}
	return len(s.headers) > maxExt
}

// keeps is the snap rule in plain words; n is the length of the frame.
func (s *spec) keeps(n int) int {
	whole := s.opaque() || n <= snapShort
	first := func(b ...byte) bool { return bytes.HasPrefix(s.payload, b) }
	headers := n - len(s.transport())
	if s.offset > 0 {
		whole = s.opaque() || s.protocol == protoTCP || s.protocol == protoUDP
		if !whole {
			return min(n, snapBulk)
		}
		return n
	}
	switch s.protocol {
	case protoTCP:
		method := len(s.payload) >= 3 && s.payload[0] >= 'A' && s.payload[0] <= 'Z'
		for _, c := range s.payload[:min(3, len(s.payload))] {
			method = method && (c >= 'A' && c <= 'Z' || c == '_' || c == '-')
		}
		switch {
		case whole, headers > deepest, s.port(portDNS), s.flags&2 != 0, first(0x16, 3), method, s.flags&8 != 0 && n <= snapMaybe:
			return n
		case s.dport < s.sport:
			return min(n, snapMaybe)
		}
	case protoUDP:
		if whole || headers > deepest || s.port(portDNS, portMDNS) || len(s.payload) > 0 && (s.payload[0] >= 0x80 || s.payload[0] == 0x16) {
			return n
		}
	default:
		if s.opaque() {
			return n
		}
	}
	return min(n, snapBulk)
}

func randomSpec(r *rand.Rand) *spec {
	pick := func(ss ...string) netip.Addr { return netip.MustParseAddr(ss[r.IntN(len(ss))]) }
	port := func() uint16 {
		some := []uint16{22, 53, 80, 123, 443, 5353, 6000, 6005, 6010, 6011, 8080, 8443, 40000, 0, 65535}
		if r.IntN(4) == 0 {
			return uint16(r.Uint32())
		}
		return some[r.IntN(len(some))]
	}
	s := &spec{raw: r.IntN(3) == 0, sport: port(), dport: port(), flags: []uint8{0x10, 0x18, 0x02, 0x12, 0x11}[r.IntN(5)]}
	s.protocol = []uint8{6, 6, 6, 17, 17, 17, 1, 58, 132, 33, 136, 47, 50, 200}[r.IntN(14)]
	for r.IntN(4) == 0 && len(s.tags) < 2 {
		s.tags = append(s.tags, []uint16{0x8100, 0x88a8, 0x9100, 0x9200}[r.IntN(4)])
	}
	if s.raw {
		s.tags = nil
	}
	if r.IntN(2) == 0 {
		v4 := []string{"127.0.0.1", "192.0.2.7", "192.0.3.0", "198.51.100.1", "10.1.2.3", "128.0.0.1", "255.255.255.255", "0.0.0.0"}
		s.src, s.dst = pick(v4...), pick(v4...)
		s.ihl = max(0, r.IntN(16)-5)
		if r.IntN(10) == 0 {
			s.headers = []uint8{protoAH}
		}
	} else {
		v6 := []string{"::1", "::2", "2001:db8::1", "2001:db8:0:1::1", "fe80::1", "2001:db9::", "::"}
		s.src, s.dst = pick(v6...), pick(v6...)
		for r.IntN(3) == 0 && len(s.headers) < 6 {
			s.headers = append(s.headers, []uint8{0, 43, 60, 135, 139, 140, protoAH}[r.IntN(7)])
		}
	}
	if r.IntN(5) == 0 {
		if s.version() == 6 {
			s.headers = slices.Insert(s.headers, r.IntN(len(s.headers)+1), extFragment)
		}
		if s.version() == 6 || len(s.headers) == 0 {
			s.offset, s.more = uint16(r.IntN(3)*r.IntN(4000)), r.IntN(2) == 0
		}
		if at := slices.Index(s.headers, extFragment); s.offset > 0 && at >= 0 {
			s.headers = s.headers[:at+1] // what follows is not in a later fragment
		}
	}
	starts := []string{"\x16\x03\x01\x02\x00", "\x16\xfe\xfd", "GET / HTTP/1.1\r\n", "M-SEARCH", "A_", "Ab", "\xc3\x00\x00\x00\x01", "\x40", "", "\x00"}
	s.payload = append([]byte(starts[r.IntN(len(starts))]), make([]byte, r.IntN(2)*r.IntN(6000))...)
	return s
}

func testFilters() map[string]*Filter {
	nets := func(ss ...string) (out []netip.Prefix) {
		for _, s := range ss {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	var odd []PortRange
	for p := 1; p < 1000; p += 2 {
		odd = append(odd, PortRange{uint16(p), uint16(p)})
	}
	return map[string]*Filter{
		"nothing":    {},
		"localhost":  {IgnoreLocalhost: true},
		"ports":      {IgnorePorts: []PortRange{{22, 22}, {6000, 6010}, {123, 123}, {65535, 65535}}},
		"port 0":     {IgnorePorts: []PortRange{{0, 0}}},
		"many ports": {IgnorePorts: odd},
		"nets":       {IgnoreNets: nets("192.0.2.0/24", "10.0.0.0/8", "198.51.100.1/32", "2001:db8:0:1::/64", "fe80::/10", "::2/128")},
		"all v4":     {IgnoreNets: nets("0.0.0.0/0")},
		"all v6":     {IgnoreNets: nets("::/0")},
		"mapped":     {IgnoreNets: nets("::ffff:192.0.2.0/120")},
		"tcp":        {Protocols: []string{"tcp"}},
		"udp icmp":   {Protocols: []string{"UDP", "icmp"}},
		"web":        {Protocols: []string{"http", "https"}},
		"dns":        {Protocols: []string{"dns"}},
		"numbers":    {Protocols: []string{"47", "sctp", "200"}},
		"both":       {Protocols: []string{"https", "udp", "gre"}, IgnorePorts: []PortRange{{443, 443}}},
		"all of it": {Protocols: []string{"tcp", "dns", "sctp"}, IgnoreLocalhost: true, IgnorePorts: []PortRange{{80, 80}, {6000, 6010}},
			IgnoreNets: nets("192.0.2.0/24", "2001:db8::/32")},
	}
}

// A machine runs a program with the shorter way for plain frames, where that fits, and
// without, which must keep as much.
type machine []*bpf.VM

func vm(t testing.TB, f *Filter, link uint16, loopback, full bool) (m machine) {
	t.Helper()
	for _, plain := range []bool{false, true} {
		program, err := f.bodyProgram(link, loopback, full, plain)
		if plain && errors.Is(err, errTooLong) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bpf.Assemble(program); err != nil {
			t.Fatal(err)
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		m = append(m, vm)
	}
	return m
}

func (m machine) Run(b []byte) (kept int, err error) {
	for i, vm := range m {
		n, err := vm.Run(b)
		if err != nil || i > 0 && n != kept {
			return 0, fmt.Errorf("keeps %d, without the shorter way %d: %w", n, kept, err)
		}
		kept = n
	}
	return kept, nil
}

func TestProgramAgainstAllow(t *testing.T) {
	for name, f := range testFilters() {
		t.Run(name, func(t *testing.T) {
			if err := f.Check(); err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 2))
			machines := map[string]machine{}
			for _, link := range []uint16{linkEthernet, linkRaw} {
				for _, full := range []bool{false, true} {
					machines[fmt.Sprint(link, full)] = vm(t, f, link, false, full)
				}
			}
			passed := 0
			for range 20000 {
				s := randomSpec(r)
				b := s.frame()
				link := uint16(linkEthernet)
				if s.raw {
					link = linkRaw
				}
				for _, full := range []bool{false, true} {
					kept, err := machines[fmt.Sprint(link, full)].Run(b)
					if err != nil {
						t.Fatal(err)
					}
					kept = min(kept, len(b))
					want := 0
					switch {
					case s.passes(f) && full:
						want = len(b)
					case s.passes(f):
						want = s.keeps(len(b))
					}
					if kept != want {
						t.Fatalf("full %v: kept %d of %d, want %d: %v", full, kept, len(b), want, s)
					}
					if kept == 0 && s.allowed(f) {
						t.Fatalf("refused what counts: %v", s)
					}
				}
				if s.passes(f) {
					passed++
				}
			}
			if passed == 0 || f.NeedsUserCheck() != (name != "nothing") {
				t.Errorf("%d passed, needs check %v", passed, f.NeedsUserCheck())
			}
		})
	}
}

// With Count the kernel hands over headers of what it would keep to itself, all of
// which Allow refuses, and the rest is as without.
func TestProgramCounts(t *testing.T) {
	for name, plain := range testFilters() {
		counting := &Filter{Protocols: plain.Protocols, IgnoreLocalhost: plain.IgnoreLocalhost,
			IgnorePorts: plain.IgnorePorts, IgnoreNets: plain.IgnoreNets, Count: true}
		r := rand.New(rand.NewPCG(7, 8))
		for _, loopback := range []bool{false, true} {
			with, without := vm(t, counting, linkEthernet, loopback, false), vm(t, plain, linkEthernet, loopback, false)
			counted := 0
			for range 1500 {
				s := randomSpec(r)
				if s.raw {
					continue
				}
				b := s.frame()
				kept, err := with.Run(b)
				if err != nil {
					t.Fatal(err)
				}
				want, _ := without.Run(b)
				if want == 0 {
					want = snapBulk
					counted++
					if s.allowed(counting) && !(loopback && plain.IgnoreLocalhost) {
						t.Fatalf("%s: counted as left out: %v", name, s)
					}
				}
				if kept != want {
					t.Fatalf("%s, loopback %v: kept %d, want %d: %v", name, loopback, kept, want, s)
				}
			}
			if name != "nothing" && !(name == "localhost" && !loopback) && counted == 0 {
				t.Errorf("%s: nothing was left out", name)
			}
		}
	}
}

// On a loopback device with IgnoreLocalhost only DNS between local addresses
// passes, all of which Allow then refuses.
func TestProgramOnLoopback(t *testing.T) {
	f := &Filter{IgnoreLocalhost: true}
	m := vm(t, f, linkEthernet, true, false)
	r := rand.New(rand.NewPCG(3, 4))
	dns := 0
	for range 20000 {
		s := randomSpec(r)
		if s.raw || s.opaque() {
			continue
		}
		kept, err := m.Run(s.frame())
		if err != nil {
			t.Fatal(err)
		}
		local := !s.allowed(f)
		want := local && (s.offset > 0 && s.protocol == protoUDP ||
			s.offset == 0 && (s.protocol == protoTCP && s.port(portDNS) || s.protocol == protoUDP && s.port(portDNS, portMDNS)))
		if (kept > 0) != want {
			t.Fatalf("kept %d, want any: %v: %v", kept, want, s)
		}
		if want {
			dns++
		}
	}
	if dns == 0 {
		t.Error("no DNS among the packets")
	}
}

// Nothing that is cut off, or no IP at all, is refused: it must be counted.
func TestProgramOnRubbish(t *testing.T) {
	f := testFilters()["all of it"]
	r := rand.New(rand.NewPCG(5, 6))
	for _, link := range []uint16{linkEthernet, linkRaw, linkUnknown} {
		m := vm(t, f, link, false, false)
		for range 20000 {
			b := randomSpec(r).frame()
			switch r.IntN(3) {
			case 0:
				b = b[:r.IntN(len(b)+1)]
			case 1:
				for range 3 {
					b[r.IntN(min(len(b), 80))] = byte(r.Uint32())
				}
			case 2:
				for i := range b {
					b[i] = byte(r.Uint32())
				}
			}
			if _, err := m.Run(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	eth := vm(t, f, linkEthernet, false, false)
	for name, b := range map[string][]byte{
		"nothing":           {},
		"arp":               append(append(make([]byte, 12), 8, 6), make([]byte, 46)...),
		"long arp":          append(append(make([]byte, 12), 8, 6), make([]byte, 400)...),
		"llc":               append(append(make([]byte, 12), 0, 99), make([]byte, 400)...),
		"mpls":              append(append(make([]byte, 12), 0x88, 0x47), make([]byte, 400)...),
		"version 5 in 0800": append(append(make([]byte, 12), 8, 0, 0x55), make([]byte, 400)...),
		"cut off":           append(append(make([]byte, 12), 8, 0, 0x4f, 0, 0, 0, 0, 0, 0, 0, 0, 6), make([]byte, 12)...),
	} {
		want := len(b)
		if name == "long arp" {
			want = snapBulk
		}
		kept, err := eth.Run(b)
		if err != nil || name != "nothing" && min(kept, len(b)) != want || kept == 0 {
			t.Errorf("%s: kept %d of %d, want %d, %v", name, kept, len(b), want, err)
		}
	}
}

// tcpdump's compiler is the judge where the meaning is the same.
func TestProgramAgainstTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		missing(t, "tcpdump")
	}
	// Packets that pass for the sake of names are left out of the comparison.
	for _, test := range []struct{ name, expr string }{
		{"tcp", "tcp"},
		{"udp icmp", "udp or ip proto 1 or ip proto 58 or ip6 proto 1 or ip6 proto 58"},
		{"web", "tcp port 80 or tcp port 8080 or port 443 and not sctp or tcp port 8443"},
		{"nets", "not (net 192.0.2.0/24 or net 10.0.0.0/8 or host 198.51.100.1 or net 2001:db8:0:1::/64 or net fe80::/10 or host ::2)"},
		{"ports", "not (portrange 6000-6010 or port 22 or port 123 or port 65535)"},
		{"localhost", "not (net 127.0.0.0/8 or host ::1)"},
		{"numbers", "ip proto 47 or ip6 proto 47 or sctp or ip proto 200 or ip6 proto 200"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := exec.Command("tcpdump", "-ddd", "-y", "EN10MB", test.expr).Output()
			if err != nil {
				t.Fatalf("tcpdump %s: %v", test.expr, err)
			}
			judge, err := bpf.NewVM(parseProgram(t, string(out)))
			if err != nil {
				t.Fatal(err)
			}
			ours := vm(t, testFilters()[test.name], linkEthernet, false, false)
			r := rand.New(rand.NewPCG(7, 8))
			compared := 0
			for range 20000 {
				s := randomSpec(r)
				dns := s.port(portDNS) && (s.protocol == protoTCP || s.protocol == protoUDP) || s.port(portMDNS) && s.protocol == protoUDP
				if s.raw || len(s.tags) > 0 || len(s.headers) > 0 || s.offset > 0 || dns || s.protocol == protoDCCP || s.protocol == protoUDPLite {
					continue
				}
				b := s.frame()
				kept, err := ours.Run(b)
				want, err2 := judge.Run(b)
				if err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
				if (kept > 0) != (want > 0) {
					t.Fatalf("kept %d, tcpdump %d: %v", kept, want, s)
				}
				compared++
			}
			if compared < 1000 {
				t.Errorf("only %d packets compared", compared)
			}
		})
	}
}

func parseProgram(t *testing.T, ddd string) []bpf.Instruction {
	lines := strings.Fields(ddd)
	var raw []bpf.RawInstruction
	for i := 1; i+3 < len(lines); i += 4 {
		var in bpf.RawInstruction
		if _, err := fmt.Sscan(strings.Join(lines[i:i+4], " "), &in.Op, &in.Jt, &in.Jf, &in.K); err != nil {
			t.Fatal(err)
		}
		raw = append(raw, in)
	}
	out, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("tcpdump's program cannot be read")
	}
	return out
}

// A program that would be too long gives up rules, never packets that count.
func TestProgramSize(t *testing.T) {
	var some, all []int
	var odd []PortRange
	var nets []netip.Prefix
	for i := range 5000 {
		all = append(all, 3*i+1)
		odd = append(odd, PortRange{uint16(2 * i), uint16(2 * i)})
		nets = append(nets, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 32),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 8), byte(i)}), 128))
	}
	some = all[:1000]
	for _, test := range []struct {
		f          *Filter
		interfaces []int
	}{
		{testFilters()["all of it"], some},
		{&Filter{}, all},
		{&Filter{IgnorePorts: odd, IgnoreLocalhost: true}, some},
		{&Filter{IgnorePorts: odd, IgnoreNets: nets, IgnoreLocalhost: true}, some},
		{&Filter{IgnorePorts: odd, IgnoreNets: nets, IgnoreLocalhost: true}, all},
	} {
		p := test.f.Program(test.interfaces, false)
		if len(p) < 100 || len(p) > maxProgram {
			t.Errorf("%d instructions", len(p))
		}
		if _, err := bpf.Assemble(p); err != nil {
			t.Error(err)
		}
	}
}

func TestFilterCheck(t *testing.T) {
	for want, f := range map[string]*Filter{
		`unknown protocol "htpp"`:       {Protocols: []string{"tcp", "htpp"}},
		`unknown protocol "256"`:        {Protocols: []string{"256"}},
		"port range 5-4 runs backwards": {IgnorePorts: []PortRange{{5, 4}}},
		"invalid prefix invalid Prefix": {IgnoreNets: []netip.Prefix{{}}},
	} {
		if err := f.Check(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	var none *Filter
	if none.Check() != nil || none.NeedsUserCheck() || !none.Allow(4, 6, [16]byte{}, [16]byte{}, 1, 2, false) {
		t.Error("no filter leaves something out")
	}
}

func TestSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 500 {
		var in spans
		for range r.IntN(30) {
			lo := r.Uint32N(300)
			in = append(in, span{lo, lo + r.Uint32N(8)})
		}
		in = append(in, span{1<<32 - 1 - r.Uint32N(2), 1<<32 - 1})
		m := in.merged()
		a := newAssembler()
		yes, no := a.label(), a.label()
		a.emit(bpf.LoadAbsolute{Size: 4})
		a.in(m, yes, no)
		a.place(yes)
		a.emit(bpf.RetConstant{Val: 1})
		a.place(no)
		a.emit(bpf.RetConstant{})
		p, err := a.program()
		if err != nil {
			t.Fatal(err)
		}
		machine, err := bpf.NewVM(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []uint32{r.Uint32N(320), r.Uint32N(320), 1<<32 - 1, 1<<32 - 2, r.Uint32()} {
			want := slices.ContainsFunc(in, func(s span) bool { return s.lo <= v && v <= s.hi })
			got, _ := machine.Run(binary.BigEndian.AppendUint32(nil, v))
			if m.contain(v) != want || (got == 1) != want {
				t.Fatalf("%d in %v: contain %v, program %d, want %v", v, in, m.contain(v), got, want)
			}
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	f := testFilters()["all of it"]
	src, dst := netip.MustParseAddr("203.0.113.5").As16(), netip.MustParseAddr("198.51.100.1").As16()
	b.ReportAllocs()
	for b.Loop() {
		f.Allow(4, protoTCP, src, dst, 40000, 443, false)
	}
}
