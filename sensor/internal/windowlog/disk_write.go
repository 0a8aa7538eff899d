package windowlog

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Append implements Log.
func (d *Disk) Append(w *netmonpb.Window) error {
	d.state.Lock()
	ended := d.ended
	d.state.Unlock()
	if ended {
		return fmt.Errorf("append window to %d: the log is closed", w.EndNs)
	}
	p, err := audit(w)
	if err != nil {
		return err
	}
	d.heir.speak(w)
	d.gather.add(p)
	return nil
}

// write is the writer: it puts on disk what was appended, until Close and
// everything is there or the disk refuses.
func (d *Disk) write() {
	defer close(d.written)
	pause := firstPause
	for stopping := false; ; {
		if !stopping {
			select {
			case <-d.gather.wakes:
			case <-d.stop:
			}
			d.delay(d.options.Sync)
		}
		stopping = isClosed(d.stop)
		for d.gather.gathered() > 0 {
			if err := d.attempt(); err == nil {
				pause = firstPause
				continue
			}
			if stopping {
				break // Close has seen it
			}
			d.delay(pause)
			pause = min(2*pause, lastPause)
			stopping = isClosed(d.stop)
		}
		if stopping {
			return
		}
	}
}

// delay waits, but not for a log that is being closed.
func (d *Disk) delay(t time.Duration) {
	if t > 0 {
		select {
		case <-time.After(t):
		case <-d.stop:
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// attempt writes everything that waits.
func (d *Disk) attempt() error {
	d.state.Lock()
	d.began = d.options.Now()
	d.state.Unlock()
	err := d.options.intercept(func() error { return d.settle(d.gather.take(), false) })
	if err == nil {
		d.gather.landed()
	} else {
		d.gather.failed()
		d.doubt = d.doubt || !retryable(err)
	}
	d.fared(err)
	return err
}

// settle commits to the file at hand, or to a new one where that will not do.
func (d *Disk) settle(ps []pending, clean bool) error {
	if d.doubt {
		if err := d.rewrite(d.bound()); err != nil {
			return err
		}
		d.doubt = false
	}
	err := d.commit(ps, clean)
	// Pages that are free but in no row long enough: a new file has none. What has no
	// room in one alone gets it, for it must not be lost.
	for bound := d.bound(); errors.Is(err, bolterrors.ErrMaxSizeReached); bound *= 2 {
		if err = d.rewrite(bound); err == nil {
			err = d.commit(ps, clean)
		}
	}
	return err
}

// retryable tells an error after which the file is as it was: the write itself was
// refused, for want of space or rights. After one of fsync nobody knows: the kernel
// has told it once and forgets it.
func retryable(err error) bool {
	path := (*fs.PathError)(nil)
	return errors.As(err, &path) && path.Op == "write" && !errors.As(err, new(damageError))
}

// fared notes how a write ended, and tells it once.
func (d *Disk) fared(err error) {
	d.state.Lock()
	defer d.state.Unlock()
	d.began = time.Time{}
	switch {
	case err != nil && !d.fails:
		d.logger.Error("the disk refuses the log: windows add up in memory until it takes them", "error", err)
	case err == nil && d.fails:
		d.logger.Info("the disk takes the log again, nothing was lost")
	}
	if d.fails, d.cause = err != nil, err; err != nil {
		d.count++
	}
}

func (d *Disk) tellDamage(n uint64, err error) {
	d.state.Lock()
	d.count++
	d.state.Unlock()
	d.logger.Error("a window of the log cannot be read; it and those before it are in the snapshot only", "window", n, "error", err)
}
