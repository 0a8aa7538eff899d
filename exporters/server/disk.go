package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	// maxBatch bounds what one sync makes durable, maxWaiting who waits for it.
	maxBatch   = 16 << 20
	maxWaiting = 256

	// A checkpoint is made when the journal has grown beyond the checkpoint before
	// it, and beyond this.
	minCheckpoint = 16 << 20

	// retryAfter is when a sensor should try again, and how often a store that
	// cannot write looks whether it can.
	retryAfter = time.Second
)

// disk is a memory whose every change is in a journal on the disk before it is
// seen, and a checkpoint of all sensors now and then. What is shown or acknowledged
// survives a kill and a loss of power.
//
// The goroutine commit is the only one that writes, to the journal and then to the
// memory; it makes what many sensors sent durable with one sync.
type disk struct {
	memory
	folder string
	lock   *os.File
	create files
	codec  *codec
	logger hclog.Logger

	queue chan *order
	done  chan struct{} // closed when commit has ended
	quit  chan struct{} // closed to end it
	once  sync.Once

	journal    *journal // of commit
	generation uint64   // of commit: number of the journal
	base       int64    // of commit: bytes of the newest checkpoint
	grown      int64    // of commit: bytes of all journals since
	checkpoint chan int64
	making     bool // of commit: a checkpoint is being made
	unsettled  bool // of commit: a checkpoint has to come before anything else

	soon    atomic.Bool            // a checkpoint is due, however short the journal is
	trouble atomic.Pointer[string] // why nothing can be written; nil: it can

	journaled, syncs, failures, checkpoints atomic.Uint64
}

// order is something that has to be in the journal before it happens.
type order struct {
	change *change
	body   []byte
	remove string
	silent bool // remove only if it is still to be swept
	reply  chan<- result
}

type result struct {
	held  ack
	known bool // remove
	err   error
}

const (
	recordChange byte = 'c'
	recordRemove byte = 'r'
)

// openDisk reads what is in a folder, which is made if need be, and locks it.
func openDisk(folder string, l limits, now func() time.Time, create files, logger hclog.Logger) (*disk, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFolder(folder)
	if err != nil {
		return nil, err
	}
	c, err := newCodec()
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	d := &disk{
		memory: memory{state: newState(l, now)},
		folder: folder, lock: lock, create: create, codec: c, logger: logger,
		queue: make(chan *order, maxWaiting), done: make(chan struct{}), quit: make(chan struct{}),
		checkpoint: make(chan int64, 1),
	}
	d.state.listening = now()
	if err = d.load(); err == nil {
		err = d.begin()
	}
	if err != nil {
		c.close()
		_ = lock.Close()
		return nil, err
	}
	go d.commit()
	return d, nil
}

// lockFolder holds the folder as long as the process lives, whatever ends it.
func lockFolder(folder string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by another server", folder)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

func (d *disk) path(kind string, generation uint64) string {
	return filepath.Join(d.folder, fmt.Sprintf("%s-%016x", kind, generation))
}

func (d *disk) apply(ctx context.Context, w *netmonpb.Window) (ack, error) {
	return d.take(ctx, &change{window: w})
}

func (d *disk) install(ctx context.Context, s *netmonpb.Snapshot) (ack, error) {
	return d.take(ctx, &change{snapshot: s})
}

func (d *disk) take(ctx context.Context, c *change) (ack, error) {
	body, err := d.codec.body(c)
	if err != nil {
		return ack{}, err
	}
	r := d.order(ctx, &order{change: c, body: body})
	return r.held, r.err
}

func (d *disk) remove(ctx context.Context, id string) (known bool, err error) {
	r := d.order(ctx, &order{remove: id})
	return r.known, r.err
}

func (d *disk) sweep(ctx context.Context) (forgotten []string, err error) {
	var silent []string
	d.read(func(s *state) { silent = s.silent() })
	for _, id := range silent {
		r := d.order(ctx, &order{remove: id, silent: true})
		if r.err != nil {
			return forgotten, r.err
		}
		if r.known {
			forgotten = append(forgotten, id)
		}
	}
	return forgotten, nil
}

// order hands an order to commit and waits. Who gives up waiting may find it
// carried out later; a repeat is harmless.
func (d *disk) order(ctx context.Context, o *order) result {
	reply := make(chan result, 1)
	o.reply = reply
	select {
	case d.queue <- o:
	case <-d.quit:
		return result{err: d.unavailable("the server is shutting down")}
	case <-ctx.Done():
		return result{err: d.unavailable(ctx.Err().Error())}
	}
	select {
	case r := <-reply:
		return r
	case <-d.done:
		return result{err: d.unavailable("the server is shutting down")}
	case <-ctx.Done():
		return result{err: d.unavailable(ctx.Err().Error())}
	}
}

func (d *disk) unavailable(why string) error {
	r := refuse(codeUnavailable, "storage: %s", why)
	r.after = retryAfter
	return r
}

func (d *disk) ready() error {
	if why := d.trouble.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// close makes a last checkpoint, so that the next start is quick, and lets go of
// the folder.
func (d *disk) close() error {
	d.once.Do(func() { close(d.quit) })
	<-d.done
	if d.making {
		<-d.checkpoint
	}
	var err error
	if d.trouble.Load() == nil {
		if err = d.rotate(); err == nil {
			_, err = d.write(d.generation)
		}
	}
	err = errors.Join(err, d.journal.file.Close(), d.lock.Close())
	d.codec.close()
	return err
}

func (d *disk) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(d, out) }

func (d *disk) Collect(out chan<- prometheus.Metric) {
	counter := func(name, help string, n *atomic.Uint64) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("netmon_server_store_"+name, help, nil, nil),
			prometheus.CounterValue, float64(n.Load()))
	}
	counter("journal_bytes_total", "Bytes written to the journal.", &d.journaled)
	counter("syncs_total", "Times the journal was made durable; one serves all sensors that wait.", &d.syncs)
	counter("checkpoints_total", "Checkpoints made.", &d.checkpoints)
	counter("failures_total", "Times the store could not be read or written.", &d.failures)
}
