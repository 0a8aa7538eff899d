package sensor

import "iter"

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
