package sensor

import (
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// quiet gives one block of packets, over and over, until told to end.
type quiet struct {
	block []capture.Packet
	left  int
}

func (q *quiet) Next() ([]capture.Packet, error) {
	if q.left--; q.left < 0 {
		return nil, io.EOF
	}
	return q.block, nil
}
func (q *quiet) Clock() int64 { return q.block[0].Clock }
func (q *quiet) Ready() bool  { return q.left > 0 }
func (q *quiet) Close() error { return nil }

// blockOf reads a capture into one block.
func blockOf(t testing.TB, c *scene) []capture.Packet {
	file, err := capture.OpenFile(c.file(), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := file.Sources()[0]
	defer src.Close()
	var all []capture.Packet
	for {
		block, err := src.Next()
		if err == io.EOF {
			return all
		}
		for _, p := range block {
			p.Data = append([]byte(nil), p.Data...)
			all = append(all, p)
		}
	}
}

// TestShardAllocatesNothing wants no allocation for packets of known flows,
// from the source to the counters.
func TestShardAllocatesNothing(t *testing.T) {
	c := newScene(t)
	for port := range uint16(50) {
		k := c.connect("10.0.0.1", 5000+port, "192.0.2.1", 443)
		k.up(psh|ack, []byte("neither TLS nor HTTP"))
		k.down(psh|ack, []byte("nor is this"))
		k.up(ack, make([]byte, 1000))
		k.down(ack, make([]byte, 1000))
	}
	c.udp("10.0.0.1", 5000, "192.0.2.1", 9000, make([]byte, 100))
	cfg := testConfig()
	cfg.Sensor.Interval = time.Hour // one epoch
	p, err := newPipeline(1, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	src := &quiet{block: blockOf(t, c)}
	s := p.shard(0, src, sides{}, names.DefaultLimits(), flow.Options{})
	read := func() {
		for block, _ := src.Next(); len(block) > 0; {
			n := s.sameEpoch(block[:min(len(block), batch)])
			s.count(block[:n])
			block = block[n:]
		}
	}
	src.left = 1000
	read() // the flows become known
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%d packets cost %v allocations", len(src.block), n)
	}
	if got := s.counts[0].frames[packet.Decoded]; got < 100*uint64(len(src.block)) {
		t.Errorf("only %d packets were counted", got)
	}
}

// TestHarvestWaitsForPackets wants the records of an epoch to be given out bit by
// bit, so that no packet waits for those of all flows, and none of them lost.
func TestHarvestWaitsForPackets(t *testing.T) {
	const flows, part = 50_000, 2048
	cfg := testConfig()
	p, err := newPipeline(1, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	src := &flood{make: floods()["UDP"].make, left: math.MaxInt, r: rand.New(rand.NewPCG(1, 1)), clock: int64(time.Hour)}
	s := p.shard(0, src, sides{}, names.DefaultLimits(), flow.Options{})
	read := func() {
		block, _ := src.Next()
		for some := range slices.Chunk(block, batch) {
			s.count(some)
		}
		if s.owed += len(block); s.open != nil && s.owed >= stepAfter {
			s.step()
		}
	}
	for range flows / len(src.block) {
		read()
	}
	if !s.harvest(src.Clock(), false) {
		t.Fatal("no harvest is free")
	}
	steps := 0
	for before := 0; s.open != nil; steps++ {
		h := s.open
		read()
		if n := h.records.Len(); n > before+part {
			t.Fatalf("%d records at once", n-before)
		} else {
			before = n
		}
	}
	h := <-p.in
	if n := h.records.Len(); n < flows/2 || n > flows || steps < n/part*(stepAfter/len(src.block)) {
		t.Errorf("%d records in %d steps", n, steps)
	}
	sum := uint64(0)
	for r := range h.records.All() {
		sum += r.PacketsSent + r.PacketsReceived
	}
	if want := h.counts[0].frames[packet.Decoded]; sum != want {
		t.Errorf("the records have %d packets, the epoch %d", sum, want)
	}
}

// TestRulesEndFlows wants rules that come later to hold for flows from before.
func TestRulesEndFlows(t *testing.T) {
	c := newScene(t)
	for _, server := range []string{"192.0.2.1", "192.0.2.2"} {
		k := c.connect("10.0.0.1", 5000, server, 443)
		k.up(ack, make([]byte, 1000))
	}
	cfg := testConfig()
	cfg.Sensor.Interval = time.Hour
	p, err := newPipeline(1, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	src := &quiet{block: blockOf(t, c), left: math.MaxInt}
	s := p.shard(0, src, sides{}, names.DefaultLimits(), flow.Options{})
	read := func() (filtered uint64) {
		s.count(src.block)
		return s.counts[0].filtered
	}
	if n := read(); n != 0 {
		t.Errorf("%d filtered without rules", n)
	}
	s.next.Store(&shardRules{check: &capture.Filter{IgnoreNets: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/32")}}})
	if n := read(); n != uint64(len(src.block)/2) {
		t.Errorf("%d of %d filtered by address", n, len(src.block))
	}
	if n := s.flows.Len(); n != 1 {
		t.Errorf("%d flows live on", n)
	}
	s.next.Store(&shardRules{loopback: func(uint16) bool { return true }})
	if n := read(); n != uint64(len(src.block)*3/2) || s.flows.Len() != 0 {
		t.Errorf("%d filtered, %d flows live on", n, s.flows.Len())
	}
}
