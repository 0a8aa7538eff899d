package capture

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// settle is how long after an event the kernel is asked for the new state:
	// events come in bursts.
	settle = 50 * time.Millisecond

	// busy bounds how often it is asked while events do not end.
	busy = 300 * time.Millisecond

	// routeLook is how often the default route is looked up, whose changes are
	// not listened to: a router has thousands in a second.
	routeLook = 5 * time.Second

	// look is how often the state is asked for without an event.
	look = time.Minute

	// backlog is how many bytes of events may wait: some thousand, for a host whose
	// containers all end at once.
	backlog = 4 << 20
)

// watcher keeps the table of interfaces and the local addresses up to date.
// Events of the kernel say only that something changed; what there is now is
// asked for, so that a lost event costs nothing.
type watcher struct {
	events *nl.NetlinkSocket
	say    func(string)

	// mu is held while the watcher looks, and by Rings.Change. It guards what it
	// stands above.
	mu        sync.Mutex
	selection selection
	handle    *netlink.Handle
	registry  *registry

	// changed is told after the new table is in place, with the interfaces
	// captured now.
	changed func(*table)

	table atomic.Pointer[table]
	local atomic.Pointer[LocalSet]
	shown atomic.Pointer[map[int]Counted] // what Stats last read, by index

	errors atomic.Uint64 // questions that the kernel did not answer

	started bool
	stop    sync.Once
	quit    chan struct{} // closed to end run
	done    chan struct{} // closed when it has
}

// newWatcher looks once. Its sockets stay in the caller's network namespace.
func newWatcher(s selection, say func(string)) (*watcher, error) {
	w := &watcher{selection: s, registry: newRegistry(), say: say, changed: func(*table) {}, quit: make(chan struct{}), done: make(chan struct{})}
	var err error
	if w.events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR); err != nil {
		return nil, fmt.Errorf("listen to interface events: %w", err)
	}
	if w.events.SetReceiveBufferSize(backlog, true) != nil { // that takes CAP_NET_ADMIN
		_ = w.events.SetReceiveBufferSize(backlog, false) // as far as the host allows; lost events are made up for
	}
	if w.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		w.events.Close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	all, err := devices(w.handle)
	if err == nil {
		err = s.absent(all)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	w.take(all)
	return w, nil
}

func (w *watcher) close() {
	w.stop.Do(func() {
		close(w.quit)
		w.events.Close() // ends a wait
		if w.started {
			<-w.done
		}
		w.handle.Close()
	})
}

// run looks again after events until close.
func (w *watcher) run() {
	defer close(w.done)
	var since time.Time // of the first event not looked at; zero: none
	last := time.Now()
	for {
		wait := look
		switch {
		case !since.IsZero():
			wait = settle
		case w.byRoute():
			wait = routeLook
		}
		timeout := unix.NsecToTimeval(int64(wait))
		w.events.SetReceiveTimeout(&timeout)
		messages, _, err := w.events.Receive()
		select {
		case <-w.quit:
			return
		default:
		}
		w.departed(messages)
		quiet := errors.Is(err, unix.EAGAIN)
		if !quiet && since.IsZero() {
			since = time.Now() // an event, or some were lost
		}
		if err != nil && !quiet && !errors.Is(err, unix.ENOBUFS) {
			w.errors.Add(1)
			w.pause() // whatever it is, it must not make us spin
		}
		if quiet && (!since.IsZero() || time.Since(last) >= wait) || !since.IsZero() && time.Since(since) > busy {
			w.look()
			since, last = time.Time{}, time.Now()
		}
	}
}

// departed notes what devices have counted that are gone: the kernel says it once
// more in their farewell.
func (w *watcher) departed(messages []syscall.NetlinkMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range messages {
		if m.Header.Type != unix.RTM_DELLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		// A port that leaves its bridge says goodbye, too, without counters.
		if l, err := netlink.LinkDeserialize(nil, m.Data); err == nil && l.Attrs().Statistics != nil {
			w.registry.farewell(l.Attrs().Index, countedBy(l.Attrs().Statistics))
		}
	}
}

func (w *watcher) pause() {
	select {
	case <-w.quit:
	case <-time.After(settle):
	}
}

func (w *watcher) byRoute() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.selection.byRoute()
}

func (w *watcher) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, err := devices(w.handle)
	if err != nil {
		w.errors.Add(1)
		w.say(err.Error())
		return
	}
	w.take(all)
}

func (w *watcher) take(all []device) {
	old := w.table.Load()
	for _, d := range all { // what is renamed or not selected any more has not gone
		w.registry.left[d.index] = d.counted
	}
	if shown := w.shown.Load(); shown != nil {
		w.registry.shown = *shown
	}
	t, changes := w.registry.update(w.selection.of(w.handle, all), time.Now())
	w.local.Store(newLocalSet(all))
	w.table.Store(t)
	if old == nil {
		return
	}
	if !slices.Equal(old.indexes(), t.indexes()) {
		w.changed(t)
	}
	for _, c := range changes {
		w.say(c)
	}
}

// rebase has the interfaces' own counters begin now. It is for before run.
func (w *watcher) rebase() error {
	all, err := devices(w.handle)
	if err != nil {
		return err
	}
	for _, d := range all {
		w.registry.rebase(d)
	}
	w.table.Store(w.registry.table(time.Now()))
	return nil
}
