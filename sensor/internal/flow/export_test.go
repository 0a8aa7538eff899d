package flow

// Harvest appends to dst the records of a whole harvest.
func (t *Table) Harvest(dst []Record, clock int64, flush bool) []Record {
	var out Records
	t.harvestInto(&out, clock, flush)
	for r := range out.All() {
		dst = append(dst, *r)
	}
	return dst
}

// harvestInto is Harvest without a copy.
func (t *Table) harvestInto(out *Records, clock int64, flush bool) {
	out.Reset()
	t.Begin(out, clock, flush)
	for t.Step(1) {
	}
}
