package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody runs a program as a user without any privilege but those named.
func (h *host) nobody(capabilities string, args ...string) *exec.Cmd {
	h.t.Helper()
	who := []string{"--reuid", "65534", "--regid", "65534", "--clear-groups"}
	if capabilities == "" {
		who = append(who, "--inh-caps=-all")
	} else {
		who = append(who, "--inh-caps=-all,"+capabilities, "--ambient-caps="+capabilities)
	}
	return h.command("setpriv", append(who, args...)...)
}

func TestWithoutPrivilege(t *testing.T) {
	t.Parallel()
	needRealRoot(t)
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	path := writeFile(t, "netmon.hcl", sensorConfig(exporterServer))
	code, stdout, stderr := call(t, a.nobody("", bin(t, sensorProgram), "-config", path))
	if code != 3 || stdout != "" {
		t.Errorf("exit code %d, want 3; printed %q", code, stdout)
	}
	if err := containsAll(stderr, "CAP_NET_RAW", "sudo netmon-sensor", "setcap cap_net_raw+ep", "AmbientCapabilities=CAP_NET_RAW"); err != nil {
		t.Error(err)
	}

	// What needs no privilege works without.
	code, _, stderr = call(t, a.nobody("", bin(t, sensorProgram), "-config", path, "-check-config"))
	if code != 0 {
		t.Errorf("-check-config: exit code %d: %s", code, stderr)
	}
	code, stdout, stderr = call(t, a.nobody("", bin(t, sensorProgram), "-pcap", stroll().save(t)))
	if code != 0 {
		t.Errorf("-pcap: exit code %d: %s", code, stderr)
	}
	parseReplay(t, stdout)
}

// TestRawCapabilityIsEnough runs as nobody with CAP_NET_RAW alone, as the systemd
// unit does; its plugins have not even that.
func TestRawCapabilityIsEnough(t *testing.T) {
	t.Parallel()
	needRealRoot(t)
	w := newTown(t)
	path := writeFile(t, "netmon.hcl", sensorConfig(exporterServer))
	sensor := start(t, "sensor", w.client.nobody("+net_raw", bin(t, sensorProgram), "-config", path))
	w.client.ready(sensor)
	m := w.client.meter("eth0")
	w.visit(tour())
	checkDomains(t, w.settle(m, func() (scrape, error) { return w.client.scrape(localMetrics) }), tour())

	confined(t, sensor.pid(), "65534", "65534", netRaw)
	confined(t, sensor.plugin(serverProgram), "65534", "65534", none)
	sensor.signal(syscall.SIGTERM)
	if code := sensor.wait(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Sets of capabilities, as /proc shows them.
const (
	none   = "0000000000000000"
	netRaw = "0000000000002000"
)

// confined looks at every thread of a process: the user, the group, the one set of
// capabilities that it may have, and that nothing can become more.
func confined(t testing.TB, pid int, uid, gid, capabilities string) {
	t.Helper()
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/status"))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads of %d: %v, %v", pid, threads, err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		status := statusFields(string(text))
		for name, want := range map[string]string{
			"Uid": strings.Join([]string{uid, uid, uid, uid}, "\t"), "Gid": strings.Join([]string{gid, gid, gid, gid}, "\t"),
			"CapPrm": capabilities, "CapEff": capabilities, "CapInh": none, "CapAmb": none,
			"NoNewPrivs": "1", "Seccomp": "2",
		} {
			if status[name] != want {
				t.Errorf("%s (%s): %s is %q, want %q", thread, status["Name"], name, status[name], want)
			}
		}
	}
}

// TestRootBecomesAnother starts the sensor as root, with load, and looks at all
// threads of all its processes.
func TestRootBecomesAnother(t *testing.T) {
	t.Parallel()
	needRealRoot(t)
	w := newTown(t)
	dir := tempDir(t)
	logFile := filepath.Join(dir, "netmon.log")
	sensor := w.client.sensor(sensorConfig(exporterServer + "log {\n  output = \"" + logFile + "\"\n}\n"))
	m := w.client.meter("eth0")
	w.visit(tour())
	checkDomains(t, w.settle(m, func() (scrape, error) { return w.client.scrape(localMetrics) }), tour())

	confined(t, sensor.pid(), "65534", "65534", netRaw)
	plugin := sensor.plugin(serverProgram)
	confined(t, plugin, "65533", "65533", none)
	launchers := sensor.children(sensor.pid(), sensorProgram)
	if len(launchers) != 1 {
		t.Fatalf("launchers %v", launchers)
	}
	confined(t, launchers[0], "0", "0", "00000000000000e4") // kill, setuid, setgid, dac_read_search
	if n := sockets(t, launchers[0], packetSockets(t, sensor.pid())); n > 0 {
		t.Errorf("the launcher has %d packet sockets", n)
	}
	for _, pid := range []int{sensor.pid(), launchers[0], plugin} {
		limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "limits"))
		if err != nil || !strings.Contains(string(limits), "Max core file size        0                    0") {
			t.Errorf("process %d dumps core: %v\n%s", pid, err, limits)
		}
		// What may not be dumped is root's in /proc, whoever runs it.
		if info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "environ")); err != nil || ownerOf(info) != 0 {
			t.Errorf("process %d may be dumped: %v", pid, err)
		}
	}

	// The directory of the sockets is the sensor's, and the plugins' group may enter.
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), "netmon-*", "plugin-dir*"))
	if err != nil {
		t.Fatal(err)
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return !strings.Contains(environ(t, plugin), dir) })
	if len(dirs) != 1 {
		t.Fatalf("directories of the socket: %v", dirs)
	}
	runtimeDir := filepath.Dir(dirs[0])
	if info, err := os.Stat(runtimeDir); err != nil || info.Mode().Perm() != 0o710 || ownerOf(info) != 65534 {
		t.Errorf("%s: %v, %v", runtimeDir, info, err)
	}
	if info, err := os.Stat(logFile); err != nil || ownerOf(info) != 65534 {
		t.Errorf("%s is not the sensor's: %v, %v", logFile, info, err)
	}

	sensor.signal(syscall.SIGTERM)
	if code := sensor.wait(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(runtimeDir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", runtimeDir, err)
	}
}

// environ is what a process was started with.
func environ(t testing.TB, pid int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func ownerOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// TestPrivateInstallation runs programs and a configuration out of a folder that
// only root may enter, as `sudo netmon-sensor` in a home directory does.
func TestPrivateInstallation(t *testing.T) {
	t.Parallel()
	needRealRoot(t)
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	dir := tempDir(t)
	for _, name := range []string{sensorProgram, serverProgram} {
		if err := installCopy(bin(t, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "netmon.hcl")
	if err := os.WriteFile(path, []byte(sensorConfig(exporterServer)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	sensor := start(t, "sensor", a.command(filepath.Join(dir, sensorProgram), "-config", path))
	a.ready(sensor)
	confined(t, sensor.plugin(serverProgram), "65533", "65533", none)
}

// TestRootWithoutSetuid is root of a container that was left CAP_NET_RAW alone: it
// cannot become another user, works, and says so.
func TestRootWithoutSetuid(t *testing.T) {
	t.Parallel()
	needRealRoot(t)
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	contained := func(config string) *program {
		path := writeFile(t, "netmon.hcl", config)
		return start(t, "sensor", a.command("setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all", bin(t, sensorProgram), "-config", path))
	}
	sensor := contained(sensorConfig(exporterServer))
	a.ready(sensor)
	confined(t, sensor.pid(), "0", "0", netRaw)
	confined(t, sensor.plugin(serverProgram), "0", "0", none)
	for _, kind := range []string{"user", "plugin_user"} {
		if v := a.status().by("netmon_confinement", "kind")[kind]; v != 0 {
			t.Errorf("netmon_confinement{kind=%q} is %v", kind, v)
		}
	}
	sensor.until("the sensor has to do without: user=")
	sensor.signal(syscall.SIGTERM)
	sensor.wait(15 * time.Second)

	// Where the configuration names the user, anything else is an error.
	sensor = contained(strings.Replace(sensorConfig(exporterServer), "id       = \"lab\"", "user = \"nobody\"", 1))
	if code := sensor.wait(15 * time.Second); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	sensor.until(`sensor { user = "nobody" }: stays root`)
}

// TestLauncherGone kills the process that starts plugins: they end, it is said, and
// capture goes on.
func TestLauncherGone(t *testing.T) {
	t.Parallel()
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	sensor := a.sensor(sensorConfig(exporterServer))
	plugin := sensor.plugin(serverProgram)
	for _, launcher := range sensor.children(sensor.pid(), sensorProgram) {
		if err := syscall.Kill(launcher, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 10*time.Second, "the plugin has died", func() error {
		if syscall.Kill(plugin, 0) == nil && procStatus(t, plugin)["State"] != "Z (zombie)" {
			return fmt.Errorf("%d lives", plugin)
		}
		return nil
	})
	sensor.until("the launcher of plugins is gone")
	a.windows(2)
	if _, err := a.get(statusURL + "/-/ready"); err == nil || !strings.Contains(err.Error(), "launcher") {
		t.Errorf("/-/ready says %v", err)
	}
	if got := a.reasons(); got != "exporters launcher" { // without it they cannot start again
		t.Errorf("not ready because of %q", got)
	}
}

// TestWritableConfiguration refuses what others may change before it means
// anything.
func TestWritableConfiguration(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		file, dir os.FileMode
		want      string
	}{
		"file":      {0o646, 0o755, "netmon.hcl may be changed by everybody (mode -rw-r--rw-): chmod o-w"},
		"directory": {0o644, 0o777, "may be changed by everybody (mode -rwxrwxrwx): chmod o-w"},
		"fine":      {0o644, 0o755, ""},
	} {
		dir := tempDir(t)
		path := filepath.Join(dir, "netmon.hcl")
		if err := os.WriteFile(path, []byte(strings.Replace(sensorConfig(""), "eth0", "lo", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		for path, mode := range map[string]os.FileMode{path: tt.file, dir: tt.dir} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		code, _, stderr := call(t, exec.Command(bin(t, sensorProgram), "-config", path, "-check-config"))
		if tt.want == "" && code != 0 || tt.want != "" && (code != 2 || !strings.Contains(stderr, tt.want)) {
			t.Errorf("%s: exit code %d: %s", name, code, stderr)
		}
	}
}
