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
