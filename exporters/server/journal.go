package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Files of the disk store consist of frames: magic, length of the payload, number
// (one more than that of the frame before), CRC-32C of all that and the payload,
// then the payload.
const (
	frameMagic = 0x6e6d4a31 // "nmJ1"
	frameHead  = 4 + 4 + 8 + 4
	maxFrame   = 1 << 30
)

func appendFrame(b []byte, number uint64, payload []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, frameMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.BigEndian.AppendUint64(b, number)
	sum := crc32.Update(crc32.Checksum(b[start:], castagnoli()), castagnoli(), payload)
	b = binary.BigEndian.AppendUint32(b, sum)
	return append(b, payload...)
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // made once by the library

// errBadFrame says that what is there is no frame, or not all of one.
var errBadFrame = errors.New("no whole frame")

// frameAt returns the payload of the frame at the beginning of b.
func frameAt(b []byte) (number uint64, payload []byte, err error) {
	if len(b) < frameHead || binary.BigEndian.Uint32(b) != frameMagic {
		return 0, nil, errBadFrame
	}
	n := int(binary.BigEndian.Uint32(b[4:]))
	if n > maxFrame || n > len(b)-frameHead {
		return 0, nil, errBadFrame
	}
	payload = b[frameHead : frameHead+n]
	sum := crc32.Update(crc32.Checksum(b[:frameHead-4], castagnoli()), castagnoli(), payload)
	if sum != binary.BigEndian.Uint32(b[frameHead-4:]) {
		return 0, nil, errBadFrame
	}
	return binary.BigEndian.Uint64(b[8:]), payload, nil
}

// readFrames calls f with the payloads of a file in their order, and returns the
// length of what is whole. Each frame was on the disk before the next one was
// written, so only the last can be torn. A bad frame with a good one after it is
// damage.
func readFrames(path string, first uint64, f func(payload []byte) error) (whole int64, next uint64, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	next = first
	for at := 0; at < len(b); {
		number, payload, err := frameAt(b[at:])
		switch {
		case err == nil && number != next:
			return 0, 0, damaged(path, at, fmt.Errorf("frame %d stands where %d should", number, next))
		case err != nil:
			for later := at + 1; later+frameHead <= len(b); later++ {
				if number, _, err := frameAt(b[later:]); err == nil && number > next {
					return 0, 0, damaged(path, at, errBadFrame)
				}
			}
			return int64(at), next, nil
		}
		if err := f(payload); err != nil {
			return 0, 0, damaged(path, at, err)
		}
		at += frameHead + len(payload)
		next++
		whole = int64(at)
	}
	return whole, next, nil
}

func damaged(path string, at int, cause error) error {
	return fmt.Errorf("%s is damaged at byte %d: %w. Move the folder away to begin anew: the sensors fill the server again from their logs", path, at, cause)
}

// file is what the disk store writes to.
type file interface {
	io.Writer
	Truncate(size int64) error
	Sync() error
	Close() error
}

// files makes files; tests make such that fail.
type files func(path string) (file, error)

func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
}

// syncFolder makes names of files durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// journal is a file that frames are appended to. It is of one goroutine.
type journal struct {
	file file
	size int64
	next uint64 // number of the next frame
	// lost: after a failure nobody knows what is on the disk; nothing more is
	// appended to this file.
	lost bool
}

func createJournal(create files, path string) (*journal, error) {
	f, err := create(path)
	if err != nil {
		return nil, err
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		_ = f.Close() // the first error says more
		return nil, fmt.Errorf("sync folder: %w", err)
	}
	return &journal{file: f, next: 1}, nil
}

// append returns once the frame is on the disk. If it fails the file ends as it
// did before, or is lost.
func (j *journal) append(payload []byte) error {
	if j.lost {
		return errors.New("the journal was lost")
	}
	frame := appendFrame(make([]byte, 0, frameHead+len(payload)), j.next, payload)
	if _, err := j.file.Write(frame); err != nil {
		j.lost = j.file.Truncate(j.size) != nil
		return err
	}
	if err := j.file.Sync(); err != nil {
		j.lost = true // a later sync would succeed, whatever became of the pages
		return err
	}
	j.size += int64(len(frame))
	j.next++
	return nil
}
