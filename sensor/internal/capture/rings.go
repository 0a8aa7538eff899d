package capture

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Options say what OpenRings captures and with what means. The zero value
// captures all that goes over the default route.
type Options struct {
	// Interfaces are names and globs; without any it is where the default route
	// goes, wherever that is at the time.
	Interfaces []string

	Shards       int           // 0: one per CPU, at most 16
	Fanout       string        // "hash" (the default), "cpu" or "queue"
	RingMemory   int64         // bytes for all shards together; 0: 64 MiB
	BlockTimeout time.Duration // the longest wait in a ring, about; 0: 64 ms

	Promiscuous bool
	FullPackets bool // keep all of each packet, not only what names may need
	PinThreads  bool // each shard on a thread and a CPU of its own

	Filter *Filter // nil: all packets

	// Event, if set, is told what becomes of the interfaces, in words for a log.
	// It is called by one goroutine at a time.
	Event func(text string)
}

const (
	defaultRingMemory   = 64 << 20
	defaultBlockTimeout = 64 * time.Millisecond
	maxShards           = 16
	minBlocks           = 2 // one to read while the other fills
)

// Rings are the sockets of one capture: one per shard, each of which hears all
// devices and by its filter takes those that are captured. So interfaces come,
// go and are renamed without a socket being opened or closed.
type Rings struct {
	options Options
	size    ringSize
	mode    int
	group   uint16
	sockets []*socket
	sources []*ringSource
	watcher *watcher
	promisc *promiscuity
	notes   []string
	refused atomic.Uint64 // changes that the kernel did not take

	mu        sync.Mutex // guards what the watcher changes and Describe reads
	program   []bpf.Instruction
	closeOnce sync.Once
}

// OpenRings opens one ring per shard. The error is an ErrPrivilege where the
// process may not, and a *NoInterfaceError where an interface named in full does
// not exist.
func OpenRings(o Options) (*Rings, error) { return openRings(o, openEngine) }

// attach compiles the filter for the interfaces of t and gives it to all
// sockets.
func (r *Rings) attach(t *table) error {
	indexes := t.indexes()
	p := r.options.Filter.Program(indexes, r.options.FullPackets)
	r.mu.Lock()
	r.program = p
	r.mu.Unlock()
	var errs []error
	for _, s := range r.sockets {
		errs = append(errs, s.setFilter(p))
	}
	if r.promisc != nil {
		errs = append(errs, r.promisc.set(indexes))
	}
	return errors.Join(errs...)
}

// follow is called by the watcher when other interfaces are to be captured.
func (r *Rings) follow(t *table) {
	if err := r.attach(t); err != nil {
		r.refused.Add(1)
		r.options.Event(err.Error())
	}
}

// Sources returns the rings, one per shard. Each is closed by who reads it.
func (r *Rings) Sources() []Source {
	var out []Source
	for _, s := range r.sources {
		out = append(out, s)
	}
	return out
}

// Interface says what the number in a Packet stands for; the zero Interface
// where it stands for none.
func (r *Rings) Interface(number uint16) Interface { return r.watcher.table.Load().interfaceOf(number) }

// Loopback tells whether the number in a Packet stands for a loopback interface.
func (r *Rings) Loopback(number uint16) bool {
	t := r.watcher.table.Load()
	return int(number) < len(t.list) && t.list[number].Loopback
}

// MTU returns the largest IP packet that an interface sends, by its number in a
// Packet; 0 where it is not known.
func (r *Rings) MTU(number uint16) int {
	t := r.watcher.table.Load()
	if int(number) >= len(t.list) {
		return 0
	}
	return t.list[number].MTU
}

// Interfaces returns all that were ever captured by number, which is the index
// into them; the first is none.
func (r *Rings) Interfaces() []Interface {
	t := r.watcher.table.Load()
	out := make([]Interface, len(t.list))
	for n := range out {
		out[n] = t.interfaceOf(uint16(n))
	}
	return out
}

// Names returns the interfaces captured now.
func (r *Rings) Names() []string { return r.watcher.table.Load().names() }

// Local returns the addresses of this host as they are now.
func (r *Rings) Local() *LocalSet { return r.watcher.local.Load() }

// Notes says in words where OpenRings could not do what it was asked.
func (r *Rings) Notes() []string { return slices.Clone(r.notes) }

// Close ends the watching of interfaces, and promiscuous mode. The rings stay
// until their readers close them.
func (r *Rings) Close() error {
	r.closeOnce.Do(func() {
		r.watcher.close()
		if r.promisc != nil {
			r.promisc.close()
		}
	})
	return nil
}

// Describe tells how the capture is set up, line by line, for debugging.
func (r *Rings) Describe() []string {
	lines := []string{fmt.Sprintf("%d rings of %d blocks of %d KiB, handed over after %v", len(r.sockets), r.size.blocks, r.size.block>>10, r.size.timeout)}
	if len(r.sockets) > 1 {
		name := r.options.Fanout
		if name == "" {
			name = "hash"
		}
		lines = append(lines, fmt.Sprintf("fanout group %d, by %s", r.group, name))
	}
	for i, s := range r.sockets {
		lines = append(lines, fmt.Sprintf("ring %d: descriptor %d, read in blocks: %v", i, s.fd, s.ring != nil))
	}
	for n, i := range r.Interfaces() {
		if n == 0 {
			continue
		}
		lines = append(lines, fmt.Sprintf("interface %d: %s, index %d, link type %d, present %v, up %v, addresses %s",
			n, i.Name, i.Index, i.Link, i.Present, i.Up, prefixes(i.Addresses)))
	}
	r.mu.Lock()
	program := r.program
	r.mu.Unlock()
	lines = append(lines, fmt.Sprintf("filter of %d instructions:", len(program)))
	for i, in := range program {
		lines = append(lines, fmt.Sprintf("%4d %v", i, in))
	}
	return lines
}

func prefixes(ps []netip.Prefix) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return strings.Join(out, " ")
}

// allowedCPUs are those that this process may run on.
func allowedCPUs() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil
	}
	var out []int
	for i := range 64 * len(set) {
		if set.IsSet(i) {
			out = append(out, i)
		}
	}
	return out
}
