package main

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUnusablePlugins wants a plugin that cannot be one named, with the reason,
// in the block of the config that asks for it.
func TestUnusablePlugins(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	script := func(text string) func(path string) error {
		return func(path string) error { return os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755) }
	}
	for name, test := range map[string]struct {
		install func(path string) error
		says    []string
	}{
		"absent":             {func(string) error { return nil }, []string{"netmon-exporter-odd", "no program"}},
		"not executable":     {func(path string) error { return os.WriteFile(path, nil, 0o644) }, []string{"not executable", "chmod +x"}},
		"writable by others": {func(path string) error { return installMode(path, 0o777) }, []string{"may be changed by others", "chmod go-w"}},
		"a folder":           {func(path string) error { return os.Mkdir(path, 0o755) }, []string{"is a directory"}},
		"wrong version": {script(`echo "1|99|unix|/tmp/x|grpc|"; exec sleep 60`),
			[]string{"speaks version 99", "install an exporter of the sensor's release"}},
		"rubbish":    {script(`echo "Hello, I am a program"; exec sleep 60`), []string{"Hello, I am a program", "it is no exporter"}},
		"dies":       {script(`echo "cannot find my shoes" >&2; exit 3`), []string{"cannot find my shoes", "exit status 3"}},
		"other type": {func(path string) error { return installCopy(bin(t, serverProgram), path) }, []string{`it is the exporter "server", not "odd"`}},
		"no program": {func(path string) error { return os.WriteFile(path, []byte("\x7fELF rubbish"), 0o755) }, []string{"exec format error"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tempDir(t)
			if err := test.install(filepath.Join(dir, "netmon-exporter-odd")); err != nil {
				t.Fatal(err)
			}
			path := writeFile(t, "netmon.hcl", sensorConfig("plugins {\n  directory = \""+dir+"\"\n}\nexporter \"odd\" {}\n"))
			for _, flags := range [][]string{{"-check-config"}, nil} {
				code, stdout, stderr := call(t, h.command(bin(t, sensorProgram), append([]string{"-config", path}, flags...)...))
				if code != 2 || stdout != "" {
					t.Errorf("%v: exit code %d, want 2; printed %q", flags, code, stdout)
				}
				if err := containsAll(stderr, append(test.says, "odd")...); err != nil {
					t.Errorf("%v: %v", flags, err)
				}
			}
		})
	}
}

// TestWrongChecksum wants a plugin refused whose file is not the one meant.
func TestWrongChecksum(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	path := writeFile(t, "netmon.hcl", sensorConfig("exporter \"server\" {\n  checksum = \"sha256:"+strings.Repeat("0", 64)+"\"\n}\n"))
	code, _, stderr := call(t, h.command(bin(t, sensorProgram), "-config", path, "-check-config"))
	if err := containsAll(stderr, "is not the file its checksum is of", "sha256:"); code != 2 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func installMode(path string, mode os.FileMode) error {
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		return err
	}
	return os.Chmod(path, mode) // past the umask
}

func installCopy(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// TestThirdPartyPlugin drops a program into the folder of plugins and names it
// in the config: nothing else, and it gets rows.
func TestThirdPartyPlugin(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	dir := tempDir(t)
	if err := installCopy(bin(t, thirdParty), filepath.Join(dir, thirdParty)); err != nil {
		t.Fatal(err)
	}
	sensor := w.client.sensor(sensorConfig("plugins {\n  directory = \"" + dir + "\"\n}\nexporter \"stdout\" {}\n"))
	w.visit([]visit{{"http://one.example/bytes/1000", 2, 1000}})
	sensor.until("one.example")
	sensor.signal(syscall.SIGTERM)
	if code := sensor.wait(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestPluginsHaveNoPrivilege looks at running plugins from outside: no packet
// socket, no capability, and no way to get one, while the sensor has its rings
// (P8).
func TestPluginsHaveNoPrivilege(t *testing.T) {
	t.Parallel()
	a, b := newHost(t), newHost(t)
	a.wire("eth0", "192.0.2.1/24", b, "eth0", "192.0.2.2/24")
	sensor := a.sensor(sensorConfig(exporterServer + "exporter \"push\" {\n  url = \"http://192.0.2.2:1/api/v1/metrics\"\n}\n"))
	raw := packetSockets(t, sensor.pid())
	if own := sockets(t, sensor.pid(), raw); own < 2 {
		t.Fatalf("the sensor has %d packet sockets; what is looked for must be there to be found", own)
	}
	for _, name := range []string{serverProgram, pushProgram} {
		pid := sensor.plugin(name)
		if pid == 0 {
			t.Fatalf("%s does not run", name)
		}
		if n := sockets(t, pid, raw); n != 0 {
			t.Errorf("%s has %d packet sockets", name, n)
		}
		status := procStatus(t, pid)
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			if status[set] != "0000000000000000" {
				t.Errorf("%s has %s %s", name, set, status[set])
			}
		}
		if status["NoNewPrivs"] != "1" {
			t.Errorf("%s may get privileges: NoNewPrivs %s", name, status["NoNewPrivs"])
		}
	}
}

// packetSockets lists the inodes of the packet sockets in a process's namespace.
func packetSockets(t testing.TB, pid int) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "net/packet"))
	if err != nil {
		t.Fatal(err)
	}
	inodes := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		fields := strings.Fields(line)
		inodes[fields[len(fields)-1]] = true
	}
	return inodes
}

// sockets counts a process's descriptors among the inodes.
func sockets(t testing.TB, pid int, inodes map[string]bool) int {
	t.Helper()
	links, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "fd/*"))
	if err != nil || len(links) == 0 {
		t.Fatalf("descriptors of %d: %v, %v", pid, links, err)
	}
	n := 0
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue // closed meanwhile
		}
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if isSocket && inodes[strings.TrimSuffix(inode, "]")] {
			n++
		}
	}
	return n
}

// procStatus is /proc/PID/status.
func procStatus(t testing.TB, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	return statusFields(string(text))
}

func statusFields(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}
