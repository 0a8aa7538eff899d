package flow

import "github.com/netmon-sensor/netmon/sensor/internal/packet"

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

// Arrive counts a packet as a shard does.
func Arrive(t *Table, h *packet.Header, iface uint16, time int64, order uint64) Result {
	t.Touch(h, iface)
	t.Find(h)
	if r, ok := t.AddKnown(h, iface, time); ok {
		return r
	}
	return t.Add(h, iface, time, order)
}
