package flow

// Harvest appends to dst the records of a whole harvest.
func (t *Table) Harvest(dst []Record, clock int64, flush bool) []Record {
	var out Records
	t.Begin(&out, clock, flush)
	for t.Step(1) {
	}
	for r := range out.All() {
		dst = append(dst, *r)
	}
	return dst
}
