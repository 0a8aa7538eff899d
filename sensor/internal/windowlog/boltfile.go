package windowlog

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
)

// bbolt trusts its file: a page that points to itself ends the process, and so does
// one that is no page. So the structure is checked before bbolt sees the file. What
// the pages hold is checked when it is read.
//
// The file is an array of pages. Page 0 and 1 say, in turns, where the root is and
// how many pages are in use; each of these is a meta page, part of the list of free
// pages, in that list, or reached from the root once.

// Flags of pages and leaf elements.
const (
	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	flagBucket = 0x01
)

const (
	boltMagic    = 0xED0CDAED
	pageHead     = 16 // id 8, flags 2, count 2, overflow 4
	elementSize  = 16 // of a branch: pos 4, key size 4, page 8; of a leaf: flags 4, pos 4, key size 4, value size 4
	bucketHead   = 16 // root 8, sequence 8
	manyElements = 0xFFFF
	maxDepth     = 32
)

// boltFile is the file of a database that nobody has open.
type boltFile struct {
	io.ReaderAt
	pages []bool // in use, by number: seen
}

// checkFile looks at the file at path as a whole. One that is not there or is empty
// is fine: it is about to be made.
func checkFile(path string) error {
	f, err := openPlain(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	root, freelist, used, err := readMeta(f)
	if err != nil {
		return err
	}
	if pages := info.Size() / pageSize; uint64(pages) < used {
		return damage("it has %d pages and should have %d", pages, used)
	}
	b := boltFile{f, make([]bool, used)}
	b.pages[0], b.pages[1] = true, true
	if err := b.walk(root, 0); err != nil {
		return err
	}
	if err := b.walkFree(freelist); err != nil {
		return err
	}
	for id, seen := range b.pages {
		if !seen {
			return damage("page %d belongs to nothing", id)
		}
	}
	return nil
}

// readMeta reads both meta pages. bbolt would take the older one if the newer is
// damaged, and go back by one batch in silence.
func readMeta(f io.ReaderAt) (root, freelist, used uint64, err error) {
	newest := uint64(0)
	for i := range int64(2) {
		var page [pageHead + 64]byte
		if _, err := f.ReadAt(page[:], i*pageSize); err == io.EOF {
			return 0, 0, 0, damage("it ends within its head")
		} else if err != nil {
			return 0, 0, 0, err
		}
		// magic 4, version 4, page size 4, flags 4, root bucket 16, freelist 8, pages
		// in use 8, transaction 8, checksum 8
		m := page[pageHead:]
		sum := fnv.New64a()
		sum.Write(m[:56])
		if order.Uint32(m) != boltMagic || order.Uint64(m[56:]) != sum.Sum64() || order.Uint32(m[8:]) != pageSize || order.Uint64(page[:]) != uint64(i) {
			return 0, 0, 0, damage("page %d is not what was written", i)
		}
		if tx := order.Uint64(m[48:]); i == 0 || tx > newest {
			newest, root, freelist, used = tx, order.Uint64(m[16:]), order.Uint64(m[32:]), order.Uint64(m[40:])
		}
	}
	return root, freelist, used, nil
}

var order = binary.NativeEndian

// take marks the pages of a run as seen, and reads it: all of it, or its first page.
func (b boltFile) take(id uint64, whole bool) ([]byte, error) {
	if id >= uint64(len(b.pages)) {
		return nil, damage("a page %d beyond the last", id)
	}
	text := make([]byte, pageSize)
	if _, err := b.ReadAt(text, int64(id)*pageSize); err != nil {
		return nil, err
	}
	run := uint64(order.Uint32(text[12:])) + 1
	if order.Uint64(text) != id || run > uint64(len(b.pages))-id {
		return nil, damage("page %d is none", id)
	}
	for i := id; i < id+run; i++ {
		if b.pages[i] {
			return nil, damage("page %d is in two places", i)
		}
		b.pages[i] = true
	}
	if elements := pageHead + elementSize*int(order.Uint16(text[10:])); !whole && elements <= pageSize {
		return text, nil
	}
	text = make([]byte, run*pageSize)
	_, err := b.ReadAt(text, int64(id)*pageSize)
	return text, err
}

// walk visits a page and all below it.
func (b boltFile) walk(id uint64, depth int) error {
	text, err := b.take(id, false)
	if err != nil {
		return err
	}
	size := (int(order.Uint32(text[12:])) + 1) * pageSize
	return b.elements(text, size, depth, func(at, n int) ([]byte, error) {
		value := make([]byte, n)
		_, err := b.ReadAt(value, int64(id)*pageSize+int64(at))
		return value, err
	})
}

// elements visits what is in a page of size bytes, of which text has the list. value
// returns a part of it.
func (b boltFile) elements(text []byte, size, depth int, value func(at, n int) ([]byte, error)) error {
	flags, count := order.Uint16(text[8:]), int(order.Uint16(text[10:]))
	if flags != flagBranch && flags != flagLeaf || depth > maxDepth || pageHead+count*elementSize > len(text) ||
		flags == flagBranch && count == 0 {
		return damage("page %d is neither branch nor leaf", order.Uint64(text))
	}
	for i := range count {
		at := pageHead + i*elementSize
		e := text[at : at+elementSize]
		if flags == flagBranch {
			if at+int(order.Uint32(e))+int(order.Uint32(e[4:])) > size {
				return damage("a key reaches beyond its page")
			}
			if err := b.walk(order.Uint64(e[8:]), depth+1); err != nil {
				return err
			}
			continue
		}
		at += int(order.Uint32(e[4:])) + int(order.Uint32(e[8:]))
		n := int(order.Uint32(e[12:]))
		if at+n > size || order.Uint32(e) > flagBucket || order.Uint32(e[4:]) < elementSize {
			return damage("a value reaches beyond its page")
		}
		if order.Uint32(e) == flagBucket {
			v, err := value(at, n)
			if err != nil {
				return err
			}
			if err := b.bucket(v, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket visits a bucket, whose page is elsewhere or, if it is small, in its value.
func (b boltFile) bucket(v []byte, depth int) error {
	if len(v) < bucketHead {
		return damage("a bucket of %d bytes", len(v))
	}
	if root := order.Uint64(v); root != 0 {
		return b.walk(root, depth)
	}
	inline := v[bucketHead:]
	if len(inline) < pageHead || order.Uint16(inline[8:]) != flagLeaf {
		return damage("a bucket without a page")
	}
	return b.elements(inline, len(inline), depth, func(at, n int) ([]byte, error) { return inline[at : at+n], nil })
}

// walkFree visits the list of free pages.
func (b boltFile) walkFree(id uint64) error {
	text, err := b.take(id, true)
	if err != nil {
		return err
	}
	ids, count := text[pageHead:], uint64(order.Uint16(text[10:]))
	if order.Uint16(text[8:]) != flagFreelist {
		return damage("page %d does not list free pages", id)
	}
	if count == manyElements {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return damage("the list of free pages is longer than its page")
	}
	last := uint64(0)
	for i := range count {
		free := order.Uint64(ids[8*i:])
		if free >= uint64(len(b.pages)) || b.pages[free] || free <= last {
			return damage("page %d is not free", free)
		}
		b.pages[free], last = true, free
	}
	return nil
}
