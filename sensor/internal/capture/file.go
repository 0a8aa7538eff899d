package capture

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// maxUnpacked bounds what a compressed file, or one that cannot be mapped,
	// may take in memory.
	maxUnpacked = 4 << 30

	// fileBlock is how many packets of a file make a block: enough to share the
	// cost of a call, few enough for the block to stay in the first-level cache.
	fileBlock = 256

	// maxWalk is how many frames a source looks at in one call, so that a shard
	// that is given few of them still hears of the time.
	maxWalk = 64 * fileBlock
)

// ErrNotCapture is what OpenFile returns, wrapped, for a file of another kind.
var ErrNotCapture = errors.New("not a pcap or pcapng file")

// A Pick names the shard that a frame belongs to, from 0. It sees the frame's
// link type, its bytes as captured and its length on the wire. All shards call
// it for all frames, each in its own goroutine, so it must be pure.
type Pick func(link uint16, frame []byte, wire uint32) int

// File is a pcap or pcapng file. It is mapped, so it must not shrink while it
// is read; the last of its Sources to close unmaps it.
type File struct {
	data    []byte
	mapped  bool
	packed  error // what stopped the decompression; all before it is in data
	pick    Pick
	sources []Source
	open    atomic.Int32          // Sources not closed yet
	damage  atomic.Pointer[error] // by the first Source at the end; nil until then
}

// OpenFile opens a capture for so many shards, at least one. Each frame goes to
// the shard that pick names, or all to the only one; a frame that pick gives a
// number out of range goes to none. pick may be nil for one shard.
//
// A regular file is mapped. A gzip file, and anything that is no regular file,
// is read into memory, at most 4 GiB of it.
func OpenFile(path string, shards int, pick func(link uint16, frame []byte, wire uint32) int) (*File, error) {
	data, mapped, packed, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("read capture %s: %w", path, err)
	}
	f, err := newFile(data, shards, pick)
	if err != nil {
		if mapped {
			unix.Munmap(data)
		}
		return nil, fmt.Errorf("read capture %s: %w", path, errors.Join(err, packed))
	}
	f.mapped, f.packed = mapped, packed
	return f, nil
}

func newFile(data []byte, shards int, pick Pick) (*File, error) {
	start, err := newCursor(data)
	if err != nil {
		return nil, err
	}
	if shards = max(shards, 1); shards == 1 {
		pick = nil
	} else if pick == nil {
		return nil, errors.New("several shards need a rule which frame is whose")
	}
	f := &File{data: data, pick: pick}
	f.open.Store(int32(shards))
	for i := range shards {
		s := &fileSource{file: f, shard: i, cursor: start}
		s.cursor.clock = math.MinInt64
		f.sources = append(f.sources, s)
	}
	return f, nil
}

// Sources returns one source per shard, in their order. All of them must be
// closed.
func (f *File) Sources() []Source { return f.sources }

// Damage says what ended the capture before the end of the file, or nil. It is
// known once a Source has returned io.EOF.
func (f *File) Damage() error {
	if p := f.damage.Load(); p != nil {
		return *p
	}
	return nil
}

func (f *File) ended(damage error) {
	switch {
	case f.packed != nil && damage != nil:
		damage = fmt.Errorf("%w (%w)", damage, f.packed)
	case f.packed != nil:
		damage = f.packed
	}
	f.damage.CompareAndSwap(nil, &damage)
}

func (f *File) closed() error {
	if f.open.Add(-1) > 0 || !f.mapped {
		return nil
	}
	return unix.Munmap(f.data)
}

// fileSource is one shard's way through a File.
type fileSource struct {
	file   *File
	shard  int
	cursor cursor
	done   bool // the cursor is at the end
	closed bool
	block  [fileBlock]Packet
}

func (s *fileSource) Next() ([]Packet, error) {
	if s.done || s.closed {
		return nil, io.EOF
	}
	pick, n := s.file.pick, 0
	for walked := 0; n < len(s.block) && walked < maxWalk; walked++ {
		p := &s.block[n]
		if !s.cursor.next(p) {
			s.done = true
			s.file.ended(s.cursor.damage)
			break
		}
		if pick == nil || pick(p.Link, p.Data, p.Length) == s.shard {
			n++
		}
	}
	if n == 0 && s.done {
		return nil, io.EOF
	}
	return s.block[:n], nil
}

func (s *fileSource) Clock() int64 {
	if s.cursor.frames == 0 {
		return 0
	}
	return s.cursor.clock
}

func (s *fileSource) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	clear(s.block[:])
	s.cursor = cursor{}
	return s.file.closed()
}

// load maps the file, or reads it where it cannot be mapped or is compressed.
// packed is what ended the decompression early.
func load(path string) (data []byte, mapped bool, packed, err error) {
	h, err := os.Open(path)
	if err != nil {
		return nil, false, nil, err
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return nil, false, nil, err
	}
	switch {
	case st.IsDir():
		return nil, false, nil, errors.New("is a directory")
	case !st.Mode().IsRegular():
		if data, err = readAll(h); err != nil {
			return nil, false, nil, err
		}
	case st.Size() == 0:
		return nil, false, nil, fmt.Errorf("empty: %w", ErrNotCapture)
	case st.Size() > math.MaxInt:
		return nil, false, nil, errors.New("larger than the address space")
	default:
		data, err = unix.Mmap(int(h.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
		if err != nil {
			return nil, false, nil, fmt.Errorf("map: %w", err)
		}
		mapped = true
		unix.Madvise(data, unix.MADV_SEQUENTIAL) // only a hint
	}
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, mapped, nil, nil
	}
	unpacked, packed, err := gunzip(data)
	if mapped {
		unix.Munmap(data)
	}
	return unpacked, false, packed, err
}

// gunzip returns what can be decompressed, and in packed why it is not all.
func gunzip(data []byte) (out []byte, packed, err error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, nil, fmt.Errorf("gzip: %w", err)
	}
	out, err = readAll(z)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, nil, err
	case err != nil:
		return out, fmt.Errorf("gzip: %w", err), nil
	}
	return out, nil, nil
}

var errTooLarge = fmt.Errorf("more than %d GiB in memory; unpack it into a file first", maxUnpacked>>30)

func readAll(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(r, maxUnpacked+1))
	if n > maxUnpacked {
		return nil, errTooLarge
	}
	return b.Bytes(), err
}
