// Package lineartest is for tests: it holds the work of a parser against a bound
// per byte, and shows work that grows faster than its input.
package lineartest

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tolerance is how much dearer a byte of the largest input may be than one of
	// the smallest, a sixteenth of it. Quadratic work makes it 16 times as dear;
	// caches, and what every input costs once, make some difference, too.
	tolerance = 4

	// rounds is how often everything is measured at least, patience before it is
	// believed to take too long: the least of several is free of what else the
	// machine did.
	rounds, patience = 3, 10

	// enough is for how long a run is repeated for its time to mean something.
	enough = time.Millisecond / 2
)

// Run checks, for the worst input of a kind, that its work is linear: no byte costs
// more than perByte, nor more of them where there are 4 and 16 times n. input makes
// one of about so many bytes and returns how many there are, and what reads them; that
// is called again and again. Time is that of the thread's CPU, so that a busy machine
// does not show.
func Run(t *testing.T, kind string, n int, perByte time.Duration, input func(n int) (size int, read func())) {
	t.Helper()
	t.Run(kind, func(t *testing.T) {
		if err := check(n, perByte, input); err != nil {
			t.Error(err)
		}
	})
}

func check(n int, perByte time.Duration, input func(n int) (size int, read func())) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var (
		sizes = [...]int{n, 4 * n, 16 * n}
		reads [len(sizes)]func()
		cost  [len(sizes)]float64 // ns per byte
	)
	for i := range sizes {
		sizes[i], reads[i] = input(sizes[i])
		cost[i] = math.Inf(1)
	}
	var err error
	for round := range patience {
		for i, read := range reads {
			cost[i] = min(cost[i], float64(cpuTime(read))/float64(sizes[i]))
		}
		if err = judge(sizes[:], cost[:], float64(perByte)); err == nil && round+1 >= rounds {
			return nil
		}
	}
	return err
}

func judge(sizes []int, cost []float64, perByte float64) error {
	for i, c := range cost {
		if c > perByte {
			return fmt.Errorf("%.1f ns per byte of %d, bound %.0f", c, sizes[i], perByte)
		}
		if c > tolerance*cost[0] {
			return fmt.Errorf("%.2f ns per byte of %d, but %.2f of %d", c, sizes[i], cost[0], sizes[0])
		}
	}
	return nil
}

// cpuTime is what one read costs.
func cpuTime(read func()) time.Duration {
	read() // makes room for what it keeps
	begin, n := cpu(), 0
	for n == 0 || cpu()-begin < enough {
		read()
		n++
	}
	return (cpu() - begin) / time.Duration(n)
}

// cpu is what the thread has had of its CPU. The clock is exact; getrusage goes on by
// ticks of the kernel's timer where the kernel counts so.
func cpu() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // only for a clock that is none
	}
	return time.Duration(t.Nano())
}
