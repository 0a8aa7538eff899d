package sensor

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	scenes "github.com/netmon-sensor/netmon/bench/traffic"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
)

// inNamespace runs f in a network namespace of its own, on a thread that ends
// with it.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("NETMON_REQUIRE_NET") == "1" {
		missing = t.Fatalf
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		missing("a network namespace needs CAP_SYS_ADMIN: %v", err)
	}
}

// sendable returns the frames of a capture that a wire can carry again: whole
// Ethernet frames. It returns nil for a capture that has others.
func sendable(t *testing.T, path string) (frames [][]byte) {
	file, err := capture.OpenFile(path, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := file.Sources()[0]
	defer src.Close()
	for {
		block, err := src.Next()
		if err == io.EOF {
			return frames
		}
		for _, p := range block {
			if p.Link != 1 || int(p.Length) != len(p.Data) || len(p.Data) < 14 {
				return nil
			}
			frames = append(frames, append([]byte(nil), p.Data...))
		}
	}
}

// TestLiveEqualsReplay sends captures into one end of a veth pair and wants the
// rings at the other end to count what reading the file counts.
func TestLiveEqualsReplay(t *testing.T) {
	for _, path := range captures(t) {
		frames := sendable(t, path)
		if len(frames) == 0 {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) { liveEqualsReplay(t, path, frames) })
	}
}

func liveEqualsReplay(t *testing.T, path string, frames [][]byte) {
	want := byDomain(windows(t, path, 1, testConfig()))
	inNamespace(t, func() {
		got := byDomain(live(t, frames))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(domainSums{})); diff != "" {
			t.Errorf("domains (-replay +live):\n%s", diff)
		}
	})
}

// No name is lost because the kernel keeps only what is needed of each packet: whole
// files of handshakes, look-ups and bulk data give the same names.
func TestSnapKeepsNames(t *testing.T) {
	for _, name := range []string{"imix", "dns", "tls", "full"} {
		t.Run(name, func(t *testing.T) {
			scene, _ := scenes.Find(name)
			scene.Packets, scene.Flows = 20_000, min(scene.Flows, 5000)
			path, err := scene.File(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			liveEqualsReplay(t, path, sendable(t, path))
		})
	}
}

// live returns the windows of a live pipeline that is sent frames.
func live(t *testing.T, frames [][]byte) []*netmonpb.Window {
	return liveWith(t, func(*capture.Rings) sides { return sides{} }, func(rings *capture.Rings) {
		send(t, frames)
		await(t, rings, len(frames))
	})
}

// await waits until so many frames came through the rings.
func await(t *testing.T, rings *capture.Rings, frames int) {
	for deadline := time.Now().Add(20 * time.Second); delivered(rings) < uint64(frames); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%d of %d frames came", delivered(rings), frames)
			return
		}
	}
}

// liveWith returns the windows of a live pipeline while drive sends it frames.
func liveWith(t *testing.T, side func(*capture.Rings) sides, drive func(*capture.Rings)) []*netmonpb.Window {
	for _, line := range [][]string{
		{"sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"},
		{"ip", "link", "add", "wire", "mtu", "65535", "type", "veth", "peer", "name", "tap", "mtu", "65535"},
		{"ip", "link", "set", "tap", "up"},
		{"ip", "link", "set", "wire", "up"},
	} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", line, err, out)
		}
	}
	rings, err := capture.OpenRings(capture.Options{Interfaces: []string{"tap"}, Shards: 2, BlockTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer rings.Close()
	cfg := testConfig()
	p, err := newPipeline(2, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	var got []*netmonpb.Window
	p.join.publish = func(start, end int64, rows []*netmonpb.Row) error {
		got = append(got, &netmonpb.Window{Rows: rows})
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var g errgroup.Group
	for i, src := range rings.Sources() {
		sh := p.shard(i, src, side(rings), names.ReplayLimits(), flow.Options{HoldNS: int64(holdTime), KeepIdle: true})
		g.Go(func() error { return sh.run(ctx) })
	}
	joined := make(chan error)
	go func() { joined <- p.join.run(p.in, func() {}) }()

	drive(rings)
	stop()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if err := <-joined; err != nil {
		t.Error(err)
	}
	return got
}

// TestDirectionFollowsAddresses gives the host an address and takes it away while
// packets are sent there.
func TestDirectionFollowsAddresses(t *testing.T) {
	inNamespace(t, func() {
		at := netip.MustParseAddr("192.0.2.9").As16()
		ours := func(rings *capture.Rings) sides {
			return sides{local: func() localAddresses { return rings.Local() }}
		}
		sent := 0
		got := liveWith(t, ours, func(rings *capture.Rings) {
			for _, change := range []string{"", "add", "del"} {
				if change != "" {
					if out, err := exec.Command("ip", "addr", change, "192.0.2.9/24", "dev", "tap").CombinedOutput(); err != nil {
						t.Errorf("%v: %s", err, out)
						return
					}
				}
				begin := time.Now()
				for rings.Local().Contains(at) != (change == "add") {
					if time.Since(begin) > 5*time.Second {
						t.Errorf("after %q the address is not followed", change)
						return
					}
					time.Sleep(time.Millisecond)
				}
				sent++
				send(t, [][]byte{frameOf(nil, false, 0xc6336401, 0xc0000209, 17, udpBody(5000, uint16(7000+sent), 1)...)})
				await(t, rings, sent)
			}
		})
		directions := map[netmonpb.Direction]uint64{}
		for _, w := range got {
			for _, r := range w.Rows {
				if r.Key.View == netmonpb.View_VIEW_DOMAINS {
					directions[r.Key.Direction] += r.Counters.GetPacketsSent() + r.Counters.GetPacketsReceived()
				}
			}
		}
		want := map[netmonpb.Direction]uint64{netmonpb.Direction_DIRECTION_INBOUND: 1, netmonpb.Direction_DIRECTION_TRANSIT: 2}
		if diff := cmp.Diff(want, directions); diff != "" {
			t.Errorf("packets by direction (-want +got):\n%s", diff)
		}
	})
}

func delivered(r *capture.Rings) (n uint64) {
	for _, s := range r.Stats().Shards {
		n += s.Delivered
	}
	return n
}

// send puts frames on the wire, in order.
func send(t *testing.T, frames [][]byte) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	wire, err := net.InterfaceByName("wire")
	if err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: wire.Index}
	for _, f := range frames {
		if err := unix.Sendto(fd, f, 0, to); err != nil {
			t.Fatalf("send frame of %d bytes: %v", len(f), err)
		}
	}
}

// byDomain sums windows by domain and evidence; sent is from the initiator.
func byDomain(ws []*netmonpb.Window) map[string]domainSums {
	sums := map[string]domainSums{}
	for _, w := range ws {
		for _, r := range w.Rows {
			if r.Key.View != netmonpb.View_VIEW_DOMAINS {
				continue
			}
			k := r.Key.Domain + " " + sourceName(names.Source(r.Key.NameSource))
			s := sums[k]
			sent, received := r.Counters.GetBytesSent(), r.Counters.GetBytesReceived()
			if r.Key.Direction == netmonpb.Direction_DIRECTION_INBOUND { // multicast: sent is from our side
				sent, received = received, sent
			}
			s.sent += sent
			s.received += received
			s.packets += r.Counters.GetPacketsSent() + r.Counters.GetPacketsReceived()
			s.connections += r.Counters.GetConnections()
			sums[k] = s
		}
	}
	return sums
}

type domainSums struct{ sent, received, packets, connections uint64 }
