package names

import (
	"slices"
	"sort"
)

// assembly puts byte ranges together that come in any order. The first copy of
// a byte stands.
type assembly struct {
	buf  []byte
	have []span // sorted, apart from each other
}

type span struct{ from, to int }

// maxSpans bounds the holes of an assembly and so the work per insert.
const maxSpans = 512

// insert adds b at off and says whether the prefix grew. The buffer must be
// long enough.
func (a *assembly) insert(off int, b []byte) (grew bool) {
	if len(b) == 0 || len(a.have) >= maxSpans {
		return false
	}
	before := len(a.prefix())
	at, all := off, span{off, off + len(b)}
	i := sort.Search(len(a.have), func(i int) bool { return a.have[i].to >= off })
	j := i
	for ; j < len(a.have) && a.have[j].from <= off+len(b); j++ {
		s := a.have[j]
		if at < s.from {
			copy(a.buf[at:s.from], b[at-off:])
		}
		at = max(at, s.to)
		all = span{min(all.from, s.from), max(all.to, s.to)}
	}
	if at < off+len(b) {
		copy(a.buf[at:], b[at-off:])
	}
	a.have = slices.Replace(a.have, i, j, all)
	return len(a.prefix()) > before
}

// prefix returns the bytes from 0 to the first hole.
func (a *assembly) prefix() []byte {
	if len(a.have) == 0 || a.have[0].from != 0 {
		return nil
	}
	return a.buf[:a.have[0].to]
}

// end returns where the last byte is that is there, 0 where none is.
func (a *assembly) end() int {
	if len(a.have) == 0 {
		return 0
	}
	return a.have[len(a.have)-1].to
}

// consume takes n bytes of the prefix away; what is behind them moves to 0.
func (a *assembly) consume(n int) {
	copy(a.buf, a.buf[n:a.end()])
	kept := a.have[:0]
	for _, s := range a.have {
		if s.to > n {
			kept = append(kept, span{max(s.from-n, 0), s.to - n})
		}
	}
	a.have = kept
}

// arena lends assemblies and bounds the memory of all together, those that
// wait to be lent again included.
type arena struct {
	limit, used int
	free        []*assembly
}

// smallestBuffer holds most ClientHellos and nearly every DNS message.
const smallestBuffer = 4096

// room makes a, or a new assembly where a is nil, at least n bytes long. It
// returns nil where the arena has not that much; a is then as it was.
func (r *arena) room(a *assembly, n int) *assembly {
	size := smallestBuffer
	for size < n {
		size *= 2
	}
	if a == nil {
		if a = r.reuse(size); a != nil {
			return a
		}
	} else if len(a.buf) >= n {
		return a
	}
	extra := size
	if a != nil {
		extra -= len(a.buf)
	}
	for r.used+extra > r.limit && len(r.free) > 0 {
		last := len(r.free) - 1
		r.used -= len(r.free[last].buf)
		r.free[last] = nil
		r.free = r.free[:last]
	}
	if r.used+extra > r.limit {
		return nil
	}
	r.used += extra
	if a == nil {
		return &assembly{buf: make([]byte, size)}
	}
	grown := make([]byte, size)
	copy(grown, a.buf)
	a.buf = grown
	return a
}

func (r *arena) reuse(size int) *assembly {
	last := len(r.free) - 1
	if last < 0 || len(r.free[last].buf) < size {
		return nil
	}
	a := r.free[last]
	r.free[last] = nil
	r.free = r.free[:last]
	return a
}

func (r *arena) give(a *assembly) {
	if a == nil {
		return
	}
	a.have = a.have[:0]
	r.free = append(r.free, a)
}
