package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync/atomic"
)

const (
	// maxUnpacked bounds what a compressed file, or one that is no regular
	// file, may take in memory.
	maxUnpacked = 1 << 30

	// fileBlock is how many packets of a file make a block: enough to share the
	// cost of a call, few enough for the block to stay in the first-level cache.
	fileBlock = 256

	// fileBuffer is how much of a file is read at once: it stays in the
	// second-level cache. A larger record makes it grow.
	fileBuffer = 256 << 10

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

// File is a pcap or pcapng file. It must not be changed while it is read.
type File struct {
	data    []byte   // all of it, where it could not be read piece by piece
	file    *os.File // else
	size    int64
	packed  error // what stopped the decompression; all before it is in data
	pick    Pick
	sources []Source
	open    atomic.Int32          // Sources not closed yet
	damage  atomic.Pointer[error] // by the first Source at the end; nil until then
	late    atomic.Uint64         // as in cursor, by any Source
}

// OpenFile opens a capture for so many shards, at least one. Each frame goes to
// the shard that pick names, or all to the only one; a frame that pick gives a
// number out of range goes to none. pick may be nil for one shard.
//
// Each shard reads a regular file through a buffer of its own: that costs half of
// what walking a mapped file does, where each record waits for memory. A gzip
// file, and anything that is no regular file, is read into memory, at most 1 GiB
// of it.
func OpenFile(path string, shards int, pick func(link uint16, frame []byte, wire uint32) int) (*File, error) {
	f, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("read capture %s: %w", path, err)
	}
	if err := f.split(shards, pick); err != nil {
		if f.file != nil {
			f.file.Close()
		}
		return nil, fmt.Errorf("read capture %s: %w", path, errors.Join(err, f.packed))
	}
	return f, nil
}

func newFile(data []byte, shards int, pick Pick) (*File, error) {
	f := &File{data: data, size: int64(len(data))}
	return f, f.split(shards, pick)
}

// split makes the sources.
func (f *File) split(shards int, pick Pick) error {
	head := f.data
	if f.file != nil {
		head = make([]byte, min(f.size, pcapHeader))
		if _, err := f.file.ReadAt(head, 0); err != nil && err != io.EOF {
			return err
		}
	}
	start, err := newCursor(head, f.size)
	if err != nil {
		return err
	}
	if shards = max(shards, 1); shards == 1 {
		pick = nil
	} else if pick == nil {
		return errors.New("several shards need a rule which frame is whose")
	}
	f.pick = pick
	f.open.Store(int32(shards))
	for i := range shards {
		s := &fileSource{file: f, shard: i, cursor: start}
		s.cursor.clock = math.MinInt64
		f.sources = append(f.sources, s)
	}
	return nil
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

// Unix turns the time of a packet that a Source has returned into Unix seconds and
// nanoseconds. Both are the time itself unless the capture goes beyond the year 2116:
// Unix nanoseconds, which 64 bits may not hold, then count from elsewhere, and up to
// 146 years of them are told apart.
func (f *File) Unix(time int64) (seconds uint64, ns int64) {
	if late := f.late.Load(); late > 0 && time >= lateTime {
		return late, time - lateTime
	}
	return 0, time
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
	if f.open.Add(-1) > 0 || f.file == nil {
		return nil
	}
	return f.file.Close()
}

// fileSource is one shard's way through a File.
type fileSource struct {
	file   *File
	shard  int
	cursor cursor
	buffer []byte // of the cursor's stretch, where the file is read piece by piece
	done   bool   // the cursor is at the end
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
			if s.cursor.need > 0 {
				if n > 0 {
					break // the block's frames lie in the buffer
				}
				if s.fill() {
					continue
				}
			}
			s.done = true
			s.file.ended(s.cursor.damage)
			break
		}
		if pick == nil || pick(p.Link, p.Data, p.Length) == s.shard {
			n++
		}
	}
	s.file.late.Store(s.cursor.late)
	if n == 0 && s.done {
		return nil, io.EOF
	}
	return s.block[:n], nil
}

// fill moves the stretch on so that the cursor has what it needs. It returns
// false where the file cannot be read; the cursor then knows why.
func (s *fileSource) fill() bool {
	c := &s.cursor
	skip := min(c.off, len(c.data)) // the cursor may stand beyond
	rest := c.data[skip:]
	if c.need > cap(s.buffer) {
		s.buffer = make([]byte, max(c.need, fileBuffer))
	}
	s.buffer = s.buffer[:cap(s.buffer)]
	c.base += int64(c.off)
	have := copy(s.buffer, rest)
	n, err := s.file.file.ReadAt(s.buffer[have:], c.base+int64(have))
	c.data, c.off = s.buffer[:have+n], 0
	if len(c.data) < c.need {
		return c.broken("record", fmt.Sprintf("the file ended early: %v", err))
	}
	c.need = 0
	return true
}

func (s *fileSource) Ready() bool { return true }

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
	s.cursor, s.buffer = cursor{}, nil
	return s.file.closed()
}

// load opens the file, or reads it where it is compressed or cannot be read piece
// by piece.
func load(path string) (*File, error) {
	h, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{file: h}
	st, err := h.Stat()
	switch {
	case err != nil:
	case st.IsDir():
		err = errors.New("is a directory")
	case !st.Mode().IsRegular():
		f.data, err = readAll(h, maxUnpacked)
		if isGzip(f.data) {
			f.data, f.packed, err = gunzip(bytes.NewReader(f.data))
		}
	case st.Size() == 0:
		err = fmt.Errorf("empty: %w", ErrNotCapture)
	default:
		magic := make([]byte, 2)
		h.ReadAt(magic, 0) // a file too short is no capture, as will be found
		if !isGzip(magic) {
			f.size = st.Size()
			return f, nil
		}
		f.data, f.packed, err = gunzip(h)
	}
	h.Close()
	f.file, f.size = nil, int64(len(f.data))
	return f, err
}

func isGzip(b []byte) bool { return bytes.HasPrefix(b, []byte{0x1f, 0x8b}) }

// gunzip returns what can be decompressed, and in packed why it is not all.
func gunzip(in io.Reader) (out []byte, packed, err error) {
	z, err := gzip.NewReader(bufio.NewReader(in))
	if err != nil {
		return nil, nil, fmt.Errorf("gzip: %w", err)
	}
	out, err = readAll(z, maxUnpacked)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, nil, err
	case err != nil:
		return out, fmt.Errorf("gzip: %w", err), nil
	}
	return out, nil, nil
}

var errTooLarge = fmt.Errorf("more than %d GiB in memory; unpack it into a file first", maxUnpacked>>30)

// readAll reads to the end, at most limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(r, limit+1))
	if n > limit {
		return nil, errTooLarge
	}
	return b.Bytes(), err
}
