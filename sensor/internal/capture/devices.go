package capture

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// device is an interface as the kernel lists it.
type device struct {
	index     int
	name      string
	mac       net.HardwareAddr
	addresses []netip.Prefix
	link      uint16
	up        bool
	loopback  bool
	mtu       int
	counted   Counted
}

// Counted is what an interface itself counted: link-layer bytes, by the driver's
// ideas of what belongs to a packet.
type Counted struct {
	RxPackets, TxPackets, RxBytes, TxBytes uint64
}

// since returns what was counted after a former reading, nothing where the
// counters went back.
func (c Counted) since(was Counted) Counted {
	less := func(a, b uint64) uint64 { return a - min(a, b) }
	return Counted{less(c.RxPackets, was.RxPackets), less(c.TxPackets, was.TxPackets), less(c.RxBytes, was.RxBytes), less(c.TxBytes, was.TxBytes)}
}

func (c Counted) plus(d Counted) Counted {
	return Counted{c.RxPackets + d.RxPackets, c.TxPackets + d.TxPackets, c.RxBytes + d.RxBytes, c.TxBytes + d.TxBytes}
}

// Most returns the larger of each of two readings: where a counter went back, the
// former one.
func (c Counted) Most(d Counted) Counted {
	return Counted{max(c.RxPackets, d.RxPackets), max(c.TxPackets, d.TxPackets), max(c.RxBytes, d.RxBytes), max(c.TxBytes, d.TxBytes)}
}

func countedBy(s *netlink.LinkStatistics) Counted {
	if s == nil {
		return Counted{}
	}
	return Counted{s.RxPackets, s.TxPackets, s.RxBytes, s.TxBytes}
}

// devices asks the kernel for all interfaces and their addresses.
func devices(h *netlink.Handle) ([]device, error) {
	links, err := h.LinkList()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		links, err = h.LinkList() // something changed meanwhile; the next event tells of more
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	addresses, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	byIndex := map[int][]netip.Prefix{}
	for _, a := range addresses {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		ones, _ := a.Mask.Size()
		byIndex[a.LinkIndex] = append(byIndex[a.LinkIndex], netip.PrefixFrom(ip, min(ones, ip.BitLen())))
	}
	var out []device
	for _, l := range links {
		a := l.Attrs()
		d := device{
			index: a.Index, name: a.Name, mac: a.HardwareAddr, addresses: byIndex[a.Index], link: linkOfEncap(a.EncapType),
			up: a.RawFlags&unix.IFF_UP != 0, loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
			mtu: a.MTU, counted: countedBy(a.Statistics),
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b device) int { return a.index - b.index })
	return out, nil
}

// linkOfEncap is linkOf for the names that netlink has for hardware types.
func linkOfEncap(encap string) uint16 {
	switch encap {
	case "ether", "loopback":
		return linkEthernet
	case "none", "void", "ppp", "unknown519", "ipip", "tunnel6", "sit", "gre", "unknown823": // as linkOf
		return linkRaw
	}
	return linkUnknown
}

// selection is which interfaces are captured: names and globs, or, where there
// are none, those that the default routes go through.
type selection []string

func (s selection) byRoute() bool { return len(s) == 0 }

func (s selection) check() error {
	for _, p := range s {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return fmt.Errorf("interface pattern %q: %w", p, path.ErrBadPattern)
		}
	}
	return nil
}

func isGlob(p string) bool { return strings.ContainsAny(p, `*?[\`) }

func (s selection) matches(name string) bool {
	return slices.ContainsFunc(s, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// of returns the devices selected.
func (s selection) of(h *netlink.Handle, all []device) []device {
	var routed []int
	if s.byRoute() {
		routed = defaultDevices(h)
	}
	var out []device
	for _, d := range all {
		if s.matches(d.name) || s.byRoute() && !d.loopback && slices.Contains(routed, d.index) {
			out = append(out, d)
		}
	}
	return out
}

// absent returns an error that names the first full name nothing is called.
func (s selection) absent(all []device) error {
	names := namesOf(all)
	for _, p := range s {
		if !isGlob(p) && !slices.Contains(names, p) {
			return newNoInterfaceError(p, names)
		}
	}
	return nil
}

func namesOf(ds []device) []string {
	var out []string
	for _, d := range ds {
		out = append(out, d.name)
	}
	return out
}

// defaultDevices asks the routing table for the way to the root name servers, by
// which nothing is sent. Unlike a list of the routes it stays cheap beside a
// million of them, and it knows of policy routing and of halves of a default.
func defaultDevices(h *netlink.Handle) []int {
	var out []int
	for _, far := range []net.IP{net.IPv4(198, 41, 0, 4), net.ParseIP("2001:503:ba3e::2:30")} {
		routes, err := h.RouteGet(far)
		if err != nil {
			continue // no route: nothing goes there
		}
		for _, r := range routes {
			out = append(out, r.LinkIndex)
		}
	}
	return out
}

// Match returns the names of the interfaces that exist and that the patterns
// select, none of them where only globs and routes are asked for and nothing
// matches yet. It needs no privilege. The error is a *NoInterfaceError where a
// pattern is a full name and nothing has it.
func Match(patterns []string) ([]string, error) {
	s := selection(patterns)
	if err := s.check(); err != nil {
		return nil, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	all, err := devices(h)
	if err != nil {
		return nil, err
	}
	return namesOf(s.of(h, all)), s.absent(all)
}
