package windowlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// The file is a bbolt database. What must hold together, windows, snapshot and
// cursors, changes in one transaction; bbolt keeps a transaction whole across a
// crash, but has no checksums for what is in it, so every value has its own.
//
// A value of a few megabytes would take as many pages in a row, and its
// neighbours in the tree would be written again with it. So values are cut into
// chunks.
const (
	format = 1

	pageSize  = 4096
	chunkSize = 16320 // two of them, with keys and headers, fill eight pages

	chunkHead = 6 // CRC-32C of the rest and the key, and how many chunks there are
)

var (
	bucketState    = []byte("netmon")   // format, clean
	bucketSnapshot = []byte("snapshot") // chunks of one netmonpb.Snapshot
	bucketWindows  = []byte("windows")  // chunks by sequence
	bucketCursors  = []byte("cursors")  // sequences by exporter

	keyFormat, keyClean = []byte("format"), []byte("clean")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// damageError is content that cannot be what was written.
type damageError struct{ error }

func (e damageError) Unwrap() error { return e.error }

func damage(format string, args ...any) error { return damageError{fmt.Errorf(format, args...)} }

// boltStore is a store in one file.
type boltStore struct {
	path     string
	maxBytes int64
	found    func(n uint64, err error) // told of windows that are damaged
	db       *bbolt.DB

	mu            sync.Mutex // guards what follows
	bytes         int64      // of the file
	snapshotBytes int64      // of the stored snapshot
	tail          int64      // bytes of the windows since
}

// stored is what a file says.
type stored struct {
	snapshot *netmonpb.Snapshot
	first    uint64 // of the windows
	sizes    []int  // of their encodings
	cursors  map[string]uint64
	clean    bool // its sensor ended in order
}

// openBolt opens the file at path, which may grow to bound bytes; was is nil where
// there was none. The error is a damageError where the file is no good, and
// errNewer where it is too new.
func openBolt(path string, maxBytes, bound int64) (s *boltStore, was *stored, err error) {
	if err := checkFile(path); err != nil {
		return nil, nil, err
	}
	s = &boltStore{path: path, maxBytes: maxBytes}
	err = guard(func() (err error) {
		s.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:      time.Second,
			PageSize:     pageSize,
			FreelistType: bbolt.FreelistMapType,
			// Mapped as a whole, readers never wait for the file to be mapped anew.
			InitialMmapSize: int(bound),
			MaxSize:         int(bound),
			NoStatistics:    true,
			OpenFile:        openPlain,
		})
		if err != nil {
			return err
		}
		s.db.AllocSize = pageSize * 16
		return s.db.View(func(tx *bbolt.Tx) (err error) {
			was, err = s.load(tx)
			return err
		})
	})
	if err != nil && s.db != nil && !errors.As(err, new(damageError)) {
		_ = s.db.Close()
	}
	if os := (*fs.PathError)(nil); err != nil && !errors.As(err, &os) && !errors.Is(err, errNewer) {
		err = damageError{err}
	}
	if err != nil {
		return nil, nil, err
	}
	s.measure()
	return s, was, nil
}

// guard turns what bbolt does about a damaged file, and what the kernel does where
// a mapped file cannot be read, into an error.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damage("%v", r)
		}
	}()
	return f()
}

var errNewer = errors.New("written by a newer netmon")

func (s *boltStore) load(tx *bbolt.Tx) (*stored, error) {
	state := tx.Bucket(bucketState)
	if state == nil {
		return nil, nil
	}
	if f := state.Get(keyFormat); len(f) != 1 || f[0] == 0 {
		return nil, damage("no format")
	} else if f[0] > format {
		return nil, fmt.Errorf("%w: it has format %d, this one knows %d", errNewer, f[0], format)
	}
	snapshots, windows, cursors := tx.Bucket(bucketSnapshot), tx.Bucket(bucketWindows), tx.Bucket(bucketCursors)
	if snapshots == nil || windows == nil || cursors == nil {
		return nil, damage("a part of it is missing")
	}
	text, err := chunks(snapshots, 0)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	was := &stored{snapshot: &netmonpb.Snapshot{}, cursors: map[string]uint64{}, clean: state.Get(keyClean) != nil}
	if err := proto.Unmarshal(text, was.snapshot); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	s.snapshotBytes = int64(len(text))
	if err := was.list(windows); err != nil {
		return nil, err
	}
	for i, size := range was.sizes {
		if was.first+uint64(i) > was.snapshot.Sequence {
			s.tail += int64(size)
		}
	}
	return was, cursors.ForEach(func(k, v []byte) error {
		if len(v) != 12 || binary.BigEndian.Uint32(v) != checksum(k, v[4:]) {
			return nil // that exporter is sent some windows again
		}
		was.cursors[string(k)] = binary.BigEndian.Uint64(v[4:])
		return nil
	})
}

// list notes which windows there are, without reading them. What is before a hole
// is left to the snapshot.
func (was *stored) list(windows *bbolt.Bucket) error {
	c := windows.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if len(k) != 10 || len(v) < chunkHead {
			return damage("a window has no sequence")
		}
		n, size := binary.BigEndian.Uint64(k), len(v)-chunkHead
		next := was.first + uint64(len(was.sizes))
		switch {
		case len(was.sizes) > 0 && n == next-1:
			was.sizes[len(was.sizes)-1] += size
		case len(was.sizes) > 0 && n == next:
			was.sizes = append(was.sizes, size)
		default:
			was.first, was.sizes = n, append(was.sizes[:0], size)
		}
	}
	if s := was.snapshot.Sequence; len(was.sizes) == 0 {
		was.first = s + 1
	} else if was.first > s+1 {
		return damage("windows %d to %d are missing", s+1, was.first-1)
	}
	return nil
}

// chunks returns a copy of what putChunks stored under n.
func chunks(b *bbolt.Bucket, n uint64) (encoded, error) {
	var value encoded
	for i, count := 0, 1; i < count; i++ {
		key := chunkKey(n, i)
		v := b.Get(key)
		if len(v) < chunkHead || binary.BigEndian.Uint32(v) != checksum(key, v[4:]) {
			return nil, damage("part %d of %d is not what was written", i, n)
		}
		count = int(binary.BigEndian.Uint16(v[4:]))
		value = append(value, v[chunkHead:]...)
	}
	return value, nil
}

func chunkKey(n uint64, i int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(make([]byte, 0, 10), n), uint16(i))
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// get implements store.
func (s *boltStore) get(n uint64) (wire encoded, err error) {
	err = guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) (err error) {
			wire, err = chunks(tx.Bucket(bucketWindows), n)
			return err
		})
	})
	return wire, err
}

// damaged is told of a window that get could not give. Until the next snapshot is
// stored the file could not be read from its beginning again.
func (s *boltStore) damaged(n uint64, err error) {
	s.mu.Lock()
	s.tail = s.maxBytes
	s.mu.Unlock()
	if s.found != nil {
		s.found(n, err)
	}
}

// room implements store: what the file may have, less a snapshot, the one that
// replaces it, and what the pages of both leave unused.
func (s *boltStore) room() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.maxBytes*3/4-3*s.snapshotBytes, s.maxBytes/4)
}

func (s *boltStore) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// close implements store. It waits for a put that hangs.
func (s *boltStore) close() error { return s.db.Close() }
