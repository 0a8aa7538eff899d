// Package deploy tests what this folder holds as it is used: images are built and
// run by a Docker engine of the test's own, packages are installed in a root of
// their own, units, rules and manifests are judged by the programs they are for.
package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const requireNet = "NETMON_REQUIRE_NET"

// missing skips a test for want of a tool or a privilege, or fails it where the
// environment promises that all of them are there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv(requireNet) == "1" {
		t.Fatalf("%s (%s=1)", what, requireNet)
	}
	t.Skip(what)
}

func needTools(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, "needs the program "+tool)
		}
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "needs root")
	}
}

// run runs a command to its end and returns its standard output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := try(exec.Command(name, args...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try is run for what may fail: the error has the command and what it said.
func try(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// eventually fails the test where condition is not met in time.
func eventually(t testing.TB, within time.Duration, what string, condition func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
	}
}

// top is the top of the repository.
func top(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// makeOnce makes targets of the Makefile in turn, each once a run.
func makeOnce(t testing.TB, targets ...string) {
	t.Helper()
	needTools(t, "make")
	made.Lock()
	defer made.Unlock()
	for _, target := range targets {
		if made.err == nil {
			made.err = make(map[string]error)
		}
		err, done := made.err[target]
		if !done {
			_, err = try(exec.Command("make", "-C", top(t), target))
			made.err[target] = err
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

var made struct {
	sync.Mutex
	err map[string]error
}

// netns makes a network namespace with loopback up, which ends with the test. It
// holds nobody else's ports, and nothing in it reaches the machine's network.
func netns(t testing.TB) string {
	t.Helper()
	needRoot(t)
	needTools(t, "ip", "nsenter", "unshare")
	name := fmt.Sprintf("netmon-deploy-%d-%d", os.Getpid(), time.Now().UnixNano()%1e6)
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("needs CAP_SYS_ADMIN to make network namespaces: %v: %s", err, out))
	}
	t.Cleanup(func() {
		if _, err := try(exec.Command("ip", "netns", "del", name)); err != nil {
			t.Error(err)
		}
	})
	run(t, "ip", "-n", name, "link", "set", "lo", "up")
	return name
}

// inside is a command in a network namespace, with the mounts of the machine:
// `ip netns exec` would hide the cgroups, which a Docker engine needs.
func inside(netns, name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + netns, name}, args...)...)
}

// scrape returns the series of a metrics page that begin with one of the names.
func scrape(netns, url string, names ...string) ([]string, error) {
	page, err := try(inside(netns, "curl", "-sSf", "-m", "5", url))
	if err != nil {
		return nil, err
	}
	var series []string
	for line := range strings.Lines(page) {
		for _, name := range names {
			if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
				series = append(series, strings.TrimSpace(line))
			}
		}
	}
	if len(series) == 0 {
		return nil, fmt.Errorf("%s shows no %s", url, strings.Join(names, ", "))
	}
	return series, nil
}

// exitCode is how a command ended, -1 where it did not run.
func exitCode(err error) int {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}
