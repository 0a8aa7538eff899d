package windowlog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// DiskOptions configure a Disk.
type DiskOptions struct {
	SensorID string
	Dir      string // made with mode 0700 where it is missing
	// MaxBytes bounds the file, if it has 1 MiB or more; DefaultMaxBytes where 0. The
	// windows have what the snapshot leaves of it.
	MaxBytes int64
	// Sync is how long windows may wait to be written together; 0 is not at all.
	Sync time.Duration
	// MaxRows and IdleTimeout are those of the views: how many rows of an earlier
	// sensor are kept, and for how long.
	MaxRows     int
	IdleTimeout time.Duration
	Logger      hclog.Logger
	Now         func() time.Time // default time.Now

	intercept func(write func() error) error // tests make disks fail with it
}

const (
	fileName    = "log.db"
	lockName    = "lock"
	damagedName = "log.db.damaged"

	// slow is how long a write may take before the log calls the disk refusing.
	slow = 5 * time.Second
	// Pauses between attempts to write to a disk that refuses.
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
	// patience bounds Close and Release, each.
	patience = 2 * time.Second
)

// ErrInUse is Open's for a directory that another sensor has open.
var ErrInUse = errors.New("another sensor uses it")

// errSlow is why a log that hangs in a write is gathering.
var errSlow = errors.New("a write does not come back")

var _ Log = (*Disk)(nil)

// Disk is a Log that outlives the process: a sensor that opens it goes on with its
// id, sequence, chain and totals.
//
// Append does not wait. One goroutine writes what was appended, in batches, and
// offers a window to exporters when it is on disk, synced; so what anybody outside
// has seen is there after a power cut. While the disk refuses, windows add up in
// memory, and whoever asks is told.
type Disk struct {
	core
	options DiskOptions
	logger  hclog.Logger
	lock    *os.File
	heir    succession
	gather  gather

	doubt bool // what is in the file; the writer's own

	stop    chan struct{} // closed by Close
	written chan struct{} // closed by the writer: nothing more will be written by it

	state sync.Mutex // guards what follows
	fails bool
	cause error
	began time.Time // of the write that is under way; zero: none is
	count uint64    // of errors
	ended bool      // Append is refused
}

// Open opens the log in a directory, or begins one. A file that is damaged is set
// aside as log.db.damaged. The error is ErrInUse, or says what to do.
func Open(o DiskOptions) (*Disk, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.intercept == nil {
		o.intercept = func(write func() error) error { return write() }
	}
	if o.MaxRows <= 0 {
		o.MaxRows = 1 << 30
	}
	d := &Disk{
		options: o, logger: o.Logger, stop: make(chan struct{}), written: make(chan struct{}),
	}
	d.gather.known = d.has
	d.gather.wakes = make(chan struct{}, 1)
	err := os.MkdirAll(o.Dir, 0o700)
	if err == nil {
		d.lock, err = lockDir(o.Dir)
	}
	if err == nil {
		err = d.open()
	}
	if err != nil {
		d.unlock()
		return nil, fmt.Errorf("log in %s: %w", o.Dir, err)
	}
	go d.write()
	return d, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := openPlain(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if err == syscall.EWOULDBLOCK {
			err = ErrInUse
		}
		return nil, err
	}
	return f, nil
}

func (d *Disk) unlock() {
	if d.lock != nil {
		_ = d.lock.Close()
		d.lock = nil
	}
}

func (d *Disk) path() string { return filepath.Join(d.options.Dir, fileName) }

// bound is what the file may grow to, mostly.
func (d *Disk) bound() int64 { return max(d.options.MaxBytes, 1<<20) }

func (d *Disk) open() error {
	s, was, err := openBolt(d.path(), d.options.MaxBytes, d.bound())
	if err == nil && was != nil {
		if err = d.restore(s, was); err != nil {
			_ = s.close()
		}
	}
	if errors.As(err, new(damageError)) {
		s, was, err = nil, nil, d.setAside(err)
	}
	if err != nil || was != nil {
		return err
	}
	now := d.options.Now()
	d.begin(newID(), d.options.SensorID, now, nil)
	if s != nil {
		_ = s.close() // made, but never written to
	}
	return d.rewrite(d.bound())
}

// setAside moves a damaged file out of the way. One is kept.
func (d *Disk) setAside(damage error) error {
	d.logger.Error("the log is damaged: a new one begins, and windows that exporters had yet to be sent are lost",
		"error", damage, "kept", filepath.Join(d.options.Dir, damagedName))
	d.count++
	return os.Rename(d.path(), filepath.Join(d.options.Dir, damagedName))
}

// restore takes over what a file says: the snapshot, and what the windows after it
// add.
func (d *Disk) restore(s *boltStore, was *stored) error {
	snap := was.snapshot
	if snap.SensorId != d.options.SensorID {
		return fmt.Errorf("it is the log of sensor %q, this one is %q: give the sensor that id, another state_dir, or move the directory away", snap.SensorId, d.options.SensorID)
	}
	if len(snap.LogId) != 16 {
		return damage("log id of %d bytes", len(snap.LogId))
	}
	d.begin(snap.LogId, snap.SensorId, time.Unix(0, int64(snap.CreatedNs)), s)
	s.found = d.tellDamage
	d.last = head{snap.Sequence, snap.EndNs, snap.Chain, snap.Ledger}
	if d.last.ledger == nil {
		d.last.ledger = &netmonpb.Ledger{}
	}
	d.totals.Apply(snap.Rows)
	if err := d.replay(s, was); err != nil {
		return err
	}
	d.folded = was.first - 1
	d.sizes = was.sizes
	for _, size := range was.sizes {
		d.bytes += int64(size)
	}
	for name, n := range was.cursors {
		d.cursors[name] = min(n, d.last.sequence)
	}
	now := d.options.Now()
	d.heir = succession{
		maxRows: d.options.MaxRows, idle: int64(d.options.IdleTimeout),
		opened: now.UnixNano(), ended: int64(d.last.end), clean: was.clean,
	}
	if d.last.sequence > 0 {
		d.heir.inherit(d.totals.Rows())
		d.logger.Info("going on with the log", "window", d.last.sequence+1, "ended", time.Unix(0, int64(d.last.end)).UTC().Format(time.RFC3339),
			"gap", max(now.Sub(time.Unix(0, int64(d.last.end))), 0).Round(time.Millisecond), "stopped in order", was.clean)
	}
	return nil
}

// replay adds up the windows after the snapshot. Each must follow from the one
// before it.
func (d *Disk) replay(s *boltStore, was *stored) error {
	for n := d.last.sequence + 1; n < was.first+uint64(len(was.sizes)); n++ {
		w, err := read(s, n)
		if err != nil {
			return damage("window %d: %w", n, err)
		}
		if !bytes.Equal(w.PreviousChain, d.last.chain) || !bytes.Equal(w.LogId, d.id) {
			return damage("window %d does not follow window %d", n, n-1)
		}
		if err := rows.Verify(w); err != nil {
			return damageError{err}
		}
		d.totals.Apply(w.Rows)
		d.last = head{w.Sequence, w.EndNs, w.Chain, w.Ledger}
	}
	return nil
}

func (d *Disk) has(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.totals.Has(key)
}

// rewrite begins a new file, in which the snapshot stands for every window so far:
// when a write went wrong in a way after which nobody knows what is on the disk.
// Exporters that were behind are sent the snapshot. The file may grow to bound.
func (d *Disk) rewrite(bound int64) error {
	snap := d.Snapshot()
	d.mu.Lock()
	b := &batch{first: snap.Sequence + 1, snapshot: snap, cursors: d.cursors}
	old := d.store
	d.mu.Unlock()
	s, err := rewriteBolt(d.path(), d.options.MaxBytes, bound, b)
	if err != nil {
		d.doubt = true // which file it is
		return err
	}
	s.found = d.tellDamage
	d.mu.Lock()
	d.store = s
	d.foldTo(snap.Sequence)
	d.mu.Unlock()
	if old != nil {
		go old.close() // it may hang
	}
	return nil
}

// Close implements Log. It waits for the disk, but not for long.
func (d *Disk) Close() error {
	d.state.Lock()
	if d.ended {
		d.state.Unlock()
		return nil
	}
	d.ended = true
	d.state.Unlock()
	close(d.stop)
	select {
	case <-d.written:
	case <-time.After(patience):
	}
	d.end()
	if n := d.gather.gathered(); n > 0 {
		return fmt.Errorf("%d windows are not in the log and will be lost: %w", n, cmp.Or(d.refusal(), errSlow))
	}
	return nil
}

// Release implements Log.
func (d *Disk) Release() error {
	released := make(chan error, 1)
	go func() {
		<-d.written
		var err error
		if d.gather.gathered() == 0 {
			err = d.settle(nil, true)
		}
		released <- errors.Join(err, d.store.close())
	}()
	select {
	case err := <-released:
		d.unlock()
		return err
	case <-time.After(patience):
		return fmt.Errorf("close the log: %w", cmp.Or(d.refusal(), errSlow)) // the lock ends with the process
	}
}

// refusal is why the disk does not take what it is given; nil while it does.
func (d *Disk) refusal() error {
	d.state.Lock()
	defer d.state.Unlock()
	switch {
	case d.fails:
		return d.cause
	case !d.began.IsZero() && d.options.Now().Sub(d.began) > slow:
		return errSlow
	}
	return nil
}

// Stats implements Log.
func (d *Disk) Stats() Stats {
	s := d.core.Stats()
	s.Gathered, s.Refused = d.gather.gathered(), d.refusal()
	d.state.Lock()
	defer d.state.Unlock()
	s.Errors = d.count
	return s
}
