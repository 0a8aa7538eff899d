package sensor

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/windowlog"
)

// flood is a source of frames that are made up as they are read, a million in a
// second of their own time.
type flood struct {
	make  func(r *rand.Rand, n int, frame []byte) []byte
	left  int
	n     int
	r     *rand.Rand
	clock int64
	block [256]capture.Packet
}

func (f *flood) Next() ([]capture.Packet, error) {
	if f.left == 0 {
		return nil, io.EOF
	}
	n := min(f.left, len(f.block))
	for i := range n {
		p := &f.block[i]
		f.n++
		f.clock += int64(time.Microsecond)
		p.Data = f.make(f.r, f.n, p.Data[:0])
		p.Length, p.Link, p.Time, p.Clock, p.Order = uint32(len(p.Data)), 1, f.clock, f.clock, uint64(f.clock)
	}
	f.left -= n
	return f.block[:n], nil
}
func (f *flood) Clock() int64 { return f.clock }
func (f *flood) Ready() bool  { return true }
func (f *flood) Close() error { return nil }

// frameOf appends an Ethernet frame of IPv4, or of IPv6 where v6 says so.
func frameOf(f []byte, v6 bool, src, dst uint32, protocol byte, body ...byte) []byte {
	if v6 {
		f = append(f, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0)
		f = append(binary.BigEndian.AppendUint16(f, uint16(len(body))), protocol, 64)
		for _, a := range []uint32{src, dst} {
			f = append(f, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0)
			f = binary.BigEndian.AppendUint32(f, a)
		}
		return append(f, body...)
	}
	f = append(f, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(20+len(body)))
	f = append(f, 0, 0, 0x40, 0, 64, protocol, 0, 0)
	f = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(f, src), dst)
	return append(f, body...)
}

func tcpBody(sport, dport uint16, seq uint32, flags byte, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), dport)
	b = binary.BigEndian.AppendUint32(b, seq)
	return append(append(b, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0), payload...)
}

func udpBody(sport, dport uint16, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), dport)
	return append(append(binary.BigEndian.AppendUint16(b, uint16(8+len(payload))), 0, 0), payload...)
}

// subdomain is a DNS message about a name that nobody asked for before; the answer
// gives an address of its own.
func subdomain(r *rand.Rand, id uint16, answer bool) []byte {
	m := binary.BigEndian.AppendUint16(nil, id)
	if answer {
		m = append(m, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0)
	} else {
		m = append(m, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	}
	label := fmt.Sprintf("%050x", r.Uint64())
	m = append(append(m, byte(len(label))), label...)
	m = append(m, "\x07example\x03com\x00\x00\x01\x00\x01"...)
	if answer {
		m = append(m, 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4)
		m = binary.BigEndian.AppendUint32(m, 0x0b000000|r.Uint32N(1<<24))
	}
	return m
}

// floods are attacks, and the counters that must show what they cost.
func floods() map[string]struct {
	make    func(r *rand.Rand, n int, f []byte) []byte
	reached []string
} {
	type m = func(r *rand.Rand, n int, f []byte) []byte
	table := []string{"flows_evicted_total", "rows_overflowed_total"}
	return map[string]struct {
		make    m
		reached []string
	}{
		"SYNs": {func(r *rand.Rand, n int, f []byte) []byte {
			return frameOf(f, n%2 == 0, r.Uint32(), 0xc0000201, 6, tcpBody(uint16(r.Uint32()), 443, r.Uint32(), 2)...)
		}, table[:1]},
		"scan": {func(r *rand.Rand, n int, f []byte) []byte {
			return frameOf(f, n%2 == 0, 0xc0000201, r.Uint32(), 6, tcpBody(40000, uint16(r.Uint32()), r.Uint32(), 2)...)
		}, table},
		"UDP": {func(r *rand.Rand, n int, f []byte) []byte {
			return frameOf(f, n%2 == 0, r.Uint32(), r.Uint32(), 17, udpBody(uint16(r.Uint32()), uint16(1024+r.Uint32N(60000)), 1, 2, 3)...)
		}, table},
		"subdomains": {func(r *rand.Rand, n int, f []byte) []byte {
			client, id := 0x0a000000|r.Uint32N(1<<16), uint16(r.Uint32())
			if n%2 == 0 {
				return frameOf(f, false, client, 0xc0000235, 17, udpBody(uint16(r.Uint32()), 53, subdomain(r, id, false)...)...)
			}
			return frameOf(f, false, 0xc0000235, client, 17, udpBody(53, uint16(1024+r.Uint32N(60000)), subdomain(r, id, true)...)...)
		}, []string{"flows_evicted_total", "names_overflowed_total", "names_evicted_total"}},
		"half hellos": {func(r *rand.Rand, n int, f []byte) []byte {
			return frameOf(f, false, r.Uint32(), 0xc0000201, 6, tcpBody(uint16(r.Uint32()), 443, 1, 0x18, 0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3)...)
		}, []string{"flows_evicted_total", "names_overflowed_total"}},
	}
}

// floodPackets is how many packets each flood of TestFlood has: NETMON_FLOOD, or
// enough to reach the bounds of a small configuration.
func floodPackets(t *testing.T) int {
	text := os.Getenv("NETMON_FLOOD")
	if text == "" {
		return 40_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("NETMON_FLOOD: %v", err)
	}
	return n
}

// TestFlood attacks a pipeline with the bounds of a live one. Its memory stays below
// the ceiling that its configuration says, totals are exact, and each bound that is
// reached shows in its counter.
func TestFlood(t *testing.T) {
	packets := floodPackets(t)
	for name, f := range floods() {
		t.Run(name, func(t *testing.T) {
			const shards = 2
			cfg := testConfig()
			cfg.Sensor.Interval = 10 * time.Millisecond
			cfg.Sensor.StateDir, cfg.Sensor.LogMaxBytes = "", 16<<20
			cfg.Capture.Shards, cfg.Capture.MaxFlows = shards, 5_000
			cfg.Capture.RingMemory = 4 << 20
			cfg.Views.MaxRows = 500
			limit := ceilingOf(&cfg)
			limits := names.DefaultLimits()
			limits.HeadFlows, limits.DNSTransactions = min(limits.HeadFlows, packets/20), min(limits.DNSTransactions, packets/20)
			p, err := newPipeline(shards, &cfg)
			if err != nil {
				t.Fatal(err)
			}
			log := windowlog.NewMemory(windowlog.MemoryOptions{SensorID: "test", MaxBytes: int64(cfg.Sensor.LogMaxBytes)})
			var counted uint64
			var peak uint64
			figures := map[string]uint64{}
			imbalance := 0.0
			p.join.publish = func(start, end int64, rows []*netmonpb.Row) error {
				for _, r := range rows {
					switch r.Key.View {
					case netmonpb.View_VIEW_DOMAINS:
						counted += r.Counters.GetPacketsSent() + r.Counters.GetPacketsReceived()
					case netmonpb.View_VIEW_SENSOR:
						figures[r.Key.Item] += r.Counters.GetValue()
						if r.Key.Item == "audit_imbalance" {
							imbalance = max(imbalance, math.Abs(r.GetGauge()))
						}
					}
				}
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.Sys-m.HeapReleased)
				return log.Append(&netmonpb.Window{StartNs: uint64(start), EndNs: uint64(end), Rows: rows})
			}
			begin := time.Now()
			var g errgroup.Group
			for i := range shards {
				src := &flood{make: f.make, left: packets / shards, r: rand.New(rand.NewPCG(1, uint64(i))), clock: int64(time.Hour)}
				s := p.shard(i, src, sides{}, limits, flow.Options{MaxFlows: cfg.Capture.MaxFlows / shards, HoldNS: int64(holdTime)})
				g.Go(func() error { return s.run(t.Context()) })
			}
			if err := p.join.run(p.in, func() {}); err != nil {
				t.Error(err)
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			took := time.Since(begin)
			if want := uint64(packets / shards * shards); counted != want || imbalance != 0 {
				t.Errorf("%d packets counted of %d, imbalance %v", counted, want, imbalance)
			}
			if heap := limit.total() - limit[0].bytes; peak > uint64(heap) {
				t.Errorf("%d MiB of memory, the ceiling is %d MiB", peak>>20, heap>>20)
			}
			var lacking []string
			for _, item := range f.reached {
				if figures[item] == 0 && !(item == "names_evicted_total" && packets < 1<<20) {
					lacking = append(lacking, item)
				}
			}
			if len(lacking) > 0 {
				t.Errorf("a bound was not reached, or not told: %s", strings.Join(lacking, ", "))
			}
			t.Logf("%d packets, %v each, %d MiB of memory, ceiling %d MiB", packets, took/time.Duration(packets), peak>>20, limit.total()>>20)
			runtime.GC()
		})
	}
}

// The ceiling grows with every option that it depends on.
func TestCeiling(t *testing.T) {
	base := testConfig()
	base.Capture.Shards, base.Capture.RingMemory, base.Capture.MaxFlows = 1, 16<<20, 20_000
	base.Sensor.StateDir, base.Sensor.LogMaxBytes = "", 16<<20
	base.Views.MaxRows = 5000
	small := ceilingOf(&base).total()
	for name, change := range map[string]func(){
		"ring_memory": func() { base.Capture.RingMemory *= 2 }, "max_flows": func() { base.Capture.MaxFlows *= 2 },
		"max_rows": func() { base.Views.MaxRows *= 2 }, "log_max_bytes": func() { base.Sensor.LogMaxBytes *= 2 },
		"shards": func() { base.Capture.Shards = 2 },
	} {
		was := base
		change()
		if got := ceilingOf(&base).total(); got <= small {
			t.Errorf("%s does not change the ceiling of %d", name, small)
		}
		base = was
	}
	for limit, fine := range map[int64]bool{0: true, small: true, small - 1: false} {
		base.Sensor.MemoryLimit = plugins.Bytes(limit)
		if err := ceilingOf(&base).check(&base); (err == nil) != fine {
			t.Errorf("a limit of %d with a ceiling of %d: %v", limit, small, err)
		}
	}
}
