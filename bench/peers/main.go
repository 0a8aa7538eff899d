// Command peers runs netmon-sensor and other programs over the same captures and
// prints what CPU time each of them takes per packet.
//
//	go run ./bench/peers [-rounds 3] [-scenes imix,gaps,million,dns,tls] [-sensor bin/netmon-sensor]
//
// All programs run once in each round, so that a slow moment of the machine hits
// all alike. Programs that are not installed are named and left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/netmon-sensor/netmon/bench/measure"
	"github.com/netmon-sensor/netmon/bench/traffic"
)

// A peer is a program and how it is told to read a capture.
type peer struct {
	name    string
	pkg     string        // Debian package
	idle    time.Duration // it stays after the end of the file; 0: it leaves
	short   int           // it gets no more packets than this; 0: all
	command func(pcap, scratch string) []string
}

// peers all read the whole capture and keep flows without forced expiry.
func peers(sensors []string) []peer {
	var list []peer
	for _, path := range sensors {
		list = append(list, peer{name: path, command: func(pcap, _ string) []string {
			return []string{path, "-no-flows", "-pcap", pcap}
		}})
	}
	return append(list,
		peer{name: "softflowd", pkg: "softflowd", idle: 5 * time.Second, command: func(pcap, _ string) []string {
			return []string{"softflowd", "-d", "-r", pcap, "-n", "127.0.0.1:9", "-v", "9", "-m", "5000000", "-t", "maxlife=0"}
		}},
		peer{name: "nfpcapd", pkg: "nfdump", command: func(pcap, scratch string) []string {
			return []string{"nfpcapd", "-r", pcap, "-w", scratch, "-t", "3600"}
		}},
		peer{name: "pmacctd", pkg: "pmacct", idle: 2 * time.Second, command: func(pcap, _ string) []string {
			return []string{"pmacctd", "-I", pcap, "-P", "print", "-r", "3600", "-c", "src_host,dst_host,src_port,dst_port,proto", "-o", "/dev/null"}
		}},
		peer{name: "tshark", pkg: "tshark", short: 300_000, command: func(pcap, _ string) []string {
			return []string{"tshark", "-n", "-r", pcap, "-q", "-z", "conv,tcp", "-z", "conv,udp"}
		}},
	)
}

func main() {
	dir := flag.String("dir", ".cache/bench", "folder of the captures")
	rounds := flag.Int("rounds", 3, "how often each program runs")
	scenes := flag.String("scenes", "imix,gaps,million,dns,tls", "which captures, see bench/traffic")
	only := flag.String("only", "", "names of peers, with commas; empty = all")
	sensors := flag.String("sensor", "bin/netmon-sensor", "netmon's program; two with a comma between compare versions")
	limit := flag.Duration("limit", 2*time.Minute, "the longest that one run may take")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	fmt.Printf("%s\n\nUser and system time of all processes: median (min-max) of %d rounds. The ratio is to the first row.\n", measure.Machine(), *rounds)
	ours := strings.Split(*sensors, ",")
	list := slices.DeleteFunc(peers(ours), func(p peer) bool { return p.pkg != "" && !wanted(*only, p.name) })
	list = installed(list)
	for _, name := range strings.Split(*scenes, ",") {
		s, ok := traffic.Find(name)
		if !ok {
			fail(fmt.Errorf("no scene %q", name))
		}
		if err := table(ctx, s, list, *dir, *rounds, *limit); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "peers: %v\n", err)
	os.Exit(1)
}

func wanted(only, name string) bool {
	return only == "" || slices.Contains(strings.Split(only, ","), name)
}

// installed leaves out what is not there, and says so.
func installed(list []peer) []peer {
	return slices.DeleteFunc(list, func(p peer) bool {
		program := p.command("", "")[0]
		_, err := exec.LookPath(program)
		if err != nil && p.pkg != "" {
			fmt.Printf("%s is not installed (Debian package %s)\n", program, p.pkg)
		} else if err != nil {
			fail(fmt.Errorf("%w; make build makes it", err))
		}
		return err != nil
	})
}

// table runs every program over a scene and prints one row for each.
func table(ctx context.Context, s traffic.Scene, list []peer, dir string, rounds int, limit time.Duration) error {
	costs, memory := make([]measure.Series, len(list)), make([]measure.Series, len(list))
	gaveUp := make([]bool, len(list))
	for round := range rounds {
		for i, p := range list {
			if gaveUp[i] {
				continue
			}
			part := s
			if p.short > 0 {
				part.Packets = min(p.short, s.Packets)
			}
			used, err := once(ctx, p, part, dir, limit)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, measure.ErrTimeout):
				fmt.Fprintf(os.Stderr, "peers: %s %v on %s, round %d\n", p.name, err, s.Name, round+1)
				gaveUp[i] = true
				continue
			case err != nil:
				return fmt.Errorf("%s on %s: %w", p.name, s.Name, err)
			}
			costs[i] = append(costs[i], float64(used.CPU)/float64(part.Packets))
			memory[i] = append(memory[i], float64(used.MaxRSS)/(1<<20))
		}
	}
	fmt.Printf("\n| %s, %d packets | CPU ns/packet | ratio | peak MB |\n|---|---|---|---|\n", s.Name, s.Packets)
	for i, p := range list {
		name := p.name
		if p.short > 0 && p.short < s.Packets {
			name += fmt.Sprintf(", first %d", p.short)
		}
		ratio := "-"
		if m := costs[0].Median(); m > 0 && len(costs[i]) > 0 {
			ratio = fmt.Sprintf("%.2f", costs[i].Median()/m)
		}
		fmt.Printf("| %s | %s | %s | %.0f |\n", name, costs[i], ratio, memory[i].Median())
	}
	return nil
}

// once reads the capture once before, so that no program pays for the disk.
func once(ctx context.Context, p peer, s traffic.Scene, dir string, limit time.Duration) (measure.Usage, error) {
	pcap, err := s.File(dir)
	if err != nil {
		return measure.Usage{}, err
	}
	if err := warm(pcap); err != nil {
		return measure.Usage{}, err
	}
	scratch, err := os.MkdirTemp("", "netmon-peers-")
	if err != nil {
		return measure.Usage{}, err
	}
	defer os.RemoveAll(scratch)
	line := p.command(pcap, scratch)
	return measure.Run(ctx, exec.Command(line[0], line[1:]...), pcap, limit, p.idle)
}

func warm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buffer := make([]byte, 1<<20)
	for {
		if n, err := f.Read(buffer); n == 0 || err != nil {
			return nil
		}
	}
}
