package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"
	"math"
	bigint "math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

var (
	little = binary.LittleEndian
	big    = binary.BigEndian
)

// frame is what a test expects of a Packet.
type frame struct {
	time   int64
	link   uint16
	length uint32
	data   string
}

func words(order binary.AppendByteOrder, ws ...uint32) []byte {
	var b []byte
	for _, w := range ws {
		b = order.AppendUint32(b, w)
	}
	return b
}

// pcapRecord is a record whose header is followed by extra bytes of header.
func pcapRecord(order binary.AppendByteOrder, sec, sub, wire uint32, data string, extra int) []byte {
	b := words(order, sec, sub, uint32(len(data)), wire)
	b = append(b, make([]byte, extra)...)
	return append(b, data...)
}

func pcapFile(order binary.AppendByteOrder, magic, link uint32, records ...[]byte) []byte {
	b := words(order, magic, 0x00020004, 0, 0, 65535, link)
	return append(b, bytes.Join(records, nil)...)
}

// ngBlock wraps body, padded to words, into a block.
func ngBlock(order binary.AppendByteOrder, kind uint32, body ...[]byte) []byte {
	b := bytes.Join(body, nil)
	b = append(b, make([]byte, -len(b)&3)...)
	n := uint32(len(b) + 12)
	return slices.Concat(words(order, kind, n), b, words(order, n))
}

func ngStart(order binary.AppendByteOrder) []byte {
	return ngBlock(order, ngSection, words(order, ngOrder, 1, 0xffffffff, 0xffffffff))
}

func ngOption(order binary.AppendByteOrder, code uint16, value ...byte) []byte {
	b := order.AppendUint16(order.AppendUint16(nil, code), uint16(len(value)))
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func ngDescribe(order binary.AppendByteOrder, link uint16, snap uint32, options ...[]byte) []byte {
	head := order.AppendUint16(order.AppendUint16(nil, link), 0)
	return ngBlock(order, ngDescribes, head, words(order, snap), bytes.Join(options, nil))
}

func ngPacket(order binary.AppendByteOrder, iface uint32, stamp uint64, wire uint32, data string) []byte {
	return ngBlock(order, ngEnhanced,
		words(order, iface, uint32(stamp>>32), uint32(stamp), uint32(len(data)), wire), []byte(data))
}

func open(t testing.TB, data []byte, shards int, pick Pick) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path, shards, pick)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range f.Sources() {
			s.Close()
		}
	})
	return f
}

// drain reads a source to its end and checks what holds of any file.
func drain(t testing.TB, s Source) []Packet {
	t.Helper()
	var all []Packet
	clock, order := int64(math.MinInt64), uint64(0)
	for {
		block, err := s.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range block {
			if p.Clock < clock || p.Clock < p.Time || p.Order <= order || p.Length < uint32(len(p.Data)) {
				t.Fatalf("frame %d after %d: clock %d after %d, time %d, length %d of %d bytes",
					p.Order, order, p.Clock, clock, p.Time, p.Length, len(p.Data))
			}
			if p.Interface != 0 || p.Type != TypeUnknown {
				t.Fatalf("frame %d: interface %d, type %d", p.Order, p.Interface, p.Type)
			}
			clock, order = p.Clock, p.Order
			p.Data = slices.Clone(p.Data) // valid until the next call only
			all = append(all, p)
		}
		if got := s.Clock(); got < clock {
			t.Fatalf("source clock %d behind the packet's %d", got, clock)
		}
	}
}

func frames(ps []Packet) []frame {
	var out []frame
	for _, p := range ps {
		out = append(out, frame{p.Time, p.Link, p.Length, string(p.Data)})
	}
	return out
}

func TestFileFormats(t *testing.T) {
	const s = int64(time.Second)
	two := func(order binary.AppendByteOrder, extra int) [][]byte {
		return [][]byte{pcapRecord(order, 7, 5, 4, "abcd", extra), pcapRecord(order, 8, 6, 90, "xyz", extra)}
	}
	micro := []frame{{7*s + 5000, 1, 4, "abcd"}, {8*s + 6000, 1, 90, "xyz"}}
	nano := []frame{{7*s + 5, 1, 4, "abcd"}, {8*s + 6, 1, 90, "xyz"}}
	tests := map[string]struct {
		file   []byte
		want   []frame
		damage string
	}{
		"micro little":    {pcapFile(little, 0xa1b2c3d4, 1, two(little, 0)...), micro, ""},
		"micro big":       {pcapFile(big, 0xa1b2c3d4, 1, two(big, 0)...), micro, ""},
		"nano little":     {pcapFile(little, 0xa1b23c4d, 1, two(little, 0)...), nano, ""},
		"nano big":        {pcapFile(big, 0xa1b23c4d, 1, two(big, 0)...), nano, ""},
		"modified little": {pcapFile(little, 0xa1b2cd34, 1, two(little, 8)...), micro, ""},
		"modified big":    {pcapFile(big, 0xa1b2cd34, 1, two(big, 8)...), micro, ""},
		"fcs bits":        {pcapFile(little, 0xa1b2c3d4, 0xf4000001, two(little, 0)...), micro, ""},
		"no records":      {pcapFile(big, 0xa1b2c3d4, 1), nil, ""},
		"claims less than captured": {
			pcapFile(little, 0xa1b2c3d4, 101, pcapRecord(little, 1, 0, 3, "abcd", 0)), []frame{{s, 101, 4, "abcd"}}, ""},
		"claims more than 16 MiB": {
			pcapFile(little, 0xa1b2c3d4, 101, pcapRecord(little, 1, 0, 16<<20+1, "abcd", 0)), []frame{{s, 101, 4, "abcd"}}, ""},
		"claims 16 MiB": {
			pcapFile(little, 0xa1b2c3d4, 101, pcapRecord(little, 1, 0, 16<<20, "abcd", 0)), []frame{{s, 101, 16 << 20, "abcd"}}, ""},
		"record header cut off": {
			append(pcapFile(little, 0xa1b2c3d4, 1, two(little, 0)...), 1, 2, 3), micro, "record 3 at offset 63: header cut off"},
		"record cut off": {
			append(pcapFile(little, 0xa1b2c3d4, 1, two(little, 0)...), words(little, 9, 0, 5, 5)...), micro, "record 3 at offset 63: cut off"},
		"absurd record": {
			append(pcapFile(little, 0xa1b2c3d4, 1, two(little, 0)...), words(little, 9, 0, 64<<20+1, 5)...), micro, "record 3 at offset 63: absurd length"},
		"sections of both orders": {slices.Concat(
			ngStart(big), ngDescribe(big, 1, 0), ngPacket(big, 0, 5e6, 9, "abc"),
			ngStart(little), ngDescribe(little, 113, 0), ngPacket(little, 0, 6e6, 3, "def")),
			[]frame{{5 * s, 1, 9, "abc"}, {6 * s, 113, 3, "def"}}, ""},
		"interfaces with resolutions and offsets": {slices.Concat(ngStart(big),
			ngDescribe(big, 1, 0, ngOption(big, ngResolution, 9)),
			ngDescribe(big, 101, 0, ngOption(big, 2, 'x'), ngOption(big, ngResolution, 0x80|10)),
			ngDescribe(big, 276, 0, ngOption(big, ngResolution, 3), ngOption(big, ngOffset, 0, 0, 0, 0, 0, 0, 0, 100)),
			ngDescribe(big, 1, 0, ngOption(big, 0), ngOption(big, ngResolution, 3)),
			ngPacket(big, 2, 1500, 1, "a"), ngPacket(big, 1, 2048+512, 1, "b"), ngPacket(big, 0, 7, 1, "c"), ngPacket(big, 3, 7, 1, "d")),
			[]frame{{101*s + s/2, 276, 1, "a"}, {2*s + s/2, 101, 1, "b"}, {7, 1, 1, "c"}, {7000, 1, 1, "d"}}, ""},
		"simple and old packet blocks": {slices.Concat(ngStart(little), ngDescribe(little, 1, 4), ngDescribe(little, 12, 0),
			ngBlock(little, ngSimple, words(little, 6), []byte("abcd")),
			ngBlock(little, ngSimple, words(little, 3), []byte("xyz")),
			ngBlock(little, ngOldPacket, little.AppendUint16(little.AppendUint16(nil, 1), 77), words(little, 0, 8e6, 2, 5), []byte("hi")),
			ngBlock(little, 0xBAD, []byte("custom"))),
			[]frame{{0, 1, 6, "abcd"}, {0, 1, 3, "xyz"}, {8 * s, 12, 5, "hi"}}, ""},
		"block too short for its kind": {slices.Concat(ngStart(little), ngBlock(little, ngDescribes), ngDescribe(little, 1, 0),
			ngBlock(little, ngEnhanced, words(little, 0, 0, 0)), ngBlock(little, ngSimple), ngPacket(little, 0, 1, 1, "a")),
			[]frame{{1000, 1, 1, "a"}}, ""},
		"unknown interface": {slices.Concat(ngStart(little), ngDescribe(little, 1, 0), ngPacket(little, 0, 1, 1, "a"), ngPacket(little, 1, 1, 1, "b")),
			[]frame{{1000, 1, 1, "a"}}, "record 2 at offset 84: packet of an interface"},
		"interface of an earlier section": {slices.Concat(ngStart(little), ngDescribe(little, 1, 0), ngStart(little), ngPacket(little, 0, 1, 1, "b")),
			nil, "packet of an interface"},
		"simple packet without interface": {slices.Concat(ngStart(little), ngBlock(little, ngSimple, words(little, 1), []byte("a"))),
			nil, "before any interface"},
		"packet longer than its block": {slices.Concat(ngStart(little), ngDescribe(little, 1, 0),
			ngBlock(little, ngEnhanced, words(little, 0, 0, 0, 5, 5), []byte("abcd"))), nil, "record 1 at offset 48: packet longer"},
		"block cut off":             {append(ngStart(little), words(little, ngEnhanced, 32, 0, 0)...), nil, "at offset 28: bad block length"},
		"block length not in words": {append(ngStart(little), words(little, ngEnhanced, 13, 0, 0)...), nil, "at offset 28: bad block length"},
		"block header cut off":      {append(ngStart(little), 6, 0, 0, 0), nil, "at offset 28: cut off"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := open(t, test.file, 1, nil)
			got := frames(drain(t, f.Sources()[0]))
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v\nwant %v", got, test.want)
			}
			switch damage := f.Damage(); {
			case test.damage == "" && damage != nil:
				t.Errorf("damage: %v", damage)
			case test.damage != "" && (damage == nil || !strings.Contains(damage.Error(), test.damage)):
				t.Errorf("damage %v, want %q", damage, test.damage)
			}
		})
	}
}

func TestFileRefusals(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, path := range []string{
		write("empty", nil),
		write("short", []byte{0xd4, 0xc3}),
		write("text", []byte("GET / HTTP/1.1\r\n")),
		write("header cut off", words(little, 0xa1b2c3d4, 0x00020004, 0, 0)),
		write("gzip of text", pack(t, []byte("no capture at all"))),
	} {
		if _, err := OpenFile(path, 1, nil); !errors.Is(err, ErrNotCapture) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	if _, err := OpenFile(write("gzip header", []byte{0x1f, 0x8b, 9, 9}), 1, nil); err == nil {
		t.Error("bad gzip header: no error")
	}
	if _, err := OpenFile(filepath.Join(dir, "absent"), 1, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := OpenFile(dir, 1, nil); err == nil {
		t.Error("directory: no error")
	}
	if _, err := OpenFile(write("capture", pcapFile(little, 0xa1b2c3d4, 1)), 2, nil); err == nil {
		t.Error("two shards without a rule: no error")
	}
}

func pack(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFileGzip(t *testing.T) {
	plain := pcapFile(little, 0xa1b2c3d4, 1, many(1000)...)
	want := frames(drain(t, open(t, plain, 1, nil).Sources()[0]))

	whole := open(t, pack(t, plain), 1, nil)
	if got := frames(drain(t, whole.Sources()[0])); !slices.Equal(got, want) || whole.Damage() != nil {
		t.Errorf("%d frames of %d, damage %v", len(got), len(want), whole.Damage())
	}
	packed := pack(t, plain)
	cut := open(t, packed[:len(packed)/2], 1, nil)
	got := frames(drain(t, cut.Sources()[0]))
	if len(got) == 0 || len(got) >= len(want) || !slices.Equal(got, want[:len(got)]) {
		t.Errorf("%d frames of the first half", len(got))
	}
	if d := cut.Damage(); d == nil || !strings.Contains(d.Error(), "gzip") {
		t.Errorf("damage: %v", d)
	}
}

// many makes records with distinct data; times go back now and then.
func many(n int) [][]byte {
	var out [][]byte
	for i := range n {
		data := words(little, uint32(i), uint32(i*7919))
		out = append(out, pcapRecord(little, uint32(1000+i-5*(i%3)), 0, 100, string(data), 0))
	}
	return out
}

func TestFileShards(t *testing.T) {
	const n = 40000 // more than one walk
	data := pcapFile(little, 0xa1b2c3d4, 1, many(n)...)
	whole := drain(t, open(t, data, 1, nil).Sources()[0])
	pick := func(_ uint16, b []byte, wire uint32) int {
		if wire != 100 {
			return -1
		}
		h := fnv.New32()
		h.Write(b)
		return int(h.Sum32()%3) + int(h.Sum32()>>31)*2 // 0 to 4, unevenly
	}
	f := open(t, data, 4, pick) // what goes to 4 goes to nobody
	got := make([][]Packet, 4)
	var wg sync.WaitGroup
	for i, s := range f.Sources() {
		wg.Go(func() { got[i] = drain(t, s) })
	}
	wg.Wait()
	seen := 0
	for i := range got {
		for _, p := range got[i] {
			w := whole[p.Order-1]
			if p.Clock != w.Clock || p.Time != w.Time || string(p.Data) != string(w.Data) {
				t.Fatalf("shard %d: frame %d differs: %v, want %v", i, p.Order, p, w)
			}
			if pick(p.Link, p.Data, p.Length) != i {
				t.Fatalf("shard %d was given frame %d", i, p.Order)
			}
			seen++
		}
	}
	nobody := 0
	for _, p := range whole {
		if pick(p.Link, p.Data, p.Length) == 4 {
			nobody++
		}
	}
	if seen+nobody != n || nobody == 0 || len(got[3]) == 0 {
		t.Errorf("%d of %d frames, %d for nobody", seen, n, nobody)
	}
}

// A shard that is given nothing still hears of the time.
func TestFileIdleShard(t *testing.T) {
	data := pcapFile(little, 0xa1b2c3d4, 1, many(3*maxWalk)...)
	f := open(t, data, 2, func(uint16, []byte, uint32) int { return 0 })
	idle, empty, clock := f.Sources()[1], 0, int64(0)
	for {
		block, err := idle.Next()
		if err == io.EOF {
			break
		}
		if len(block) != 0 || err != nil {
			t.Fatalf("block of %d, %v", len(block), err)
		}
		if idle.Clock() <= clock {
			t.Fatalf("clock %d after %d", idle.Clock(), clock)
		}
		clock = idle.Clock()
		empty++
	}
	if empty < 2 {
		t.Errorf("%d empty blocks", empty)
	}
}

func TestNgTime(t *testing.T) {
	for _, test := range []struct {
		i     ngInterface
		stamp uint64
		want  int64
	}{
		{ngInterface{digits: 0}, 5, 5e9},
		{ngInterface{digits: 12}, 1999, 1},
		{ngInterface{digits: 28}, 1e19, 1},
		{ngInterface{digits: 29}, math.MaxUint64, 0},
		{ngInterface{digits: 127}, math.MaxUint64, 0},
		{ngInterface{base2: true, digits: 0}, 3, 3e9},
		{ngInterface{base2: true, digits: 32}, 3 << 31, 1.5e9},
		{ngInterface{base2: true, digits: 64}, 1 << 63, 5e8},
		{ngInterface{base2: true, digits: 93}, math.MaxUint64, 1},
		{ngInterface{base2: true, digits: 127}, math.MaxUint64, 0},
		{ngInterface{digits: 6, offset: -2}, 5e6, 3e9},
		{ngInterface{digits: 6, offset: math.MinInt64}, 0, -9223372036e9},
	} {
		if got := new(cursor).time(&test.i, test.stamp); got != test.want {
			t.Errorf("%+v at %d: %d, want %d", test.i, test.stamp, got, test.want)
		}
	}
}

// TestNgLate wants times beyond 64 bits of nanoseconds to be told apart, with and
// without others in the same capture.
func TestNgLate(t *testing.T) {
	order := binary.LittleEndian
	const late = math.MaxUint64 - 5e6 // microseconds
	for name, test := range map[string]struct {
		iface  uint32
		stamps []uint64
		want   []string
	}{
		"early":       {0, []uint64{5e6, lateTime/1000 - 1}, []string{"5000000000", "4611686018427386000"}},
		"late":        {0, []uint64{late, late + 1}, []string{"18446744073704551615000", "18446744073704551616000"}},
		"both":        {0, []uint64{1e15, late, 1e15 + 1}, []string{"1000000000000000000", "18446744073704551615000", "1000000000000001000"}},
		"back":        {0, []uint64{late, late - 1e6}, []string{"18446744073704551615000", "18446744073703551615000"}},
		"far back":    {0, []uint64{late, 1e16}, []string{"18446744073704551615000", "18444438230696000000000"}},
		"with offset": {1, []uint64{5e6, 6e6}, []string{"9000000000005000000000", "9000000000006000000000"}},
	} {
		offset := ngOption(order, ngOffset, order.AppendUint64(nil, 9e12)...)
		data := slices.Concat(ngStart(order), ngDescribe(order, 1, 0), ngDescribe(order, 1, 0, offset))
		for _, stamp := range test.stamps {
			data = append(data, ngPacket(order, test.iface, stamp, 1, "a")...)
		}
		f := open(t, data, 1, nil)
		var got []string
		for _, p := range drain(t, f.Sources()[0]) {
			seconds, ns := f.Unix(p.Time)
			n := new(bigint.Int).SetUint64(seconds)
			got = append(got, n.Mul(n, bigint.NewInt(1e9)).Add(n, bigint.NewInt(ns)).String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// The truth of the shared captures was computed by another program.
func TestFileOracle(t *testing.T) {
	for _, path := range sharedCaptures(t) {
		var truth struct {
			Totals struct {
				Frames    int
				LinkBytes uint64 `json:"link_bytes"`
			}
			Capture struct {
				Error     *string `json:"reader_error"`
				First     *int64  `json:"first_ts_ns"`
				LinkTypes map[string]int
			}
		}
		raw, err := os.ReadFile(path + ".truth.json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &truth); err != nil {
			t.Fatal(err)
		}
		f, err := OpenFile(path, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		frames, bytes := 0, uint64(0)
		for _, p := range drain(t, f.Sources()[0]) {
			frames++
			bytes += uint64(p.Length)
		}
		if frames != truth.Totals.Frames || bytes != truth.Totals.LinkBytes {
			t.Errorf("%s: %d frames, %d bytes; want %d, %d", filepath.Base(path), frames, bytes, truth.Totals.Frames, truth.Totals.LinkBytes)
		}
		if (f.Damage() != nil) != (truth.Capture.Error != nil) {
			t.Errorf("%s: damage %v", filepath.Base(path), f.Damage())
		}
		f.Sources()[0].Close()
	}
}

// sharedCaptures finds the captures beside the repository.
func sharedCaptures(t testing.TB) []string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "../shared/pcaps/*.pcap*"))
	paths = slices.DeleteFunc(paths, func(p string) bool { return strings.HasSuffix(p, ".json") })
	if len(paths) == 0 {
		t.Skip("no captures in ../shared/pcaps beside the repository")
	}
	return paths
}

// What gopacket's own writers make is read back.
func TestFileOfPcapgo(t *testing.T) {
	var plain, ng bytes.Buffer
	w := pcapgo.NewWriterNanos(&plain)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	n, err := pcapgo.NewNgWriter(&ng, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	var want []frame
	for i := range 300 {
		data := bytes.Repeat([]byte{byte(i)}, i)
		at := time.Unix(1_500_000_000+int64(i), 123456789)
		ci := gopacket.CaptureInfo{Timestamp: at, CaptureLength: i, Length: i + 7}
		if err := errors.Join(w.WritePacket(ci, data), n.WritePacket(ci, data)); err != nil {
			t.Fatal(err)
		}
		want = append(want, frame{at.UnixNano(), 1, uint32(i + 7), string(data)})
	}
	if err := n.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{plain.Bytes(), ng.Bytes()} {
		if got := frames(drain(t, open(t, data, 1, nil).Sources()[0])); !slices.Equal(got, want) {
			t.Errorf("%d frames differ from the %d written", len(got), len(want))
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add(pcapFile(big, 0xa1b2c3d4, 1, many(3)...))
	f.Add(pcapFile(little, 0xa1b2cd34, 1, pcapRecord(little, 1, 2, 3, "abc", 8)))
	f.Add(slices.Concat(ngStart(big), ngDescribe(big, 1, 5, ngOption(big, ngResolution, 0xff)), ngPacket(big, 0, 1<<60, 9, "abc"),
		ngBlock(big, ngSimple, words(big, 9), []byte("abcdefghi"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := newFile(data, 2, func(_ uint16, b []byte, _ uint32) int { return len(b) & 1 })
		if err != nil {
			return
		}
		bytes, ps := 0, 0
		for _, s := range file.Sources() {
			for _, p := range drain(t, s) {
				bytes += len(p.Data)
				ps++
			}
			s.Close()
		}
		if bytes > len(data) || ps > len(data)/12 {
			t.Fatalf("%d bytes in %d packets from a file of %d", bytes, ps, len(data))
		}
	})
}

func BenchmarkFile(b *testing.B) {
	const n = 200_000
	records := many(n)
	for _, shards := range []int{1, 4} {
		b.Run(map[int]string{1: "one", 4: "fourth"}[shards], func(b *testing.B) {
			data := pcapFile(little, 0xa1b2c3d4, 1, records...)
			b.ReportAllocs()
			for b.Loop() {
				f, err := newFile(data, shards, func(_ uint16, b []byte, _ uint32) int { return int(b[0] & 3) })
				if err != nil {
					b.Fatal(err)
				}
				for {
					if _, err := f.Sources()[0].Next(); err != nil {
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/frame")
		})
	}
}

func TestFileAllocates(t *testing.T) {
	data := pcapFile(little, 0xa1b2c3d4, 1, many(100*fileBlock)...)
	s := open(t, data, 1, nil).Sources()[0]
	if n := testing.AllocsPerRun(50, func() { s.Next() }); n != 0 {
		t.Errorf("%v allocations per block", n)
	}
}

// What unpacks to more than the bound is refused, whatever its size is packed.
func TestUnpackingIsBounded(t *testing.T) {
	const limit = 1 << 20
	for _, n := range []int{limit, limit + 1, 50 * limit} {
		packed := pack(t, make([]byte, n))
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		data, err := readAll(z, limit)
		if n > limit != errors.Is(err, errTooLarge) || n <= limit && len(data) != n {
			t.Errorf("%d bytes of %d packed: %d read, %v", n, len(packed), len(data), err)
		}
	}
}
