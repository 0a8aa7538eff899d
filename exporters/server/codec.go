package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// codecVersion begins everything that a store writes. What begins with another
// number is of another version of the server, and refused.
const codecVersion = 1

// shape is what the encoding of a sensor depends on beside the version: another
// number of groups or counters is another encoding.
const shape = uint64(numGroups)<<16 | uint64(numCounters)<<8 | uint64(numHistograms)

// maxEncoded bounds what is decompressed at once.
const maxEncoded = 2 << 30

var errEncoding = errors.New("the encoding makes no sense")

// codec encodes changes and sensors for stores that keep them. It is safe for
// concurrent use.
type codec struct {
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

func newCodec() (*codec, error) {
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxEncoded))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return &codec{zip, unzip}, nil
}

func (c *codec) close() {
	_ = c.zip.Close() // nothing is buffered in it
	c.unzip.Close()
}

// body encodes what a change is about. It is most of the work, and can be done
// before it is known when the change will be performed.
func (c *codec) body(ch *change) ([]byte, error) {
	m := &netmonpb.PushRequest{Item: &netmonpb.PushRequest_Window{Window: ch.window}}
	if ch.snapshot != nil {
		m.Item = &netmonpb.PushRequest_Snapshot{Snapshot: ch.snapshot}
	}
	plain, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode window or snapshot: %w", err)
	}
	return c.zip.EncodeAll(plain, nil), nil
}

// head encodes the rest of a prepared change; the body follows it.
func head(ch *change) []byte {
	b := []byte{codecVersion}
	b = binary.AppendVarint(b, ch.at.UnixNano())
	b = binary.AppendVarint(b, int64(ch.room.log))
	return binary.AppendVarint(b, int64(ch.room.sensor))
}

// change decodes head and body.
func (c *codec) change(b []byte) (*change, error) {
	r := reader{rest: b}
	r.version()
	ch := &change{at: time.Unix(0, r.varint())}
	ch.room = room{int(r.varint()), int(r.varint())}
	if r.err != nil {
		return nil, r.err
	}
	plain, err := c.unzip.DecodeAll(r.rest, nil)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	m := &netmonpb.PushRequest{}
	if err := proto.Unmarshal(plain, m); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	ch.window, ch.snapshot = m.GetWindow(), m.GetSnapshot()
	if ch.window == nil && ch.snapshot == nil {
		return nil, errEncoding
	}
	return ch, nil
}

// sensor decodes what pack made.
func (c *codec) sensor(b []byte) (*sensor, error) {
	plain, err := c.unzip.DecodeAll(b, nil)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return decodeSensor(plain)
}

func (c *codec) pack(plain []byte) []byte { return c.zip.EncodeAll(plain, nil) }

// encodeSensor writes everything that a sensor holds: its series in their order,
// then what each log adds to them, by their number.
func encodeSensor(s *sensor) []byte {
	b := make([]byte, 0, 1024+256*s.series)
	b = binary.AppendUvarint(append(b, codecVersion), shape)
	b = appendText(b, s.id)
	b = binary.AppendVarint(b, s.seen.UnixNano())
	b = appendText(b, string(s.about))
	b = binary.AppendUvarint(b, s.steps)
	b = appendNumbers(b, s.sums[:])
	first := map[*group]int{} // number of a group's first series
	n := 0
	b = binary.AppendUvarint(b, uint64(len(s.items)))
	for item := range s.items {
		b = appendText(b, item)
		b, n = appendGroup(b, s.items[item], first, n)
	}
	for i := range s.groups {
		b, n = appendGroup(b, &s.groups[i], first, n)
	}
	number := func(x *series) uint64 { return uint64(first[x.group] + x.position) }
	b = binary.AppendUvarint(b, uint64(len(s.logs)))
	for _, l := range s.logs {
		b = appendLog(b, l, number)
	}
	return b
}

func appendGroup(b []byte, g *group, first map[*group]int, n int) ([]byte, int) {
	first[g] = n
	b = binary.AppendUvarint(b, uint64(len(g.series)))
	for _, x := range g.series {
		b = appendText(b, x.labels)
		b = binary.AppendUvarint(b, uint64(x.view))
		b = appendText(b, x.iface)
		b = binary.AppendUvarint(b, uint64(x.direction))
		b = appendFlag(b, x.sum != nil)
		if x.sum != nil {
			b = appendText(b, x.sum.Domain)
			b = binary.AppendUvarint(b, uint64(x.sum.NameSource))
			b = appendText(b, x.sum.Detail)
		}
		b = appendFlag(b, x.hasGauge)
		if x.hasGauge {
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(x.gauge))
		}
		b = appendCounts(b, &x.counts)
	}
	return b, n + len(g.series)
}

func appendLog(b []byte, l *log, number func(*series) uint64) []byte {
	b = appendText(b, l.id)
	b = binary.AppendUvarint(b, l.watermark)
	b = appendText(b, string(l.chain))
	b = appendFlag(b, l.ledger != nil)
	if l.ledger != nil {
		b = binary.AppendUvarint(b, *l.ledger)
	}
	b = binary.AppendUvarint(b, l.end)
	b = binary.AppendUvarint(b, l.step)
	b = appendNumbers(b, l.sums[:])
	b = appendFlag(b, l.folded)
	b = binary.AppendUvarint(b, uint64(len(l.bytes)))
	for v, n := range l.bytes {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(v)), n)
	}
	b = binary.AppendUvarint(b, uint64(len(l.parts)))
	for x, p := range l.parts {
		b = binary.AppendUvarint(b, number(x))
		b = appendCounts(b, &p.counts)
	}
	b = binary.AppendUvarint(b, uint64(len(l.rows)))
	for _, r := range l.rows {
		b = appendText(b, r.key)
		n := 0
		for n < maxFeeds && r.parts[n] != nil {
			n++
		}
		b = binary.AppendUvarint(b, uint64(n))
		for _, p := range r.parts[:n] {
			b = binary.AppendUvarint(b, number(p.series))
		}
	}
	return b
}

func decodeSensor(b []byte) (*sensor, error) {
	r := &reader{rest: b}
	r.version()
	if have := r.uvarint(); r.err == nil && have != shape {
		r.err, r.rest = fmt.Errorf("it has the shape %x, and this server knows shape %x", have, shape), nil
	}
	s := newSensor(r.text())
	s.seen = time.Unix(0, r.varint())
	if about := r.text(); about != "" {
		s.about = []byte(about)
	}
	s.steps = r.uvarint()
	r.numbers(s.sums[:])
	var all []*series // by number
	for range r.count() {
		all = r.group(s.at(target{byItem, r.text()}), all)
	}
	for i := range s.groups {
		all = r.group(&s.groups[i], all)
	}
	for range r.count() {
		l := r.log(all)
		s.logs = append(s.logs, l)
		s.rows += len(l.rows)
	}
	if r.err == nil && (len(r.rest) != 0 || s.id == "" || len(s.logs) == 0) {
		r.err = errEncoding
	}
	return s, r.err
}

func (r *reader) group(g *group, all []*series) []*series {
	for range r.count() {
		x := &series{
			labels: r.text(), group: g, position: len(g.series),
			view: view(r.uvarint()), iface: r.text(), direction: netmonpb.Direction(r.uvarint()),
		}
		if r.flag() {
			x.sum = &netmonpb.Key{Domain: r.text(), NameSource: netmonpb.NameSource(r.uvarint()), Detail: r.text()}
		}
		if x.hasGauge = r.flag(); x.hasGauge {
			x.gauge = math.Float64frombits(r.fixed64())
		}
		r.counts(&x.counts)
		g.owner.series++
		g.series = append(g.series, x)
		g.byLabels[x.labels] = x
		all = append(all, x)
	}
	return all
}

func (r *reader) log(all []*series) *log {
	l := &log{id: r.text(), watermark: r.uvarint(), chain: []byte(r.text()), bytes: map[view]uint64{}}
	if r.flag() {
		total := r.uvarint()
		l.ledger = &total
	}
	l.end, l.step = r.uvarint(), r.uvarint()
	r.numbers(l.sums[:])
	l.folded = r.flag()
	for range r.count() {
		l.bytes[view(r.uvarint())] = r.uvarint()
	}
	n := r.count()
	l.parts = make(map[*series]*part, n)
	byNumber := make([]*part, len(all))
	for range n {
		i := r.index(len(all))
		if r.err != nil {
			return l
		}
		p := &part{series: all[i]}
		r.counts(&p.counts)
		l.parts[p.series], byNumber[i] = p, p
	}
	n = r.count()
	l.rows = make(map[string]*row, n)
	for range n {
		to := &row{key: r.text()}
		for i := range min(r.count(), maxFeeds) {
			at := r.index(len(all))
			if r.err != nil || byNumber[at] == nil {
				r.spoil()
				return l
			}
			to.parts[i] = byNumber[at]
			to.parts[i].rows++
			to.parts[i].series.rows++
		}
		l.rows[to.key] = to
	}
	return l
}

// appendCounts writes the counters that are not zero, after a mask that says
// which, then the histograms.
func appendCounts(b []byte, c *counts) []byte {
	var mask uint64
	for i, n := range c.n {
		if n != 0 {
			mask |= 1 << i
		}
	}
	if c.histograms != nil {
		mask |= 1 << numCounters
	}
	b = binary.AppendUvarint(b, mask)
	for _, n := range c.n {
		if n != 0 {
			b = binary.AppendUvarint(b, n)
		}
	}
	if c.histograms != nil {
		for i := range c.histograms {
			h := &c.histograms[i]
			b = binary.AppendUvarint(b, uint64(len(h.buckets)))
			b = appendNumbers(b, h.buckets)
			b = binary.AppendUvarint(binary.AppendUvarint(b, h.seconds), h.sum)
		}
	}
	return b
}

func (r *reader) counts(c *counts) {
	mask := r.uvarint()
	for i := range c.n {
		if mask&(1<<i) != 0 {
			c.n[i] = r.uvarint()
		}
	}
	if mask&(1<<numCounters) == 0 {
		return
	}
	c.histograms = &[numHistograms]histogram{}
	for i := range c.histograms {
		h := &c.histograms[i]
		if n := r.count(); n > 0 {
			h.buckets = make([]uint64, n)
			r.numbers(h.buckets)
		}
		h.seconds, h.sum = r.uvarint(), r.uvarint()
	}
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendNumbers(b []byte, numbers []uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendFlag(b []byte, flag bool) []byte {
	if flag {
		return append(b, 1)
	}
	return append(b, 0)
}

// reader takes an encoding apart. At the first thing that makes no sense it keeps
// the error and yields zeros from then on.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) spoil() {
	if r.err == nil {
		r.err = errEncoding
	}
	r.rest = nil
}

// take returns the next n bytes, zeros where they are missing.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.spoil()
		return make([]byte, min(n, 8))
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) version() {
	if v := r.take(1)[0]; r.err == nil && v != codecVersion {
		r.err, r.rest = fmt.Errorf("it is of version %d, and this server knows version %d", v, codecVersion), nil
	}
}

func (r *reader) flag() bool      { return r.take(1)[0] != 0 }
func (r *reader) fixed64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) text() string    { return string(r.take(r.uvarint())) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.spoil()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.spoil()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count is the number of things that follow; each takes a byte at least.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.spoil()
		return 0
	}
	return int(n)
}

// index is a number below n.
func (r *reader) index(n int) int {
	i := r.uvarint()
	if i >= uint64(n) {
		r.spoil()
		return 0
	}
	return int(i)
}

func (r *reader) numbers(into []uint64) {
	for i := range into {
		into[i] = r.uvarint()
	}
}
