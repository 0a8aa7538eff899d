package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// well is a machine on which everything is fine.
func well(t *testing.T) *Machine {
	root := t.TempDir()
	m := &Machine{
		Root:       root,
		OpenSocket: func() (int, error) { return unix.Open("/dev/null", unix.O_RDONLY, 0) },
		Version3:   func(int) error { return nil },
		MakeRing:   func(int, int, int) error { return nil },
		Landlock:   func() (int, error) { return 5, nil },
		Seccomp:    func() error { return nil },
		Offloads:   func(string) (Offloads, error) { return Offloads{}, nil },
		Clock:      func() (bool, time.Time, error) { return true, time.Now(), nil },
	}
	m.write(t, "proc/meminfo", "MemTotal:       8388608 kB\nMemFree: 1 kB\nMemAvailable:   4194304 kB\n")
	m.write(t, "proc/self/cgroup", "0::/system.slice/netmon.service\n")
	m.write(t, "proc/sys/kernel/osrelease", "6.1.0\n")
	m.write(t, "proc/sys/net/core/bpf_jit_enable", "1\n")
	return m
}

func (m *Machine) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(m.Root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func (m *Machine) all() Report {
	out := append(m.Rings(2, 32, mib), m.Memory(2<<30, 0))
	out = append(out, m.Interfaces([]string{"lo"}, "lo")...)
	return append(append(out, m.Kernel()...), m.ClockFinding())
}

// TestFindings breaks one thing of a machine at a time, and wants it found, with a
// cure, and nothing else.
func TestFindings(t *testing.T) {
	for name, test := range map[string]struct {
		breaks func(*testing.T, *Machine)
		check  string
		level  string
		says   string
	}{
		"well": {func(*testing.T, *Machine) {}, "", Fine, ""},
		"capability": {func(_ *testing.T, m *Machine) { m.OpenSocket = func() (int, error) { return -1, unix.EPERM } },
			"capability", Problem, "no CAP_NET_RAW"},
		"no packets": {func(_ *testing.T, m *Machine) { m.OpenSocket = func() (int, error) { return -1, unix.EAFNOSUPPORT } },
			"capture", Problem, "no packet sockets"},
		"old kernel": {func(_ *testing.T, m *Machine) { m.Version3 = func(int) error { return unix.EINVAL } },
			"capture", Problem, "TPACKET_V3"},
		"no memory for rings": {func(_ *testing.T, m *Machine) { m.MakeRing = func(int, int, int) error { return unix.ENOMEM } },
			"ring memory", Warning, "64 MiB of rings (2 of 32 blocks)"},
		"no memory for the second": {func(_ *testing.T, m *Machine) {
			n := 0
			m.MakeRing = func(int, int, int) error {
				if n++; n > 1 {
					return unix.ENOMEM
				}
				return nil
			}
		}, "ring memory", Warning, "will halve"},
		"little left": {func(t *testing.T, m *Machine) {
			m.write(t, "proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 102400 kB\n")
			m.MakeRing = func(int, int, int) error { t.Error("a ring was opened"); return nil }
		}, "ring memory", Problem, "100 MiB that the machine has left"},
		"small machine": {func(t *testing.T, m *Machine) {
			m.write(t, "proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 1000000 kB\n")
		},
			"memory", Warning, "takes 2048 MiB, and the machine has 1024 MiB"},
		"small group": {func(t *testing.T, m *Machine) {
			m.write(t, "sys/fs/cgroup/system.slice/memory.max", "536870912\n")
			m.write(t, "sys/fs/cgroup/system.slice/netmon.service/memory.max", "max\n")
		}, "memory", Warning, "its control group has 512 MiB"},
		"small group of version 1": {func(t *testing.T, m *Machine) {
			m.write(t, "proc/self/cgroup", "5:cpu:/\n4:memory:/docker\n")
			m.write(t, "sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "536870912\n")
		}, "memory", Warning, "its control group has 512 MiB"},
		"LRO": {func(_ *testing.T, m *Machine) {
			m.Offloads = func(string) (Offloads, error) { return Offloads{LRO: true}, nil }
		}, "interface", Warning, "LRO"},
		"offloads not told": {func(_ *testing.T, m *Machine) {
			m.Offloads = func(string) (Offloads, error) { return Offloads{}, unix.EPERM }
		},
			"interface", Warning, "not known"},
		"no carrier": {func(t *testing.T, m *Machine) { m.write(t, "sys/class/net/lo/carrier", "0\n") },
			"interface", Warning, "no carrier"},
		"no Landlock": {func(_ *testing.T, m *Machine) { m.Landlock = func() (int, error) { return 0, unix.ENOSYS } },
			"landlock", Warning, "no Landlock"},
		"no seccomp": {func(_ *testing.T, m *Machine) { m.Seccomp = func() error { return unix.ENOSYS } },
			"seccomp", Warning, "no seccomp"},
		"no JIT": {func(t *testing.T, m *Machine) { m.write(t, "proc/sys/net/core/bpf_jit_enable", "0\n") },
			"BPF JIT", Warning, "it is off"},
		"lonely clock": {func(_ *testing.T, m *Machine) {
			m.Clock = func() (bool, time.Time, error) { return false, time.Now(), nil }
		},
			"clock", Warning, "nobody synchronizes"},
		"clock of long ago": {func(_ *testing.T, m *Machine) {
			m.Clock = func() (bool, time.Time, error) { return true, time.Unix(0, 0), nil }
		},
			"clock", Problem, "1970"},
	} {
		t.Run(name, func(t *testing.T) {
			m := well(t)
			test.breaks(t, m)
			report := m.all()
			found := 0
			for _, f := range report {
				if f.Level == Fine {
					continue
				}
				found++
				if f.Check != test.check || f.Level != test.level || !strings.Contains(f.Found, test.says) || f.Cure == "" {
					t.Errorf("found %+v, want %s of %s that says %q", f, test.level, test.check, test.says)
				}
			}
			if found == 0 && test.level != Fine || report.OK() != (test.level != Problem) {
				t.Errorf("%d found, well: %v", found, report.OK())
			}
		})
	}
}

func TestInterfaces(t *testing.T) {
	m := well(t)
	if r := m.Interfaces(nil, "eth*"); len(r) != 1 || r[0].Level != Warning || !strings.Contains(r[0].Found, "eth*") {
		t.Errorf("%+v", r)
	}
	if r := m.Interfaces([]string{"no-such-one"}, "x"); len(r) != 1 || r[0].Level != Warning {
		t.Errorf("%+v", r)
	}
	m.Offloads = func(string) (Offloads, error) { return Offloads{GRO: true, TSO: true}, nil }
	if r := m.Interfaces([]string{"lo"}, "lo"); len(r) != 1 || r[0].Level != Fine || !strings.Contains(r[0].Found, "by GRO, TSO:") {
		t.Errorf("%+v", r)
	}
}

// TestHere asks this machine's kernel what needs no privilege.
func TestHere(t *testing.T) {
	m := Here()
	if o, err := m.Offloads("lo"); err != nil || !o.GRO && !o.GSO && !o.TSO {
		t.Errorf("lo has %+v, %v; it splits segments where nobody turned it off", o, err)
	}
	if _, err := m.Offloads("no-such-one"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("an interface that is not there: %v", err)
	}
	if _, now, err := m.Clock(); err != nil || now.Before(earliest) {
		t.Errorf("%v, %v", now, err)
	}
	if m.available() <= 0 {
		t.Error("no memory")
	}
	if total, whose := m.total(); total < m.available()/2 || whose == "" {
		t.Errorf("%s has %d", whose, total)
	}
	if err := m.Seccomp(); err != nil {
		t.Error(err)
	}
}

func TestStateDir(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	me := os.Geteuid()
	for name, test := range map[string]struct {
		dir   string
		uid   int
		bytes int64
		level string
		says  string
	}{
		"memory":       {"", me, 1, Warning, "in memory"},
		"good":         {dir, me, 1 << 20, Fine, ""},
		"to be made":   {filepath.Join(dir, "a/b"), me, 1 << 20, Fine, ""},
		"a file":       {file, me, 1, Problem, "no directory"},
		"below a file": {filepath.Join(file, "x"), me, 1, Problem, "file"},
		"too large":    {dir, me, 1 << 60, Warning, "windows add up in memory"},
	} {
		t.Run(name, func(t *testing.T) {
			worst := Finding{Level: Fine}
			for _, f := range StateDir(test.dir, test.uid, test.bytes) {
				if f.Level != Fine {
					worst = f
				}
			}
			if worst.Level != test.level || !strings.Contains(worst.Found, test.says) || worst.Level != Fine && worst.Cure == "" {
				t.Errorf("found %+v", worst)
			}
		})
	}
	if me == 0 {
		if err := os.Chown(file, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if f := StateDir(dir, 23456, 1)[0]; f.Level != Problem || !strings.Contains(f.Found, "of user 12345") || !strings.Contains(f.Cure, "chown -R 23456") {
			t.Errorf("a file of somebody else's: %+v", f)
		}
	}
}

func TestWrite(t *testing.T) {
	r := Report{fine("a", "it is %d", 1), warn("b", "do\nthis", "it lacks"), fail("c", "do that", "it is broken")}
	var text strings.Builder
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	want := `fine     a            it is 1
warning  b            it lacks
                      -> do
                      this
problem  c            it is broken
                      -> do that

1 in the way of a sensor, 1 to know of
`
	if text.String() != want {
		t.Errorf("got %s", text.String())
	}
	text.Reset()
	var back struct {
		OK       bool
		Findings []Finding
	}
	if err := errors.Join(r.WriteJSON(&text), json.Unmarshal([]byte(text.String()), &back)); err != nil || back.OK || fmt.Sprint(back.Findings) != fmt.Sprint([]Finding(r)) {
		t.Errorf("%v: %+v", err, back)
	}
}
