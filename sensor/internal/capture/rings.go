package capture

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
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

// opener opens an engine, and returns what peek finds in it.
type opener func(ringSize) (e engine, fd int, ring []byte, err error)

func openRings(o Options, open opener) (*Rings, error) {
	r := &Rings{options: o}
	if r.options.Event == nil {
		r.options.Event = func(string) {}
	}
	if err := r.settle(); err != nil {
		return nil, err
	}
	var err error
	if r.watcher, err = newWatcher(selection(o.Interfaces), r.options.Event); err != nil {
		return nil, err
	}
	if err := r.open(open); err != nil {
		for _, s := range r.sockets {
			s.close()
		}
		r.Close()
		return nil, err
	}
	if len(r.watcher.table.Load().indexes()) == 0 {
		r.note("no interface to capture yet: none matches %s", r.wanted())
	}
	r.watcher.changed = r.follow
	r.watcher.started = true
	go r.watcher.run()
	return r, nil
}

// settle fills in defaults and cuts the memory into rings.
func (r *Rings) settle() error {
	o := &r.options
	var known bool
	if r.mode, known = fanoutMode(o.Fanout); !known {
		return fmt.Errorf("unknown fanout %q: hash, cpu or queue", o.Fanout)
	}
	if err := errors.Join(selection(o.Interfaces).check(), o.Filter.Check()); err != nil {
		return err
	}
	if o.RingMemory <= 0 {
		o.RingMemory = defaultRingMemory
	}
	if o.BlockTimeout <= 0 {
		o.BlockTimeout = defaultBlockTimeout
	}
	asked := o.Shards
	var all int64
	o.Shards, all = Plan(o.Shards, o.RingMemory)
	r.size = ringSize{block: blockSize, timeout: max(o.BlockTimeout, time.Millisecond),
		blocks: int(all / int64(o.Shards) / blockSize)}
	if asked > o.Shards {
		r.note("%d shards instead of %d: ring memory of %d MiB and a bound of %d", o.Shards, asked, o.RingMemory>>20, maxShards)
	}
	if used := r.memory(); used > o.RingMemory {
		r.note("ring memory of %d KiB is too small: %d MiB is used", o.RingMemory>>10, used>>20)
	}
	return nil
}

// Plan says how many shards OpenRings makes and how many bytes their rings take,
// where the kernel has them.
func Plan(shards int, memory int64) (int, int64) {
	if memory <= 0 {
		memory = defaultRingMemory
	}
	if shards <= 0 {
		shards = min(runtime.NumCPU(), maxShards)
	}
	blocks := memory / blockSize
	shards = int(min(int64(shards), maxShards, max(blocks/minBlocks, 1)))
	return shards, int64(shards) * max(blocks/int64(shards), minBlocks) * blockSize
}

func (r *Rings) memory() int64 {
	return int64(r.size.block) * int64(r.size.blocks) * int64(r.options.Shards)
}

func (r *Rings) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *Rings) wanted() string {
	if len(r.options.Interfaces) == 0 {
		return "the default route"
	}
	return strings.Join(r.options.Interfaces, ", ")
}

// open makes the sockets. The order keeps foreign packets out: each takes
// nothing until it is in the fanout group, and what the first instants let in is
// told by its time stamp.
func (r *Rings) open(open opener) error {
	if err := r.openSockets(open); err != nil {
		return err
	}
	if len(r.sockets) > 1 {
		var err error
		if r.group, err = joinAll(r.sockets, r.mode); err != nil {
			return err
		}
	}
	if r.options.Promiscuous {
		var err error
		if r.promisc, err = openPromiscuity(); err != nil {
			return err
		}
	}
	for _, s := range r.sockets {
		s.begin()
	}
	t := r.watcher.table.Load()
	if err := r.attach(t); err != nil {
		return err
	}
	since, cpus := time.Now().UnixNano(), allowedCPUs()
	for i, s := range r.sockets {
		cpu := -1
		if r.options.PinThreads && len(cpus) > 0 {
			cpu = cpus[i%len(cpus)]
		}
		r.sources = append(r.sources, newRingSource(s, i, &r.watcher.table, since, cpu))
	}
	return r.watcher.rebase()
}

// openSockets halves the rings as long as the kernel has no memory for them.
func (r *Rings) openSockets(open opener) error {
	for {
		err := r.trySockets(open)
		if err == nil || !errors.Is(err, errMemory) {
			return err
		}
		for _, s := range r.sockets {
			s.close()
		}
		r.sockets = nil
		before := r.memory()
		switch {
		case r.size.blocks > minBlocks:
			r.size.blocks = max(r.size.blocks/2, minBlocks)
		case r.options.Shards > 1:
			r.options.Shards /= 2
		default:
			return err
		}
		r.note("the kernel has no room for %d MiB of rings: %d shards with %d MiB in all",
			before>>20, r.options.Shards, r.memory()>>20)
	}
}

func (r *Rings) trySockets(open opener) error {
	for range r.options.Shards {
		e, fd, ring, err := open(r.size)
		if err != nil {
			return err
		}
		s := &socket{engine: e, fd: fd, ring: ring, size: r.size}
		r.sockets = append(r.sockets, s)
		if err := s.setFilter(dropAll()); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(r.sockets, func(s *socket) bool { return s.fd < 0 }) {
		r.note("the capture library is not the one we know: packets are read one by one, without their direction")
	}
	return nil
}

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
