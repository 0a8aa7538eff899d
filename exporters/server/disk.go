package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// generations lists the numbers of the files of a kind, in order.
func (d *disk) generations(kind string) ([]uint64, error) {
	entries, err := os.ReadDir(d.folder)
	if err != nil {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		var n uint64
		if _, err := fmt.Sscanf(e.Name(), kind+"-%016x", &n); err == nil && e.Name() == filepath.Base(d.path(kind, n)) {
			all = append(all, n)
		}
	}
	return all, nil // ReadDir sorts
}

// load reads the newest checkpoint, then the journals from its number on.
func (d *disk) load() error {
	checkpoints, err := d.generations("checkpoint")
	if err != nil {
		return err
	}
	var from uint64
	if len(checkpoints) > 0 {
		from = checkpoints[len(checkpoints)-1]
		if d.base, err = d.loadCheckpoint(d.path("checkpoint", from)); err != nil {
			return err
		}
		d.generation = from
	}
	journals, err := d.generations("journal")
	if err != nil {
		return err
	}
	for _, n := range journals {
		if n < from {
			continue // of before the checkpoint; the next one removes it
		}
		if n > d.generation+1 {
			return fmt.Errorf("%s is missing", d.path("journal", d.generation+1))
		}
		path := d.path("journal", n)
		whole, _, err := readFrames(path, 1, d.replay)
		if err != nil {
			return err
		}
		if info, err := os.Stat(path); err == nil && info.Size() > whole {
			d.logger.Warn("the end of the journal was torn, and is not used", "file", path, "bytes", info.Size()-whole)
		}
		d.grown += whole
		d.generation = n
	}
	return nil
}

// loadCheckpoint reads a frame for each sensor, then an empty one. A checkpoint
// has its name only once it is whole.
func (d *disk) loadCheckpoint(path string) (size int64, err error) {
	ended := false
	whole, _, err := readFrames(path, 1, func(payload []byte) error {
		if ended = len(payload) == 0; ended {
			return nil
		}
		sensor, err := d.codec.sensor(payload)
		if err != nil {
			return err
		}
		d.state.adopt(sensor)
		return nil
	})
	if err == nil && !ended {
		err = damaged(path, int(whole), errors.New("it ends early"))
	}
	return whole, err
}

// replay carries out the records of a frame again. A checkpoint is made while
// changes go on, so some are in it already, or are of sensors removed since.
func (d *disk) replay(payload []byte) error {
	r := &reader{rest: payload}
	for len(r.rest) > 0 && r.err == nil {
		kind, record := r.take(1)[0], r.take(r.uvarint())
		switch {
		case r.err != nil:
		case kind == recordRemove:
			d.state.remove(string(record))
		case kind == recordChange:
			c, err := d.codec.change(record)
			if err != nil {
				return err
			}
			if _, err := d.state.perform(c); err != nil {
				var refused *refusal
				if !errors.As(err, &refused) || refused.code != codeUnknownLog {
					return err
				}
			}
		default:
			r.spoil()
		}
	}
	return r.err
}

// begin makes the first journal of this process. The one before it is left as it
// is: its end may be torn.
func (d *disk) begin() error {
	j, err := createJournal(d.create, d.path("journal", d.generation+1))
	if err != nil {
		return err
	}
	d.generation++
	d.journal = j
	return nil
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

// commit carries out orders until close.
func (d *disk) commit() {
	defer close(d.done)
	tick := time.NewTicker(retryAfter)
	defer tick.Stop()
	for {
		select {
		case <-d.quit:
			return
		case o := <-d.queue:
			d.batch(o)
		case size := <-d.checkpoint:
			d.making = false
			if size > 0 {
				d.base, d.grown = size, d.journal.size
			}
		case <-tick.C:
			if d.trouble.Load() != nil {
				d.settle() // look whether it has healed
			}
		}
	}
}

// batch carries out an order and those that wait behind it. A sensor has one
// change in a batch, so that what was prepared can be performed.
func (d *disk) batch(first *order) {
	var now, next []*order
	size := 0
	add := func(o *order) {
		now = append(now, o)
		size += len(o.body)
	}
	add(first)
	for more := true; more && size < maxBatch; {
		select {
		case o := <-d.queue:
			add(o)
		default:
			more = false
		}
	}
	for len(now) > 0 {
		next = d.together(now, next[:0])
		now, next = next, now
	}
}

// together carries out orders with one sync, and returns those that have to come
// after them.
func (d *disk) together(orders, later []*order) []*order {
	var accepted []*order
	var payload []byte
	busy, rows, fresh := map[string]bool{}, 0, 0
	d.mu.Lock()
	for _, o := range orders {
		id := o.remove
		if o.change != nil {
			id = o.change.sensorID()
		}
		if busy[id] {
			later = append(later, o)
			continue
		}
		if answer, done := d.admit(o, rows, fresh); done {
			o.reply <- answer
			continue
		}
		busy[id] = true
		if o.change == nil {
			payload = appendText(append(payload, recordRemove), o.remove)
		} else {
			rows += len(o.change.rows())
			if d.state.sensor(id) == nil {
				fresh++
			}
			payload = appendText(append(payload, recordChange), string(head(o.change))+string(o.body))
		}
		accepted = append(accepted, o)
	}
	d.mu.Unlock()
	if len(accepted) == 0 {
		return later
	}
	if err := d.store(payload); err != nil {
		for _, o := range accepted {
			o.reply <- result{err: d.unavailable(err.Error())}
		}
		return later
	}
	d.mu.Lock()
	for _, o := range accepted {
		var r result
		if o.change == nil {
			r.known = d.state.remove(o.remove)
		} else {
			r.held, r.err = d.state.perform(o.change)
		}
		o.reply <- r
	}
	d.mu.Unlock()
	d.beginCheckpoint()
	return later
}

// beginCheckpoint makes one beside the work if it is due. Everything in the journals
// so far was performed: the checkpoint takes their place.
func (d *disk) beginCheckpoint() {
	if d.making || d.grown <= max(minCheckpoint, d.base) && !d.soon.Swap(false) {
		return
	}
	if d.rotate() != nil {
		return // the journal goes on
	}
	d.making = true
	generation := d.generation
	go func() {
		size, err := d.write(generation)
		if err != nil {
			d.failures.Add(1)
			d.logger.Warn("cannot make a checkpoint, the journal goes on", "error", err)
		}
		d.checkpoint <- size
	}()
}

// admit tells whether an order can be carried out. If not, the answer is known.
func (d *disk) admit(o *order, rows, fresh int) (answer result, done bool) {
	if o.change == nil {
		sensor := d.state.sensor(o.remove)
		return result{}, sensor == nil || o.silent && !d.state.isSilent(sensor)
	}
	answer.held, done, answer.err = d.state.prepare(o.change, rows, fresh)
	return answer, done
}

// store makes a frame durable. After a failure of which nobody knows what it left
// on the disk, a whole checkpoint comes first, which settles it.
func (d *disk) store(payload []byte) error {
	if d.journal.lost || d.unsettled || d.trouble.Load() != nil {
		if err := d.settle(); err != nil {
			return err
		}
	}
	before := d.journal.size
	if err := d.journal.append(payload); err != nil {
		return d.fail(err)
	}
	d.syncs.Add(1)
	d.journaled.Add(uint64(d.journal.size - before))
	d.grown += d.journal.size - before
	return nil
}

// settle finds out whether the disk can be written again.
func (d *disk) settle() error {
	if d.making {
		d.making = false
		if size := <-d.checkpoint; size > 0 {
			d.base, d.grown = size, d.journal.size
		}
	}
	if d.journal.lost {
		if err := d.rotate(); err != nil {
			return d.fail(err)
		}
		d.unsettled = true
	}
	if d.unsettled {
		size, err := d.write(d.generation)
		if err != nil {
			return d.fail(err)
		}
		d.unsettled = false
		d.base, d.grown = size, 0
	} else if err := d.journal.append(nil); err != nil {
		return d.fail(err)
	}
	if d.trouble.Swap(nil) != nil {
		d.logger.Info("the disk can be written again", "path", d.folder)
	}
	return nil
}

// fail notes why nothing can be written. What is held is still shown.
func (d *disk) fail(cause error) error {
	d.failures.Add(1)
	why := "disk: " + cause.Error()
	if d.trouble.Swap(&why) == nil {
		d.logger.Error("cannot write to the disk: sensors are asked to wait", "error", cause)
	}
	return errors.New(why)
}

// rotate begins the next journal. The old one is not written any more.
func (d *disk) rotate() error {
	old := d.journal
	if err := d.begin(); err != nil {
		return err
	}
	_ = old.file.Close() // what was acknowledged was synced
	return nil
}

// write makes the checkpoint of a generation: with the journals from that number
// on, it is everything. It takes the sensors one by one, while changes go on:
// those that it has already change nothing when they are replayed.
func (d *disk) write(generation uint64) (size int64, err error) {
	temporary := filepath.Join(d.folder, "checkpoint.tmp")
	f, err := d.create(temporary)
	if err != nil {
		return 0, err
	}
	size, err = d.writeSensors(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temporary, d.path("checkpoint", generation))
	}
	if err == nil {
		err = syncFolder(d.folder)
	}
	if err != nil {
		_ = os.Remove(temporary) // room for others; the next one overwrites it
		return 0, err
	}
	d.checkpoints.Add(1)
	for _, kind := range []string{"checkpoint", "journal"} {
		old, err := d.generations(kind)
		if err != nil {
			return size, err
		}
		for _, n := range old {
			if n < generation {
				if err := os.Remove(d.path(kind, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return size, err
				}
			}
		}
	}
	return size, nil
}

func (d *disk) writeSensors(f file) (size int64, err error) {
	var ids []string
	d.memory.read(func(s *state) {
		for _, sensor := range s.sensors {
			ids = append(ids, sensor.id)
		}
	})
	number := uint64(1)
	frame := func(payload []byte) error {
		n, err := f.Write(appendFrame(nil, number, payload))
		size += int64(n)
		number++
		return err
	}
	for _, id := range ids {
		var plain []byte
		d.memory.read(func(s *state) {
			if sensor := s.sensor(id); sensor != nil {
				plain = encodeSensor(sensor)
			}
		})
		if plain == nil {
			continue // removed meanwhile, which is in the journal
		}
		if err := frame(d.codec.pack(plain)); err != nil {
			return size, err
		}
	}
	return size, frame(nil)
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
