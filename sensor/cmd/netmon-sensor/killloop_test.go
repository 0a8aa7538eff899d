package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/windowlog"
)

const (
	// killSeed repeats the moments of a run of TestKilledAtAnyMoment.
	killSeed = "NETMON_KILL_SEED"

	killWindow = time.Second      // length of a window there
	killHold   = 10 * time.Second // a SYN waits for a name for so long

	// stamped is how far a packet's time may be from that of the call that sent it.
	stamped = 150 * time.Millisecond
	// onTheWay bounds what a window takes from its end to the disk on a machine that
	// has much else to do.
	onTheWay = 4 * time.Second
)

// TestKilledAtAnyMoment kills a sensor with SIGKILL again and again, at moments drawn
// from a seed: as it starts, between windows, in the middle of a write. Each packet on
// the wire has a source address of its own, so that every one counted is recognised.
// The log of each that was killed has nothing twice, and lacks what came after its last
// window and what was held for a name, and nothing else. At rest the server has what
// the log has, address by address (P5).
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds, seed := 20, rand.Uint64()
	if os.Getenv("NETMON_SLOW") == "1" {
		rounds = 200
	}
	if text := os.Getenv(killSeed); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", killSeed, err)
		}
	}
	t.Logf("%s=%d", killSeed, seed)
	random := rand.New(rand.NewPCG(seed, 0))

	h, peer := newHost(t), newHost(t)
	h.wire("eth0", "192.0.2.1/24", peer, "eth0", "192.0.2.2/24")
	server := newServer(h, "server", 8001, `storage "memory" {}`)
	server.up()
	dir := tempDir(t) + "/state"
	config := in(dir, strings.Replace(sensorConfig("views {\n  max_rows = 100000\n}\nexporter \"push\" {\n  url = \"http://127.0.0.1:8001/api/v1/metrics\"\n}\n"),
		"shards     = 2", "shards = 1", 1))

	s := newNumbered(t, peer)
	var longest time.Duration
	last := committed{}
	for round := range rounds {
		began := time.Now()
		p := h.startSensor(config)
		pause := time.Duration(random.Int64N(int64(1500 * time.Millisecond)))
		captures := time.Time{}
		if round%4 != 0 { // else it may still be starting
			p.until("capturing")
			captures = time.Now()
		}
		if round%20 == 10 { // long enough for names to be given up
			pause += killHold + 2*killWindow
		}
		time.Sleep(pause) // the moment is what is tested
		killed := time.Now()
		p.kill()
		now := readLog(t, dir)
		lost := s.check(last, now, began, captures, killed)
		if !captures.IsZero() {
			longest = max(longest, lost)
		}
		last = now
	}
	if last.sequence == 0 {
		t.Fatal("no sensor lived for long enough to write a window")
	}

	// The last one ends in order: what it had is in the log, all of it.
	began := time.Now()
	p := h.startSensor(config)
	p.until("capturing")
	captures := time.Now()
	h.windows(2)
	s.stop()
	time.Sleep(2 * stamped) // the last packet has reached the ring
	ended := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(drainBound); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	now := readLog(t, dir)
	for k, one := range s.sent {
		if n := now.packets[s.address(k)]; one.before.After(captures) && one.after.Before(ended) && n != 1 {
			t.Errorf("packet %d was sent to a sensor that ended in order, and counted %d times", k, n)
		}
	}
	s.none(last, now, began)

	h.sensor(config)
	eventually(t, 45*time.Second, "the server has what the log has", func() error { return now.at(server) })
	t.Logf("%d kills of %d packets: %d windows, %d packets counted; at most %v before a kill were lost of what needs no name",
		rounds, len(s.sent), now.sequence, len(now.packets), longest.Round(time.Millisecond))
}

// numbered sends packets, each from an address of its own: datagrams that show at
// once that they will name nothing, and now and then a SYN, which may be named yet.
type numbered struct {
	t    *testing.T
	end  chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex // guards sent
	sent []departure
}

// departure is when a packet was sent: between the two.
type departure struct{ before, after time.Time }

const synEvery = 5

func (d departure) String() string { return d.before.Format("15:04:05.000") }

func newNumbered(t *testing.T, from *host) *numbered {
	s := &numbered{t: t, end: make(chan struct{})}
	b := from.blaster("eth0")
	s.done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for k := 0; ; k++ {
			select {
			case <-s.end:
				return
			case <-tick.C:
			}
			before := time.Now()
			b.send(1, func(f []byte) []byte { return s.frame(f, k) })
			s.mu.Lock()
			s.sent = append(s.sent, departure{before, time.Now()})
			s.mu.Unlock()
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *numbered) stop() {
	select {
	case <-s.end:
	default:
		close(s.end)
	}
	s.done.Wait()
}

func (s *numbered) address(k int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(k >> 16), byte(k >> 8), byte(k)})
}

func held(k int) bool { return k%synEvery == 0 }

// bytes is the length of the IP packet k.
func (s *numbered) bytes(k int) uint64 {
	if held(k) {
		return 40
	}
	return 28 + 1 + uint64(k%97)
}

func (s *numbered) frame(f []byte, k int) []byte {
	a := s.address(k).As4()
	src, dst := binary.BigEndian.Uint32(a[:]), uint32(0xc0000201)
	if !held(k) {
		return udpFrame(f, src, dst, 40000, 9, make([]byte, 1+k%97))
	}
	f = udpFrame(f, src, dst, 40000, 80, make([]byte, 12)) // of the length of a SYN
	f[14+9] = 6
	tcp := f[14+20:]
	clear(tcp[4:])
	tcp[12], tcp[13] = 5<<4, 2
	return f
}

// committed is what a log on disk has.
type committed struct {
	id       string
	sequence uint64
	end      time.Time // of its last window
	snapshot *netmonpb.Snapshot
	packets  map[netip.Addr]uint64
	bytes    map[netip.Addr]uint64
}

// readLog reads the log that a sensor left, in a copy of it.
func readLog(t *testing.T, dir string) committed {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "log.db"))
	if errors.Is(err, fs.ErrNotExist) {
		return committed{}
	}
	if err != nil {
		t.Fatal(err)
	}
	there := tempDir(t)
	if err := os.WriteFile(filepath.Join(there, "log.db"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := windowlog.Open(windowlog.DiskOptions{SensorID: "lab", Dir: there})
	if err != nil {
		t.Fatal(err)
	}
	snapshot := log.Snapshot()
	if err := errors.Join(log.Close(), log.Release()); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{dir, there} {
		if _, err := os.Stat(filepath.Join(place, "log.db.damaged")); err == nil {
			t.Fatal("the log was damaged")
		}
	}
	c := committed{
		id: string(snapshot.LogId), sequence: snapshot.Sequence, end: time.Unix(0, int64(snapshot.EndNs)), snapshot: snapshot,
		packets: map[netip.Addr]uint64{}, bytes: map[netip.Addr]uint64{},
	}
	for _, r := range snapshot.Rows {
		if a, ok := netip.AddrFromSlice(r.Key.Address); ok && r.Key.View == netmonpb.View_VIEW_ADDRESSES {
			a = a.Unmap()
			c.packets[a] += r.Counters.GetPacketsSent() + r.Counters.GetPacketsReceived()
			c.bytes[a] += r.Counters.GetBytesSent() + r.Counters.GetBytesReceived()
		}
	}
	return c
}

// check compares the log of a sensor that was killed with the one that it began
// with, and returns how much of the time before its end is not in it. captures is
// when the sensor surely captured, if it did.
func (s *numbered) check(was, now committed, began, captures, killed time.Time) (lost time.Duration) {
	s.t.Helper()
	if was.sequence > 0 && (now.id != was.id || now.sequence < was.sequence) {
		s.t.Fatalf("the log at %d is followed by another at %d", was.sequence, now.sequence)
	}
	s.none(was, now, began)
	s.mu.Lock()
	defer s.mu.Unlock()
	wrote := now.sequence > was.sequence
	first, last := -1, -1 // datagrams that this sensor counted
	for k := range s.sent {
		if now.packets[s.address(k)] > was.packets[s.address(k)] && !held(k) {
			if last = k; first < 0 {
				first = k
			}
		}
	}
	for k, one := range s.sent {
		counted := now.packets[s.address(k)] > was.packets[s.address(k)]
		due := now.end
		if held(k) {
			due = due.Add(-killHold)
		}
		seen := first >= 0 && k > first || !captures.IsZero() && one.before.After(captures)
		switch {
		case wrote && !counted && seen && one.after.Before(due.Add(-stamped)):
			s.t.Errorf("packet %d, sent at %v, is lost: windows until %v are in the log, and the sensor was killed at %v",
				k, one, now.end.Format(time.StampMilli), killed.Format(time.StampMilli))
		case counted && one.before.After(due.Add(stamped)):
			s.t.Errorf("packet %d, sent at %v, is in a log that ends at %v", k, one, now.end.Format(time.StampMilli))
		case !counted && !held(k) && k > first && k < last:
			s.t.Errorf("packet %d is lost, between %d and %d which are counted", k, first, last)
		}
	}
	since := captures
	if wrote && now.end.After(since) {
		since = now.end
	}
	if lost = killed.Sub(since); !captures.IsZero() && lost > killWindow+onTheWay {
		s.t.Errorf("killed at %v, the sensor had written nothing since %v", killed.Format(time.StampMilli), since.Format(time.StampMilli))
	}
	return lost
}

// none wants nothing counted twice, nothing with another size than it had, nothing
// that is gone, and nothing that was sent before the sensor began.
func (s *numbered) none(was, now committed, began time.Time) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[netip.Addr]bool{}
	for k, one := range s.sent {
		a := s.address(k)
		known[a] = true
		n := now.packets[a]
		switch {
		case n > 1 || n == 1 && now.bytes[a] != s.bytes(k) || n == 0 && now.bytes[a] > 0:
			s.t.Errorf("packet %d of %d bytes is in the log as %d packets of %d bytes", k, s.bytes(k), n, now.bytes[a])
		case n < was.packets[a]:
			s.t.Errorf("packet %d was in the log and is gone", k)
		case n > was.packets[a] && one.after.Before(began):
			s.t.Errorf("packet %d was sent at %v, before the sensor began", k, one)
		}
	}
	for a := range now.packets {
		if !known[a] {
			s.t.Errorf("nothing was sent from %v", a)
		}
	}
}

// at compares what a server has with the log: address by address, and every sum.
func (c committed) at(v *server) error {
	var errs []error
	packets, bytes := map[netip.Addr]uint64{}, map[netip.Addr]uint64{}
	nets := map[string]bool{}
	for a := range c.packets {
		text := a.String()
		nets[text[:strings.LastIndex(text, ".")+1]] = true
	}
	for net := range nets { // a list has 10,000 entries at most
		text, err := v.hub.get("http://" + v.address() + "/api/v1/addresses?limit=10000&search=" + net)
		if err != nil {
			return err
		}
		var list struct {
			Addresses []struct {
				Address         netip.Addr
				Bytes           uint64 `json:"bytes"`
				PacketsSent     uint64 `json:"packets_sent"`
				PacketsReceived uint64 `json:"packets_received"`
			}
		}
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return err
		}
		for _, one := range list.Addresses {
			packets[one.Address], bytes[one.Address] = one.PacketsSent+one.PacketsReceived, one.Bytes
		}
	}
	for a := range c.packets {
		if packets[a] != c.packets[a] || bytes[a] != c.bytes[a] {
			errs = append(errs, fmt.Errorf("%v has %d packets of %d bytes, %d of %d in the log", a, packets[a], bytes[a], c.packets[a], c.bytes[a]))
		}
	}
	page, err := v.scrape()
	if err != nil {
		return err
	}
	want := map[string]uint64{}
	for _, r := range c.snapshot.Rows {
		n := r.Counters
		switch r.Key.View {
		case netmonpb.View_VIEW_DOMAINS:
			want["network_domain_bytes_sent_total"] += n.GetBytesSent()
			want["network_domain_bytes_received_total"] += n.GetBytesReceived()
			want["network_domain_connections_total"] += n.GetConnections()
			want["network_domains_accessed_total"] += n.GetAccesses()
		case netmonpb.View_VIEW_ADDRESSES:
			want["network_ips_accessed_total"] += n.GetAccesses()
		case netmonpb.View_VIEW_PROTOCOLS:
			want["network_bytes_sent_total"] += n.GetBytesSent()
			want["network_bytes_received_total"] += n.GetBytesReceived()
			want["network_packets_sent_total"] += n.GetPacketsSent()
			want["network_packets_received_total"] += n.GetPacketsReceived()
			want["network_connections_total"] += n.GetConnections()
		}
	}
	for metric, n := range want {
		if got := page.sum(metric); got != float64(n) {
			errs = append(errs, fmt.Errorf("%s is %v, %d in the log", metric, got, n))
		}
	}
	if len(want) == 0 {
		errs = append(errs, errors.New("the log has no rows"))
	}
	return errors.Join(errs[:min(len(errs), 10)]...)
}
