package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Machine is where the findings are made. Its functions ask the kernel.
type Machine struct {
	Root string // of proc and sys: "/"

	OpenSocket func() (fd int, err error)   // of packets
	Version3   func(fd int) error           // sets the ring's version
	MakeRing   func(fd, block, n int) error // of n blocks
	Landlock   func() (version int, err error)
	Seccomp    func() error
	Offloads   func(iface string) (Offloads, error)
	Clock      func() (synchronized bool, now time.Time, err error)
}

// Here is this machine.
func Here() *Machine {
	return &Machine{
		Root: "/", OpenSocket: openSocket, Version3: version3, MakeRing: makeRing,
		Landlock: landlockVersion, Seccomp: seccompErrno, Offloads: offloadsOf, Clock: kernelClock,
	}
}

func (m *Machine) read(path string) (string, error) {
	text, err := os.ReadFile(filepath.Join(m.Root, path))
	return strings.TrimSpace(string(text)), err
}

const mib = 1 << 20

// rawCure is how to get the capability.
const rawCure = `sudo netmon-sensor doctor, if the sensor is to be started with sudo, too; or once: sudo setcap cap_net_raw+ep /path/to/netmon-sensor;
or in a systemd unit: AmbientCapabilities=CAP_NET_RAW; in a container: --cap-add NET_RAW`

// Rings tries what capturing needs: a packet socket, its third version of rings, and
// the memory of so many rings of blocks. The rings are opened together, hear nothing,
// and are closed at once.
func (m *Machine) Rings(rings, blocks, block int) Report {
	socket, err := m.OpenSocket()
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return Report{fail("capability", rawCure, "this process, of user %d, has no CAP_NET_RAW: the kernel refuses it a packet socket", os.Geteuid())}
	case errors.Is(err, unix.EAFNOSUPPORT):
		return Report{fail("capture", "modprobe af_packet, or a kernel with CONFIG_PACKET", "the kernel knows no packet sockets")}
	case err != nil:
		return Report{fail("capture", "a seccomp profile of a container may be in the way", "no packet socket: %v", err)}
	}
	out := Report{fine("capability", "CAP_NET_RAW: a packet socket opens")}
	if err := m.Version3(socket); err != nil {
		unix.Close(socket)
		return append(out, fail("capture", "a kernel of version 3.2 or later", "the kernel has no TPACKET_V3 rings: %v", err))
	}
	out = append(out, fine("capture", "TPACKET_V3 rings are there"))
	wanted := int64(rings) * int64(blocks) * int64(block)
	what := fmt.Sprintf("%d MiB of rings (%d of %d blocks)", wanted/mib, rings, blocks)
	if free := m.available(); free > 0 && wanted > free/2 {
		unix.Close(socket)
		return append(out, fail("ring memory", "lower capture { ring_memory }", "%s are more than half of the %d MiB that the machine has left", what, free/mib))
	}
	sockets := []int{socket}
	defer func() {
		for _, s := range sockets {
			unix.Close(s)
		}
	}()
	for i := range rings {
		if i > 0 {
			if socket, err = m.OpenSocket(); err == nil {
				sockets = append(sockets, socket)
				err = m.Version3(socket)
			}
		}
		if err == nil {
			err = m.MakeRing(socket, block, blocks)
		}
		if err != nil {
			return append(out, warn("ring memory", "lower capture { ring_memory }, or start the sensor earlier after boot, before memory is in pieces",
				"the kernel has no room for %s, the sensor will halve them: %v", what, err))
		}
	}
	return append(out, fine("ring memory", "the kernel gives %s; it keeps them in memory by itself", what))
}

// Memory compares what the sensor may come to with what there is.
func (m *Machine) Memory(ceiling, limit int64) Finding {
	total, whose := m.total()
	switch {
	case total == 0:
		return fine("memory", "at most %d MiB; what the machine has is not shown here", ceiling/mib)
	case ceiling > total:
		cure := "lower max_flows, max_rows or shards (-check-config prints the parts), or give it more"
		if limit == 0 {
			cure += "; sensor { memory_limit } has the sensor refuse such a configuration"
		}
		return warn("memory", cure, "where every bound is reached, as in a flood, the sensor takes %d MiB, and %s has %d MiB", ceiling/mib, whose, total/mib)
	}
	return fine("memory", "at most %d MiB, and %s has %d MiB", ceiling/mib, whose, total/mib)
}

// available is what may be taken without swapping, in bytes; 0: not known.
func (m *Machine) available() int64 { return m.memInfo("MemAvailable:") }

// total is the memory of the machine, or of the control group that is smaller.
func (m *Machine) total() (bytes int64, whose string) {
	bytes, whose = m.memInfo("MemTotal:"), "the machine"
	groups, err := m.read("proc/self/cgroup")
	if err != nil {
		return bytes, whose
	}
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, file := "sys/fs/cgroup", "memory.max"
		if parts[1] == "memory" {
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if parts[1] != "" {
			continue
		}
		for at := filepath.Clean("/" + parts[2]); ; at = filepath.Dir(at) {
			text, _ := m.read(filepath.Join(base, at, file))
			if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 && (bytes == 0 || n < bytes) {
				bytes, whose = n, "its control group"
			}
			if at == "/" {
				break
			}
		}
	}
	return bytes, whose
}

func (m *Machine) memInfo(name string) int64 {
	text, err := m.read("proc/meminfo")
	if err != nil {
		return 0
	}
	for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
		fields := strings.Fields(scanner.Text())
		if len(fields) == 3 && fields[0] == name {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// Kernel looks at what the sensor shuts itself in with, and at what filters cost.
func (m *Machine) Kernel() Report {
	var out Report
	release, err := m.read("proc/sys/kernel/osrelease")
	if err != nil {
		release = "unknown"
	}
	out = append(out, fine("kernel", "Linux %s", release))
	switch version, err := m.Landlock(); {
	case err != nil:
		out = append(out, warn("landlock", `a kernel of version 5.13 or later, with "landlock" in the list of lsm=`,
			"the kernel has no Landlock, the sensor does without its file sandbox: %v", err))
	default:
		out = append(out, fine("landlock", "version %d", version))
	}
	if err := m.Seccomp(); err != nil {
		out = append(out, warn("seccomp", "a kernel with CONFIG_SECCOMP_FILTER", "the kernel has no seccomp filters, the sensor refuses itself no system calls: %v", err))
	} else {
		out = append(out, fine("seccomp", "filters of system calls are there"))
	}
	switch jit, err := m.read("proc/sys/net/core/bpf_jit_enable"); {
	case errors.Is(err, fs.ErrNotExist):
		out = append(out, fine("BPF JIT", "not shown in this network namespace"))
	case err != nil:
		out = append(out, warn("BPF JIT", "look at it as root", "cannot be read: %v", err))
	case jit == "0":
		out = append(out, warn("BPF JIT", "sysctl -w net.core.bpf_jit_enable=1", "it is off: the filter of each packet is interpreted, which costs several times more"))
	default:
		out = append(out, fine("BPF JIT", "filters are compiled"))
	}
	return out
}

// earliest is a time that no right clock shows any more.
var earliest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// ClockFinding judges the clock, by which windows are cut and servers tell what is late.
func (m *Machine) ClockFinding() Finding {
	const cure = "run a time service: systemd-timesyncd or chrony (timedatectl set-ntp true)"
	synchronized, now, err := m.Clock()
	switch {
	case err != nil:
		return warn("clock", cure, "the kernel does not say whether its clock is synchronized: %v", err)
	case now.Before(earliest):
		return fail("clock", cure, "it is %s here: times of windows will be wrong", now.UTC().Format(time.RFC3339))
	case !synchronized:
		return warn("clock", cure, "nobody synchronizes the clock: windows of sensors may not match")
	}
	return fine("clock", "synchronized")
}
