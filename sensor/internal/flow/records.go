package flow

import "iter"

// Records are those of one harvest, in parts that do not move as they gather, so
// that a million of them neither are copied nor come into being in one step. The
// zero value is empty.
type Records struct {
	parts [][]Record // all but the last one are full
	spare [][]Record
}

// partRecords is how many records a part has: with 160 bytes each, 160 KiB.
const partRecords = 1 << 10

// Reset empties r. What it held is used again for the records to come.
func (r *Records) Reset() {
	r.spare = append(r.spare, r.parts...)
	clear(r.parts)
	r.parts = r.parts[:0]
}

// Trim gives back what Reset kept and the records of now did not need.
func (r *Records) Trim() {
	clear(r.spare)
	r.spare = r.spare[:0]
}

// Len is the number of records.
func (r *Records) Len() int {
	n := len(r.parts)
	if n == 0 {
		return 0
	}
	return (n-1)*partRecords + len(r.parts[n-1])
}

// All yields the records in the order in which they were given out. They stay
// where they are until Reset.
func (r *Records) All() iter.Seq[*Record] { return r.From(0) }

// From yields those after the first n.
func (r *Records) From(n int) iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		within := n % partRecords
		for _, part := range r.parts[min(n/partRecords, len(r.parts)):] {
			for i := range part[within:] {
				if !yield(&part[within+i]) {
					return
				}
			}
			within = 0
		}
	}
}

// add returns a new record, whose content is anything.
func (r *Records) add() *Record {
	last := len(r.parts) - 1
	if last < 0 || len(r.parts[last]) == partRecords {
		var part []Record
		if n := len(r.spare) - 1; n >= 0 {
			part, r.spare[n] = r.spare[n][:0], nil
			r.spare = r.spare[:n]
		} else {
			part = make([]Record, 0, partRecords)
		}
		r.parts = append(r.parts, part)
		last++
	}
	part := r.parts[last]
	part = part[:len(part)+1]
	r.parts[last] = part
	return &part[len(part)-1]
}
