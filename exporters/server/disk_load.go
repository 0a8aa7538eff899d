package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

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
