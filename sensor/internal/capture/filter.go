package capture

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// PortRange is the ports First to Last, both included.
type PortRange struct{ First, Last uint16 }

// Filter says which packets are counted. The zero value and a nil Filter mean
// all. It is compiled at the first use and must not be changed or copied after
// that; it may be used by many goroutines.
type Filter struct {
	// Protocols that count; none means all. See ProtocolNames; a decimal number
	// from 0 to 255 is an IP protocol.
	Protocols []string

	// IgnoreLocalhost leaves out 127.0.0.0/8 and ::1 at either end, and
	// everything on loopback devices.
	IgnoreLocalhost bool

	// IgnorePorts leaves out packets of TCP, UDP, UDP-Lite, DCCP and SCTP with
	// either port in one of the ranges.
	IgnorePorts []PortRange

	// IgnoreNets leaves out packets with either address in one of them.
	IgnoreNets []netip.Prefix

	// Count has the kernel hand over the first bytes of what is left out, so that
	// it can be counted.
	Count bool

	once  sync.Once
	rules rules
}

// IP protocol numbers (IANA) that the rules treat on their own.
const (
	protoICMP    = 1
	protoTCP     = 6
	protoUDP     = 17
	protoDCCP    = 33
	protoAH      = 51
	protoICMPv6  = 58
	protoSCTP    = 132
	protoUDPLite = 136
)

const (
	portDNS  = 53
	portMDNS = 5353
)

// protocolRule is what one word of Filter.Protocols selects.
type protocolRule struct {
	numbers  []uint8     // whole protocols
	tcp, udp []PortRange // either port
}

func protocolRules() map[string]protocolRule {
	port := func(ps ...uint16) (r []PortRange) {
		for _, p := range ps {
			r = append(r, PortRange{p, p})
		}
		return r
	}
	number := func(ns ...uint8) protocolRule { return protocolRule{numbers: ns} }
	return map[string]protocolRule{
		"tcp":     number(protoTCP),
		"udp":     number(protoUDP),
		"icmp":    number(protoICMP, protoICMPv6),
		"icmpv6":  number(protoICMPv6),
		"igmp":    number(2),
		"ipip":    number(4),
		"6in4":    number(41),
		"gre":     number(47),
		"esp":     number(50),
		"ah":      number(protoAH),
		"eigrp":   number(88),
		"ospf":    number(89),
		"pim":     number(103),
		"vrrp":    number(112),
		"l2tp":    number(115),
		"dccp":    number(protoDCCP),
		"sctp":    number(protoSCTP),
		"udplite": number(protoUDPLite),
		"http":    {tcp: port(80, 8080)},
		"https":   {tcp: port(443, 8443), udp: port(443)},
		"dns":     {tcp: port(portDNS), udp: port(portDNS)},
	}
}

// ProtocolNames returns the words that Filter.Protocols knows besides numbers,
// sorted.
func ProtocolNames() []string { return slices.Sorted(maps.Keys(protocolRules())) }

// KnownProtocol says whether Filter.Protocols may hold s.
func KnownProtocol(s string) bool {
	_, ok := ruleOf(protocolRules(), s)
	return ok
}

func ruleOf(known map[string]protocolRule, s string) (protocolRule, bool) {
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		return protocolRule{numbers: []uint8{uint8(n)}}, true
	}
	r, ok := known[strings.ToLower(s)]
	return r, ok
}

// Check returns an error that names the first part of f that has no meaning.
func (f *Filter) Check() error {
	if f == nil {
		return nil
	}
	for _, p := range f.Protocols {
		if !KnownProtocol(p) {
			return fmt.Errorf("unknown protocol %q", p)
		}
	}
	for _, r := range f.IgnorePorts {
		if r.First > r.Last {
			return fmt.Errorf("port range %d-%d runs backwards", r.First, r.Last)
		}
	}
	for _, p := range f.IgnoreNets {
		if !p.IsValid() {
			return fmt.Errorf("invalid prefix %v", p)
		}
	}
	return nil
}

// rules is a Filter in the form that both Allow and the kernel's program are
// made from.
type rules struct {
	any       bool // nothing is left out
	localhost bool // is ignored
	all       bool // protocols count
	protocols [256]bool
	tcp, udp  spans // ports that count where the whole protocol does not
	ports     spans // ignored
	nets4     spans // ignored, 127.0.0.0/8 among them with localhost
	nets6     []netip.Prefix
	first4    [256]bool // nets4 has addresses that begin with this byte
	first6    [256]bool // likewise nets6
}

func (f *Filter) compiled() *rules {
	if f == nil {
		return &rules{any: true, all: true}
	}
	f.once.Do(func() { f.rules = f.compile() })
	return &f.rules
}

func (f *Filter) compile() rules {
	r := rules{localhost: f.IgnoreLocalhost, all: len(f.Protocols) == 0}
	known := protocolRules()
	for _, p := range f.Protocols {
		rule, _ := ruleOf(known, p)
		for _, n := range rule.numbers {
			r.protocols[n] = true
		}
		r.tcp = append(r.tcp, spansOf(rule.tcp)...)
		r.udp = append(r.udp, spansOf(rule.udp)...)
	}
	r.tcp, r.udp, r.ports = r.tcp.merged(), r.udp.merged(), spansOf(f.IgnorePorts).merged()
	nets := slices.Clone(f.IgnoreNets)
	if f.IgnoreLocalhost {
		nets = append(nets, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	}
	for _, n := range nets {
		switch a := n.Addr(); {
		case !n.IsValid():
		case a.Is4():
			r.nets4 = append(r.nets4, spanOf4(a, n.Bits()))
		case a.Is4In6() && n.Bits() >= 96:
			r.nets4 = append(r.nets4, spanOf4(a.Unmap(), n.Bits()-96))
		default:
			r.nets6 = append(r.nets6, n.Masked())
		}
	}
	r.nets4 = r.nets4.merged()
	for _, s := range r.nets4 {
		for b := s.lo >> 24; b <= s.hi>>24; b++ {
			r.first4[b] = true
		}
	}
	for _, n := range r.nets6 {
		lo := int(n.Addr().As16()[0])
		for b := range 1 << max(8-n.Bits(), 0) {
			r.first6[lo+b] = true
		}
	}
	r.any = r.all && !r.localhost && len(r.ports) == 0 && len(r.nets4) == 0 && len(r.nets6) == 0
	return r
}

// NeedsUserCheck says whether Allow must be asked about packets that the
// kernel's program let pass. The program lets some pass that do not count:
// DNS, because names are learned from it, and what it cannot look into.
func (f *Filter) NeedsUserCheck() bool { return !f.compiled().any }

// Allow says whether a packet counts. Addresses are those of the outermost IP
// header, an IPv4 one in its IPv6-mapped form; ports are 0 where there are none.
// The ports of a later fragment are not known: it counts where its protocol may.
//
// What is on loopback devices is left to the kernel's program and, with Count, to
// whoever knows the device.
func (f *Filter) Allow(version, protocol uint8, src, dst [16]byte, sport, dport uint16, laterFragment bool) bool {
	if f == nil {
		return true
	}
	r := f.compiled()
	if r.any {
		return true
	}
	switch {
	case version == 4:
		if r.first4[src[12]] && r.nets4.contain(binary.BigEndian.Uint32(src[12:])) ||
			r.first4[dst[12]] && r.nets4.contain(binary.BigEndian.Uint32(dst[12:])) {
			return false
		}
	case r.first6[src[0]] || r.first6[dst[0]]:
		for _, n := range r.nets6 {
			if n.Contains(netip.AddrFrom16(src)) || n.Contains(netip.AddrFrom16(dst)) {
				return false
			}
		}
	}
	if !laterFragment && hasPorts(protocol) && r.ports.either(sport, dport) {
		return false
	}
	if r.all || r.protocols[protocol] {
		return true
	}
	var some spans
	switch protocol {
	case protoTCP:
		some = r.tcp
	case protoUDP:
		some = r.udp
	}
	return len(some) > 0 && (laterFragment || some.either(sport, dport))
}

func hasPorts(protocol uint8) bool {
	switch protocol {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite:
		return true
	}
	return false
}

// span is the numbers lo to hi, both included.
type span struct{ lo, hi uint32 }

// spans is sorted, and nothing in it touches, once merged.
type spans []span

func spansOf(rs []PortRange) spans {
	var out spans
	for _, r := range rs {
		out = append(out, span{uint32(r.First), uint32(r.Last)})
	}
	return out
}

func spanOf4(a netip.Addr, bits int) span {
	b := a.As4()
	rest := uint32(1<<(32-bits) - 1)
	lo := binary.BigEndian.Uint32(b[:]) &^ rest
	return span{lo, lo | rest}
}

func (s spans) merged() spans {
	s = slices.DeleteFunc(slices.Clone(s), func(r span) bool { return r.lo > r.hi })
	slices.SortFunc(s, func(a, b span) int { return int(int64(a.lo) - int64(b.lo)) })
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && uint64(r.lo) <= uint64(out[n-1].hi)+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
		} else {
			out = append(out, r)
		}
	}
	return out
}

func (s spans) contain(v uint32) bool {
	lo, hi := 0, len(s)
	for lo < hi {
		if mid := (lo + hi) / 2; s[mid].hi < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s) && s[lo].lo <= v
}

func (s spans) either(a, b uint16) bool { return s.contain(uint32(a)) || s.contain(uint32(b)) }
