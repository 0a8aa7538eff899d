package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// what every package has to bring.
var packed = []string{
	"/usr/bin/netmon-sensor", "/usr/bin/netmon-exporter-server",
	"/usr/lib/netmon/plugins/netmon-exporter-server", "/usr/lib/netmon/plugins/netmon-exporter-push",
	"/etc/netmon/netmon.hcl", "/etc/netmon/server.hcl",
	"/usr/lib/systemd/system/netmon-sensor.service", "/usr/lib/systemd/system/netmon-server.service",
	"/usr/lib/sysusers.d/netmon.conf", "/usr/share/doc/netmon/copyright", "/usr/share/doc/netmon/NOTICE",
	"/usr/share/bash-completion/completions/netmon-sensor", "/usr/share/zsh/site-functions/_netmon-sensor", "/usr/share/fish/vendor_completions.d/netmon-sensor.fish",
	"/usr/share/man/man8/netmon-sensor.8", "/usr/share/man/man5/netmon.hcl.5", "/usr/share/man/man8/netmon-exporter-server.8", "/usr/share/man/man8/netmon-exporter-push.8",
}

// pack makes netmon.FORMAT of a version in dir.
func pack(t testing.TB, dir, format, version string) {
	t.Helper()
	makeOnce(t, "package-root", "nfpm")
	cmd := exec.Command(filepath.Join(top(t), ".cache/bin/nfpm"), "package", "-f", "deploy/packages/nfpm.yaml", "-p", format, "-t", filepath.Join(dir, "netmon."+format))
	cmd.Dir = top(t)
	cmd.Env = append(os.Environ(), "GOARCH="+runtime.GOARCH, "PACKAGE_VERSION="+version)
	if _, err := try(cmd); err != nil {
		t.Fatal(err)
	}
}

// A machine is a copy of this one in a mount and a network namespace of its own:
// what is changed there is in memory, and gone with the test.
type machine struct {
	t      testing.TB
	root   string // as the machine itself sees its copy
	pid    int    // of a process that holds the namespaces
	shared string // a folder of both: sharedInside there
}

const sharedInside = "/run/packages"

func newMachine(t testing.TB) *machine {
	t.Helper()
	dir := t.TempDir()
	ns := netns(t)
	for _, args := range []string{"link add eth0 type veth peer name eth1", "addr add 192.0.2.1/24 dev eth0", "link set eth1 up", "link set eth0 up", "route add default via 192.0.2.2"} {
		run(t, "ip", append([]string{"-n", ns}, strings.Fields(args)...)...)
	}
	root := t.TempDir()
	holder := inside(ns, "unshare", "-m", "--propagation", "private", "sh", "-ec", `
		mount -t tmpfs tmpfs "$1"
		mkdir "$1/upper" "$1/work" "$1/root"
		mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
		mount --rbind /proc "$1/root/proc"
		mount --rbind /dev "$1/root/dev"
		mount -t tmpfs tmpfs "$1/root/tmp"
		mount -t tmpfs tmpfs "$1/root/run"
		mkdir "$1/root/run/packages" && mount --bind "$2" "$1/root/run/packages"
		echo ready
		exec sleep 600`, "sh", root, dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	holder.Stderr = &stderr
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
	})
	if line, err := io.ReadAll(io.LimitReader(out, 6)); err != nil || string(line) != "ready\n" {
		_ = holder.Wait()
		missing(t, "needs a machine that has overlayfs: "+stderr.String())
	}
	return &machine{t: t, root: filepath.Join(root, "root"), pid: holder.Process.Pid, shared: dir}
}

func (m *machine) command(args ...string) *exec.Cmd {
	enter := []string{"-m", "-n", "-t", fmt.Sprint(m.pid), "chroot", m.root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}
	return exec.Command("nsenter", append(enter, args...)...)
}

func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := try(m.command(args...))
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

func (m *machine) has(path string) bool {
	return m.command("test", "-e", path).Run() == nil
}

// unit reads what a test does instead of systemd from the unit that is installed.
func (m *machine) unit(name string) map[string]string {
	m.t.Helper()
	settings := map[string]string{}
	for line := range strings.Lines(m.run("cat", "/usr/lib/systemd/system/"+name)) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found && settings[key] == "" {
			settings[key] = value
		}
	}
	return settings
}

// A service is a unit's command, run as its user with its capabilities.
type service struct {
	*exec.Cmd
	t      testing.TB
	out    bytes.Buffer
	socket *net.UnixConn // where systemd would be told
	ended  chan error
}

// start does what systemd would, less the sandbox, which `systemd-analyze` judges.
func (m *machine) start(name string) *service {
	m.t.Helper()
	unit := m.unit(name)
	told := fmt.Sprintf("notify-%d", time.Now().UnixNano())
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(m.shared, told), Net: "unixgram"})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { socket.Close() })
	if err := os.Chmod(filepath.Join(m.shared, told), 0o777); err != nil {
		m.t.Fatal(err)
	}
	owned := func(dir, mode string) {
		m.run("install", "-d", "-o", unit["User"], "-g", unit["Group"], "-m", mode, dir)
	}
	owned("/var/lib/"+unit["StateDirectory"], unit["StateDirectoryMode"])
	args := []string{"env", "NOTIFY_SOCKET=" + filepath.Join(sharedInside, told)}
	if dir := unit["RuntimeDirectory"]; dir != "" {
		owned("/run/"+dir, unit["RuntimeDirectoryMode"])
		args = append(args, unit["Environment"])
	}
	capabilities := "-all"
	if c := unit["AmbientCapabilities"]; c != "" {
		capabilities += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	args = append(args, "setpriv", "--reuid", unit["User"], "--regid", unit["Group"], "--clear-groups", "--no-new-privs",
		"--inh-caps", capabilities, "--ambient-caps", capabilities, "--bounding-set", capabilities)
	s := &service{Cmd: m.command(append(args, strings.Fields(unit["ExecStart"])...)...), t: m.t, socket: socket, ended: make(chan error, 1)}
	s.Stdout, s.Stderr = &s.out, &s.out
	if err := s.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() { s.ended <- s.Wait() }()
	m.t.Cleanup(func() { _ = s.Process.Kill() })
	s.tells("READY=1")
	return s
}

// tells waits until systemd would be told state.
func (s *service) tells(state string) {
	s.t.Helper()
	buffer := make([]byte, 4096)
	_ = s.socket.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		n, err := s.socket.Read(buffer)
		if err != nil {
			_ = s.Process.Kill()
			<-s.ended
			s.t.Fatalf("%s does not tell %s: %v\n%s", s.Args[len(s.Args)-3], state, err, s.out.String())
		}
		if slices.Contains(strings.Fields(string(buffer[:n])), state) {
			return
		}
	}
}

// stop ends the service as KillMode=mixed does, and wants it to end well.
func (s *service) stop() {
	s.t.Helper()
	_ = s.Process.Signal(syscall.SIGTERM)
	s.tells("STOPPING=1")
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("%v\n%s", err, s.out.String())
		}
	case <-time.After(20 * time.Second):
		s.t.Fatalf("did not end\n%s", s.out.String())
	}
}

// TestDeb installs the package, runs both services by their units, scrapes them,
// upgrades, removes and purges.
func TestDeb(t *testing.T) {
	needRoot(t)
	needTools(t, "dpkg", "setpriv", "curl")
	m := newMachine(t)
	pack(t, m.shared, "deb", "1.0.0")
	m.run("rm", "-rf", "/var/lib/netmon", "/var/lib/netmon-server") // of this machine's own sensor
	m.run("dpkg", "-i", sharedInside+"/netmon.deb")
	for _, path := range packed {
		if !m.has(path) {
			t.Errorf("%s is not there", path)
		}
	}
	for path, want := range map[string]string{
		"/etc/netmon/netmon.hcl": "640 root netmon", "/etc/netmon/server.hcl": "640 root netmon-server",
		"/usr/bin/netmon-sensor": "755 root root", "/usr/lib/netmon/plugins/netmon-exporter-push": "755 root root",
	} {
		if got := strings.TrimSpace(m.run("stat", "-c", "%a %U %G", path)); got != want {
			t.Errorf("%s is %s, not %s", path, got, want)
		}
	}

	sensor := m.start("netmon-sensor.service")
	scraped := func(url, name string) {
		t.Helper()
		eventually(t, 30*time.Second, url+" shows "+name, func() error {
			_ = m.command("curl", "-s", "-m", "0.2", "http://192.0.2.9/").Run() // a SYN that nobody answers is traffic
			page, err := try(m.command("curl", "-sSf", "-m", "5", url))
			if err == nil && !strings.Contains(page, "\n"+name) {
				err = errors.New("it does not")
			}
			return err
		})
	}
	scraped("http://127.0.0.1:8080/metrics", `network_packets_sent_total{host="`)
	sensor.stop()
	server := m.start("netmon-server.service")
	scraped("http://127.0.0.1:8080/metrics", "netmon_server_build_info{")
	server.stop()

	m.run("sed", "-i", "$a# mine", "/etc/netmon/netmon.hcl")
	pack(t, m.shared, "deb", "1.0.1")
	m.run("dpkg", "-i", sharedInside+"/netmon.deb")
	if version := m.run("dpkg-query", "-W", "-f", "${Version}", "netmon"); version != "1.0.1" {
		t.Errorf("after the upgrade it is %s", version)
	}
	if !strings.HasSuffix(m.run("cat", "/etc/netmon/netmon.hcl"), "# mine\n") {
		t.Error("the upgrade took an edited configuration away")
	}
	m.start("netmon-sensor.service").stop()

	m.run("dpkg", "-r", "netmon")
	if m.has("/usr/bin/netmon-sensor") || !m.has("/etc/netmon/netmon.hcl") || !m.has("/var/lib/netmon") {
		t.Error("a removal takes the programs and leaves configuration and state")
	}
	m.run("dpkg", "-P", "netmon")
	if m.has("/etc/netmon/netmon.hcl") || m.has("/var/lib/netmon") {
		t.Error("a purge leaves nothing")
	}
}

// TestRPM installs and removes the package; where it is at home is no such machine
// here.
func TestRPM(t *testing.T) {
	needRoot(t)
	needTools(t, "rpm")
	m := newMachine(t)
	pack(t, m.shared, "rpm", "1.0.0")
	// dpkg knows what rpm has no database of.
	m.run("rpm", "-i", "--nodeps", sharedInside+"/netmon.rpm")
	list := strings.Split(m.run("rpm", "-ql", "netmon"), "\n")
	for _, path := range packed {
		if !m.has(path) || !slices.Contains(list, path) {
			t.Errorf("%s is not there", path)
		}
	}
	if configs := m.run("rpm", "-qc", "netmon"); configs != "/etc/netmon/netmon.hcl\n/etc/netmon/server.hcl\n" {
		t.Errorf("configuration files are %q", configs)
	}
	if owner := strings.TrimSpace(m.run("stat", "-c", "%a %U %G", "/etc/netmon/netmon.hcl")); owner != "640 root netmon" {
		t.Errorf("/etc/netmon/netmon.hcl is %s", owner)
	}
	m.run("netmon-sensor", "-version")
	m.run("rpm", "-e", "netmon")
	if m.has("/usr/bin/netmon-sensor") {
		t.Error("a removal takes the programs")
	}
}

// TestAPK reads the package as apk does, which is not to be had here: a signature
// or none, control data, files, each a stream of its own.
func TestAPK(t *testing.T) {
	dir := t.TempDir()
	pack(t, dir, "apk", "1.0.0")
	file, err := os.Open(filepath.Join(dir, "netmon.apk"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stream, err := gzip.NewReader(file) // joined streams are one to it
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for archive := tar.NewReader(stream); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(io.LimitReader(archive, 4096))
		if err != nil {
			t.Fatal(err)
		}
		found["/"+strings.TrimPrefix(header.Name, "/")] = string(text)
	}
	for _, path := range append(slices.Clone(packed), "/.PKGINFO", "/.pre-install", "/.post-install", "/.pre-deinstall") {
		if _, ok := found[path]; !ok {
			t.Errorf("%s is not there", path)
		}
	}
	if !strings.Contains(found["/.PKGINFO"], "pkgver = 1.0.0\n") {
		t.Errorf("the control data say %s", found["/.PKGINFO"])
	}
}
