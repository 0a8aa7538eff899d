// Command live finds out what a sensor costs on the wire: it saturates one end of
// a veth pair, or injects frames at the other, and lets netmon-sensor and a C
// program that only counts read there in turn. It needs root, and makes a network
// namespace of its own.
//
//	go run ./bench/live [-rounds 3] [-seconds 5] [-only injected] [-sensor bin/netmon-sensor]
//
// Two sensors with a comma between compare versions.
package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netmon-sensor/netmon/bench/measure"
	"github.com/netmon-sensor/netmon/bench/traffic"
)

// inside says in the environment that the namespace has been made.
const inside = "NETMON_BENCH_INSIDE"

func main() {
	rounds := flag.Int("rounds", 3, "how often each reader runs")
	seconds := flag.Int("seconds", 5, "how long a veth pair is saturated")
	packets := flag.Int("packets", 8_000_000, "how many frames are injected from each CPU")
	only := flag.String("only", "", "tables whose titles contain this; empty = all")
	sensor := flag.String("sensor", "bin/netmon-sensor", "netmon's program; two with a comma between compare versions")
	flag.Parse()
	var err error
	if os.Getenv(inside) == "" {
		err = enter()
	} else {
		err = run(strings.Split(*sensor, ","), *only, *rounds, time.Duration(*seconds)*time.Second, *packets)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "live: %v\n", err)
		os.Exit(1)
	}
}

// enter runs this program again in a namespace of its own.
func enter() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("needs root for a network namespace and packet sockets")
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	return cmd.Run()
}

func run(sensors []string, only string, rounds int, length time.Duration, packets int) error {
	for _, line := range []string{
		"ip link set lo up",
		"sysctl -qw net.ipv6.conf.default.disable_ipv6=1",
		"ip link add source type veth peer name " + under,
		"ip link set source up",
		"ip link set " + under + " up",
	} {
		args := strings.Fields(line)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
	}
	folder, err := os.MkdirTemp("", "netmon-live-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	counter := filepath.Join(folder, "ringcount")
	if out, err := exec.Command("cc", "-O2", "-o", counter, "bench/ringcount.c").CombinedOutput(); err != nil {
		return fmt.Errorf("compile bench/ringcount.c: %w: %s", err, out)
	}
	fmt.Printf("%s\n\nMedian (min-max) of %d rounds.\n", measure.Machine(), rounds)
	t := tables{sensors: sensors, counter: counter, only: only, rounds: rounds}

	if err := t.standby(5 * time.Second); err != nil {
		return err
	}
	one := []reader{
		{name: "no reader"},
		{name: "ringcount, whole packets", snap: "0"},
		{name: "ringcount, 96 bytes", snap: "96"},
		{name: "netmon-sensor, snap auto", shards: 1, fanout: "hash", snap: "auto", against: "ringcount, 96 bytes"},
		{name: "netmon-sensor, snap full", shards: 1, fanout: "hash", snap: "full", against: "ringcount, whole packets"},
	}
	for _, name := range []string{"imix", "full", "60 bytes"} {
		frames := sync.OnceValue(func() [][]byte { // which take a while to make
			s, ok := traffic.Find(name)
			if !ok {
				return copies(frame(60))
			}
			s.Packets = min(s.Packets, 500_000) // and again from the start
			return load(s)
		})
		if err := t.print("veth, "+name, one, func() (done sent, err error) {
			pinned(1, func() { done, err = transmit("source", frames(), length) })
			return done, err
		}); err != nil {
			return err
		}
	}

	i, err := newInjector(under)
	if err != nil {
		fmt.Printf("\nNothing was injected: %v\n", err)
		return nil
	}
	defer i.close()
	if err := t.drain(i, one[2:4]); err != nil {
		return err
	}
	for _, size := range []int{60, 1514} {
		if err := t.print(fmt.Sprintf("injected, %d bytes", size), one, func() (sent, error) {
			return i.inject(frame(size), packets, 1)
		}); err != nil {
			return err
		}
	}
	if runtime.NumCPU() < 2 {
		fmt.Printf("\nOne CPU: nothing to spread.\n")
		return nil
	}
	return t.print("injected from two CPUs, 60 bytes", []reader{
		{name: "no reader"},
		{name: "netmon-sensor, fanout cpu", shards: 2, fanout: "cpu", snap: "auto"},
		{name: "netmon-sensor, fanout hash", shards: 2, fanout: "hash", snap: "auto", against: "netmon-sensor, fanout cpu"},
	}, func() (sent, error) { return i.inject(frame(60), packets, 0, 1) })
}

// frame is a segment over IPv4, the shortest an acknowledgement in a frame filled
// up, others bulk from a server, which nobody understands. It is not for this host,
// which drops it after the sensor has seen it. All have the same sequence number: with
// payload, to a sensor all but the first of a flow are retransmissions.
func frame(size int) []byte {
	length := size - 14
	if size == 60 {
		length = 40
	}
	f := bytes.Repeat([]byte{0xff}, size)
	copy(f, []byte{2, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, byte(length >> 8), byte(length),
		0, 0, 0x40, 0, 60, 6, 0, 0, 10, 0, 0, 1, 100, 72, 0, 1, 0x01, 0xbb, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0xfa, 0})
	return f
}

// copies are as many frames as the injector makes of one.
func copies(frame []byte) (all [][]byte) {
	for n := range uint16(flows) {
		f := bytes.Clone(frame)
		binary.NativeEndian.PutUint16(f[sourceLow:], n)
		all = append(all, f)
	}
	return all
}

type tables struct {
	sensors       []string
	counter, only string
	rounds        int
}

// figures of one reader.
type figures struct{ rate, loss, reader, share, source, total measure.Series }

// print runs all readers in turn and prints one row for each. The capture in all is
// what reader and source take together beyond what the source takes by itself.
func (t tables) print(title string, readers []reader, source func() (sent, error)) error {
	if !strings.Contains(title, t.only) {
		return nil
	}
	readers = t.each(readers)
	all := make([]figures, len(readers))
	for range t.rounds {
		for i, r := range readers {
			if err := t.once(r, source, &all[i]); err != nil {
				return fmt.Errorf("%s, %s: %w", title, r.name, err)
			}
		}
	}
	fmt.Printf("\n| %s | packets/s, thousands | lost %% | reader, CPU ns/packet | ratio | %% of a core | source, CPU ns/packet | the capture in all |\n|---|---|---|---|---|---|---|---|\n", title)
	for i, r := range readers {
		f, ratio, extra := &all[i], "-", "-"
		if k := slices.IndexFunc(readers, func(o reader) bool { return o.name == r.against }); k >= 0 {
			ratio = fmt.Sprintf("%.2f of %s", f.reader.Median()/all[k].reader.Median(), r.against)
		}
		if len(f.reader) > 0 {
			extra = fmt.Sprintf("%.0f", f.total.Median()-all[0].source.Median())
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.name, f.rate, f.loss, f.reader, ratio, f.share, f.source, extra)
	}
	return nil
}

// each has a row for each sensor.
func (t tables) each(readers []reader) (all []reader) {
	for _, r := range readers {
		if r.fanout == "" {
			all = append(all, r)
			continue
		}
		for i, sensor := range t.sensors {
			each := r
			each.sensor = sensor
			if i > 0 {
				each.name += ", " + sensor
			}
			all = append(all, each)
		}
	}
	return all
}

// standby prints what a sensor without exporters takes where nothing happens.
func (t tables) standby(length time.Duration) error {
	if !strings.Contains("standing by", t.only) {
		return nil
	}
	var start, share, memory measure.Series
	for range t.rounds {
		begin := time.Now()
		p, err := reader{name: "netmon-sensor", sensor: t.sensors[0], shards: 1, fanout: "hash", snap: "auto"}.start(t.counter)
		if err != nil {
			return err
		}
		start = append(start, float64(time.Since(begin).Milliseconds()))
		used := p.cpu()
		time.Sleep(length)
		share = append(share, 100*(p.cpu()-used).Seconds()/length.Seconds())
		memory = append(memory, measure.Anonymous(p.command.Process.Pid))
		p.stop()
	}
	fmt.Printf("\n| standing by | start to capture, ms | %% of a core | MB beside the rings |\n|---|---|---|---|\n| netmon-sensor | %s | %s | %s |\n", start, share, memory)
	return nil
}

func (t tables) once(r reader, source func() (sent, error), f *figures) error {
	if r.name == "no reader" {
		done, err := source()
		if err != nil {
			return err
		}
		f.note(done, 0, float64(done.packets), false)
		return nil
	}
	p, err := r.start(t.counter)
	if err != nil {
		return err
	}
	defer p.stop()
	used := p.cpu()
	done, err := source()
	if err != nil {
		return err
	}
	p.settle()
	used = p.cpu() - used
	counted, dropped, err := p.counted(float64(done.packets))
	if err != nil {
		return err
	}
	if n := float64(done.packets); counted > n || counted+dropped < n*0.999 {
		fmt.Fprintf(os.Stderr, "live: %s counted %.0f and dropped %.0f of %.0f\n", r.name, counted, dropped, n)
	}
	f.note(done, used, counted, true)
	return nil
}

func (f *figures) note(done sent, used time.Duration, counted float64, read bool) {
	n := float64(done.packets)
	f.rate = append(f.rate, n/done.wall.Seconds()/1000)
	f.source = append(f.source, float64(done.cpu)/n)
	f.total = append(f.total, float64(done.cpu+used)/n)
	if read {
		f.loss = append(f.loss, 100*(1-counted/n))
		f.reader = append(f.reader, float64(used)/n)
		f.share = append(f.share, 100*used.Seconds()/done.wall.Seconds())
	}
}
