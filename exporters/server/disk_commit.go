package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

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
