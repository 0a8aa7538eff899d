package capture

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

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
