package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/netmon-sensor/netmon/bench/measure"
)

const (
	// burst is how many frames of 60 bytes fill two thirds of a ring of the default
	// size: some of its blocks may be closed by their timer, not full.
	burst  = 300_000
	bursts = 4
)

// drain prints what the thread that reads takes for bursts that found it stopped: all
// is in the ring when it begins, so that it waits for nobody and nobody writes beside it.
func (t tables) drain(i *injector, readers []reader) error {
	const title = "drained, 60 bytes"
	if !strings.Contains(title, t.only) {
		return nil
	}
	readers = t.each(readers)
	costs := make([]measure.Series, len(readers))
	for range t.rounds {
		for k, r := range readers {
			r.bursts = true
			if err := r.drain(t.counter, i, &costs[k]); err != nil {
				return fmt.Errorf("%s, %s: %w", title, r.name, err)
			}
		}
	}
	fmt.Printf("\n| %s | reading thread, CPU ns/packet | ratio |\n|---|---|---|\n", title)
	for k, r := range readers {
		fmt.Printf("| %s | %s | %.2f |\n", r.name, costs[k], costs[k].Median()/costs[0].Median())
	}
	return nil
}

// drain notes the costs of some bursts.
func (r reader) drain(counter string, i *injector, costs *measure.Series) error {
	p, err := r.start(counter)
	if err != nil {
		return err
	}
	defer p.stop()
	for n := range bursts {
		used, err := p.burst(i)
		if err != nil {
			return err
		}
		if n > 0 { // the first one makes the flows
			*costs = append(*costs, float64(used)/burst)
		}
	}
	counted, dropped, err := p.counted(bursts * burst)
	if err == nil && counted < bursts*burst {
		err = fmt.Errorf("counted %.0f and dropped %.0f of %d packets", counted, dropped, bursts*burst)
	}
	return err
}

// burst has a reader find a burst in its ring, and returns what its busiest thread takes.
func (p *running) burst(i *injector) (most time.Duration, err error) {
	process := p.command.Process
	process.Signal(syscall.SIGSTOP)
	time.Sleep(50 * time.Millisecond) // for SIGCHLD, which would end the injection
	before := measure.Threads(process.Pid)
	_, err = i.inject(frame(60), burst, 1)
	process.Signal(syscall.SIGCONT)
	p.settle()
	for id, n := range measure.Threads(process.Pid) {
		most = max(most, n-before[id])
	}
	return most, err
}
