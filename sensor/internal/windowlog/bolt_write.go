package windowlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"google.golang.org/protobuf/proto"
)

// put implements store.
func (s *boltStore) put(b *batch) error {
	var snapshot []byte
	if b.snapshot != nil {
		var err error
		if snapshot, err = proto.Marshal(b.snapshot); err != nil {
			return fmt.Errorf("encode snapshot: %w", err)
		}
	}
	err := guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error { return b.write(tx, snapshot) })
	})
	if err != nil {
		return err
	}
	s.measure()
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.snapshot != nil {
		s.snapshotBytes, s.tail = int64(len(snapshot)), 0
	}
	for _, wire := range b.windows {
		s.tail += int64(len(wire))
	}
	return nil
}

func (b *batch) write(tx *bbolt.Tx, snapshot []byte) error {
	state, err := tx.CreateBucketIfNotExists(bucketState)
	if err != nil {
		return err
	}
	windows, err := tx.CreateBucketIfNotExists(bucketWindows)
	if err != nil {
		return err
	}
	cursors, err := replaceBucket(tx, bucketCursors)
	if err != nil {
		return err
	}
	if err := state.Put(keyFormat, []byte{format}); err != nil {
		return err
	}
	if b.clean {
		err = state.Put(keyClean, []byte{1})
	} else {
		err = state.Delete(keyClean)
	}
	if err != nil {
		return err
	}
	if b.snapshot != nil {
		snapshots, err := replaceBucket(tx, bucketSnapshot)
		if err != nil {
			return err
		}
		if err := putChunks(snapshots, 0, snapshot); err != nil {
			return err
		}
	}
	windows.FillPercent = 1 // nothing is ever put between
	for i, wire := range b.windows {
		if err := putChunks(windows, b.first+uint64(i), wire); err != nil {
			return err
		}
	}
	c := windows.Cursor()
	for k, _ := c.First(); k != nil && binary.BigEndian.Uint64(k) <= b.folded; k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	for name, n := range b.cursors {
		v := binary.BigEndian.AppendUint64(make([]byte, 4), n)
		binary.BigEndian.PutUint32(v, checksum([]byte(name), v[4:]))
		if err := cursors.Put([]byte(name), v); err != nil {
			return err
		}
	}
	return nil
}

func replaceBucket(tx *bbolt.Tx, name []byte) (*bbolt.Bucket, error) {
	if err := tx.DeleteBucket(name); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
		return nil, err
	}
	return tx.CreateBucket(name)
}

// putChunks stores value under n.
func putChunks(b *bbolt.Bucket, n uint64, value []byte) error {
	count := max((len(value)+chunkSize-1)/chunkSize, 1)
	if count > 1<<16-1 {
		return fmt.Errorf("window %d is too large: %d bytes", n, len(value))
	}
	for i := range count {
		part := value[i*chunkSize : min((i+1)*chunkSize, len(value))]
		key := chunkKey(n, i)
		v := make([]byte, chunkHead, chunkHead+len(part))
		binary.BigEndian.PutUint16(v[4:], uint16(count))
		v = append(v, part...)
		binary.BigEndian.PutUint32(v, checksum(key, v[4:]))
		if err := b.Put(key, v); err != nil {
			return err
		}
	}
	return nil
}

// snapshotDue implements store. A sensor that was killed adds up the windows since
// the snapshot before it goes on; this bounds how long that takes.
func (s *boltStore) snapshotDue(b *batch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.clean || s.tail > max(4*s.snapshotBytes, 1<<20)
}

func (s *boltStore) measure() {
	info, err := os.Stat(s.path)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes = info.Size()
}

// syncDir makes the names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// rewriteBolt puts a new file, which holds only the batch, in the place of path, and
// opens it. After an error the old file may be gone.
func rewriteBolt(path string, maxBytes, bound int64, b *batch) (*boltStore, error) {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s, _, err := openBolt(next, maxBytes, bound)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.put(b), s.close()); err != nil {
		return nil, errors.Join(err, os.Remove(next))
	}
	if err := os.Rename(next, path); err != nil {
		return nil, errors.Join(err, os.Remove(next))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	s, _, err = openBolt(path, maxBytes, bound)
	return s, err
}
