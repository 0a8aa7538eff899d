// Package measure runs programs and says what CPU time they took, as medians of
// several rounds.
package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a program took, its children included.
type Usage struct {
	CPU    time.Duration // user and system
	MaxRSS int64         // bytes
}

// ErrTimeout is what Run returns for a program that did not end in time.
var ErrTimeout = errors.New("did not end in time")

// Run runs cmd to its end, for at most limit. Where idle is set, a program that
// has read all of the file at path and then uses no CPU for so long is told to
// stop: not all of them leave at the end of a file.
func Run(ctx context.Context, cmd *exec.Cmd, path string, limit, idle time.Duration) (Usage, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return Usage{}, err
	}
	pid := cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	rest, used, stopped := begin, time.Duration(0), false
	for {
		select {
		case err := <-ended:
			if stopped {
				err = nil
			}
			return usage(cmd.ProcessState, used), err
		case <-ctx.Done():
		case <-tick.C:
		}
		now, n := time.Now(), CPU(pid)
		if n-used > time.Millisecond || idle > 0 && reading(pid, path) { // timers of its own are rest
			rest = now
		}
		used = max(used, n)
		switch {
		case ctx.Err() != nil || now.Sub(begin) > limit:
			syscall.Kill(-pid, syscall.SIGKILL)
			<-ended
			return Usage{}, ErrTimeout
		case idle > 0 && now.Sub(rest) > idle && !stopped:
			stopped = true
			syscall.Kill(-pid, syscall.SIGINT)
		}
	}
}

// usage takes what the kernel counted of the program and the children it waited
// for, or what was seen of the tree while it lived, whichever is more.
func usage(p *os.ProcessState, seen time.Duration) Usage {
	r := p.SysUsage().(*syscall.Rusage)
	return Usage{CPU: max(p.UserTime()+p.SystemTime(), seen), MaxRSS: r.Maxrss << 10}
}

// CPU returns the time that the threads alive of a process and of its children
// have run, as the scheduler counts it. 0: there is no such process.
func CPU(pid int) (sum time.Duration) {
	for _, n := range Threads(pid) {
		sum += n
	}
	for _, child := range children(pid) {
		sum += CPU(child)
	}
	return sum
}

// Threads returns the time that each thread alive of a process has run.
func Threads(pid int) map[string]time.Duration {
	all := make(map[string]time.Duration)
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task + "/schedstat")
		if f := strings.Fields(string(b)); len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			all[task] = time.Duration(n)
		}
	}
	return all
}

// Anonymous returns the megabytes of memory that are a process's own: neither of
// files nor, of a ring, shared with the kernel. 0: there is no such process.
func Anonymous(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		var kB float64
		if n, _ := fmt.Sscanf(line, "RssAnon: %g kB", &kB); n == 1 {
			return kB / 1024
		}
	}
	return 0
}

// reading tells whether a process or a child of its has the file at path open and
// is not at its end. On a busy machine a program may get no CPU for seconds.
func reading(pid int, path string) bool {
	st, err := os.Stat(path)
	if err != nil {
		return false
	}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if open, err := os.Stat(link); err != nil || !os.SameFile(st, open) {
			continue
		}
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, filepath.Base(link)))
		var at int64
		if n, _ := fmt.Sscanf(string(b), "pos: %d", &at); n == 1 && at < st.Size() {
			return true
		}
	}
	return slices.ContainsFunc(children(pid), func(child int) bool { return reading(child, path) })
}

// children are the processes that a process has started.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(child); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// A Series is the same figure of several rounds.
type Series []float64

// Median returns the middle one; of an even number, the mean of the two.
func (s Series) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	t := slices.Sorted(slices.Values(s))
	return (t[(len(t)-1)/2] + t[len(t)/2]) / 2
}

// String is median (min-max).
func (s Series) String() string {
	if len(s) == 0 {
		return "-"
	}
	digits := 0
	if s.Median() < 100 {
		digits = 1
	}
	f := func(x float64) string { return strconv.FormatFloat(x, 'f', digits, 64) }
	return fmt.Sprintf("%s (%s-%s)", f(s.Median()), f(slices.Min(s)), f(slices.Max(s)))
}

// Machine describes in one line where and when.
func Machine() string {
	model := "unknown CPU"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	cpus, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*")
	return fmt.Sprintf("%s, %d CPUs, Linux %s, %s", model, len(cpus), strings.TrimSpace(string(kernel)), time.Now().UTC().Format(time.DateOnly))
}
