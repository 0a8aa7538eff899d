package sensor

import (
	"cmp"
	"slices"
)

// sortBirths puts births into the order of their first packets. They come in a few
// runs of that order, of each table of each shard, which are merged two by two.
func (j *join) sortBirths() {
	if len(j.births) > mergeBound {
		slices.SortFunc(j.births, func(a, b birth) int { return cmp.Compare(a.order, b.order) })
		return
	}
	for {
		a, rest := firstRun(j.births)
		if len(rest) == 0 {
			return
		}
		j.merged = j.merged[:0]
		for len(a) > 0 {
			var b []birth
			b, rest = firstRun(rest)
			j.merge(a, b)
			a, rest = firstRun(rest)
		}
		copy(j.births, j.merged)
	}
}

// mergeBound is how many births are merged: more are sorted where they are, which takes
// no more memory.
const mergeBound = 1 << 16

// firstRun parts off the first births that are in order.
func firstRun(births []birth) (first, rest []birth) {
	n := min(1, len(births))
	for n < len(births) && births[n-1].order <= births[n].order {
		n++
	}
	return births[:n], births[n:]
}

func (j *join) merge(a, b []birth) {
	to := j.merged
	for len(a) > 0 && len(b) > 0 {
		if a[0].order <= b[0].order {
			to = append(to, a[0])
			a = a[1:]
		} else {
			to = append(to, b[0])
			b = b[1:]
		}
	}
	j.merged = append(append(to, a...), b...)
}
