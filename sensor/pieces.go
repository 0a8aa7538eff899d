package sensor

import (
	"iter"
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// pieces is a list that grows by whole pieces, so that what is in it stays where it
// is: one of millions that grows by appending is copied again and again.
type pieces[T any] struct {
	all [][]T
	n   int
}

const pieceLength = 4096

// at returns element i. Those that are missing up to it are added, empty.
func (p *pieces[T]) at(i int) *T {
	for i >= len(p.all)*pieceLength {
		piece := make([]T, pieceLength)
		clear(piece) // the kernel maps a page anew, on every CPU, that is written to only after it was read
		p.all = append(p.all, piece)
	}
	p.n = max(p.n, i+1)
	return &p.all[i/pieceLength][i%pieceLength]
}

func (p *pieces[T]) each() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range p.n {
			if !yield(&p.all[i/pieceLength][i%pieceLength]) {
				return
			}
		}
	}
}

// touched asks for all of *e, which is no longer than a line, and returns e.
func touched[T any](e *T) *T {
	p, last := unsafe.Pointer(e), unsafe.Sizeof(*e)-1
	prefetch.Line(p)
	if uintptr(p)%prefetch.LineSize+last >= prefetch.LineSize {
		prefetch.Line(unsafe.Add(p, last))
	}
	return e
}
