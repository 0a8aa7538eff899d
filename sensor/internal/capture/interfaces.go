package capture

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// Interface is what a Packet's Interface number stands for: a name. An
// interface that goes and comes back under its name keeps its number.
type Interface struct {
	Name      string
	Index     int // the kernel's; of the latest device of this name
	MAC       net.HardwareAddr
	Addresses []netip.Prefix
	Link      uint16 // of the pcap registry, 65535 if it has none that we know
	MTU       int
	Up        bool
	Loopback  bool
	Present   bool // there is such a device now, and it is captured

	base   Counted // by the device before it was captured
	latest Counted // by the device when it was last looked at
	ended  Counted // by former devices of this name while they were captured
}

// counted is what the devices of this name counted while they were captured; now
// is what the present one says.
func (i *Interface) counted(now Counted) Counted { return i.ended.plus(now.since(i.base)) }

const (
	// reuseNumbers is how many interfaces are known before the number of one
	// that is gone is given to another. Hosts of containers make up a new name
	// for each.
	reuseNumbers = 1024

	// forgotten is how long an interface is gone before its number may be
	// reused: longer than any flow on it is kept.
	forgotten = time.Hour

	// stray is how long packets of a device that is gone are still taken from
	// the rings.
	stray = time.Minute
)

// table is what shards need to know of the interfaces. It is never changed: the
// watcher makes a new one.
type table struct {
	list    []Interface      // by number; 0 stands for none
	numbers map[int32]uint16 // by the kernel's index, those just gone included
	refused int              // devices that are selected and got no number
}

func (t *table) interfaceOf(number uint16) Interface {
	if int(number) >= len(t.list) {
		return Interface{}
	}
	i := t.list[number]
	i.Addresses = slices.Clone(i.Addresses)
	return i
}

// indexes returns the kernel's numbers of the interfaces that are captured.
func (t *table) indexes() []int {
	var out []int
	for _, i := range t.list {
		if i.Present {
			out = append(out, i.Index)
		}
	}
	return out
}

// names returns the interfaces that are captured now.
func (t *table) names() []string {
	var out []string
	for _, i := range t.list {
		if i.Present {
			out = append(out, i.Name)
		}
	}
	return out
}

// registry gives the numbers. Only the watcher touches it.
type registry struct {
	list  []Interface
	gone  []time.Time      // by number: since when it is not present; zero: it is
	stray map[int32]leaver // by index of devices that are gone
	left  map[int]Counted  // by index, the last words of devices that went since the latest update
	shown map[int]Counted  // by index, what Stats last read; never changed

	refused int // devices of the latest update that got no number
}

type leaver struct {
	number uint16
	since  time.Time
	last   *Counted // what it is taken to have counted until its farewell comes; nil: it came
}

func newRegistry() *registry {
	return &registry{list: make([]Interface, 1), gone: make([]time.Time, 1), stray: map[int32]leaver{}, left: map[int]Counted{}}
}

// update takes the devices captured now, and says in words what is different.
func (r *registry) update(ds []device, now time.Time) (t *table, changes []string) {
	old := slices.Clone(r.list)
	for n := range r.list {
		r.list[n].Present = false
	}
	r.refused = 0
	for _, d := range ds {
		n := r.number(d.name, now)
		if n == 0 {
			r.refused++
			changes = append(changes, "interface "+d.name+" is not captured: there are too many")
			continue
		}
		was := Interface{}
		if int(n) < len(old) && old[n].Name == d.name {
			was = old[n]
		}
		is := Interface{Name: d.name, Index: d.index, MAC: d.mac, Addresses: d.addresses, Link: d.link, MTU: d.mtu,
			Up: d.up, Loopback: d.loopback, Present: true, base: was.base, latest: d.counted, ended: was.ended}
		if !was.Present || was.Index != is.Index {
			is.base = d.counted
		}
		r.list[n] = is
		delete(r.stray, int32(d.index))
	}
	for n := 1; n < len(r.list); n++ {
		was := Interface{}
		if n < len(old) {
			was = old[n]
		}
		is := r.list[n]
		changes = append(changes, change(was, is)...)
		if was.Present && (!is.Present || is.Index != was.Index) {
			gone := leaver{number: uint16(n), since: now}
			last, heard := r.left[was.Index]
			// A veth has already forgotten what it received as it says goodbye.
			last = last.Most(was.latest).Most(r.shown[was.Index])
			if !heard {
				gone.last = &last
			}
			r.stray[int32(was.Index)] = gone
			r.list[n].ended = was.counted(last)
		}
		switch {
		case is.Present:
			r.gone[n] = time.Time{}
		case was.Present:
			r.gone[n] = now
		}
	}
	clear(r.left)
	return r.table(now), changes
}

// farewell takes what a device says it has counted as it goes. The kernel may not
// list it any more before we read this: what it counted meanwhile is added.
func (r *registry) farewell(index int, counted Counted) {
	l, late := r.stray[int32(index)]
	if !late || l.last == nil {
		r.left[index] = counted
		return
	}
	i := &r.list[l.number]
	i.ended = i.ended.plus(counted.since(*l.last))
	l.last = nil
	r.stray[int32(index)] = l
}

func change(was, is Interface) []string {
	name := "interface " + is.Name
	switch {
	case !was.Present && is.Present && !is.Up:
		return []string{name + " appeared, down"}
	case !was.Present && is.Present:
		return []string{name + " appeared"}
	case was.Present && !is.Present:
		return []string{name + " is gone"}
	case was.Present && is.Present && was.Index != is.Index:
		return []string{name + " was made anew"}
	case was.Present && is.Present && was.Up != is.Up:
		return []string{name + map[bool]string{true: " is up", false: " is down"}[is.Up]}
	}
	return nil
}

// number finds the number of a name, or gives it one; 0 if there is none left.
func (r *registry) number(name string, now time.Time) uint16 {
	free := 0
	for n := 1; n < len(r.list); n++ {
		if r.list[n].Name == name {
			return uint16(n)
		}
		if free == 0 && !r.gone[n].IsZero() && now.Sub(r.gone[n]) > forgotten {
			free = n
		}
	}
	if free != 0 && len(r.list) > reuseNumbers {
		r.gone[free] = time.Time{} // the next one gets another
		return uint16(free)
	}
	if len(r.list) > 0xffff {
		return 0
	}
	r.list, r.gone = append(r.list, Interface{}), append(r.gone, time.Time{})
	return uint16(len(r.list) - 1)
}

// rebase has the counters of a device begin now.
func (r *registry) rebase(d device) {
	for n := range r.list {
		if i := &r.list[n]; i.Present && i.Index == d.index {
			i.base, i.latest = d.counted, d.counted
		}
	}
}

func (r *registry) table(now time.Time) *table {
	t := &table{list: slices.Clone(r.list), numbers: map[int32]uint16{}, refused: r.refused}
	for index, l := range r.stray {
		if now.Sub(l.since) > stray {
			delete(r.stray, index)
			continue
		}
		t.numbers[index] = l.number
	}
	for n, i := range t.list {
		if i.Present {
			t.numbers[int32(i.Index)] = uint16(n)
		}
	}
	return t
}

// LocalSet is the addresses of this host. It is never changed.
type LocalSet struct {
	addresses map[[16]byte]struct{}
}

func newLocalSet(ds []device) *LocalSet {
	s := &LocalSet{addresses: map[[16]byte]struct{}{}}
	for _, d := range ds {
		for _, p := range d.addresses {
			s.addresses[p.Addr().As16()] = struct{}{}
		}
	}
	return s
}

// Contains says whether the address, an IPv4 one in its IPv6-mapped form, is one
// of an interface of this host, captured or not, or a loopback address.
func (s *LocalSet) Contains(address [16]byte) bool {
	if _, ok := s.addresses[address]; ok {
		return true
	}
	return netip.AddrFrom16(address).Unmap().IsLoopback()
}

// Len is the number of addresses.
func (s *LocalSet) Len() int { return len(s.addresses) }
