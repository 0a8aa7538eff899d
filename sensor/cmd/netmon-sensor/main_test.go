package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

const (
	// requireNet, where set to 1, makes tests fail that would otherwise skip for
	// want of a privilege or a tool.
	requireNet = "NETMON_REQUIRE_NET"
	// insideEnv says that the tests run in a user namespace of their own already.
	insideEnv = "NETMON_LAB_INSIDE"
)

// enterScript makes /run writable, which `ip netns` needs. A resolv.conf that is a
// link into /run gets its target back, for tests to mount another file there.
const enterScript = `
target=$(readlink -m /etc/resolv.conf)
mount -t tmpfs tmpfs /run || exit 125
case $target in /run/*) mkdir -p "${target%/*}" && : >"$target" ;; esac
exec "$@"`

// TestMain runs the tests where they may make network namespaces: as root
// right here, else in a user namespace in which they are root.
func TestMain(m *testing.M) {
	if spec := os.Getenv(serveEnv); spec != "" {
		os.Exit(serve(spec))
	}
	if os.Geteuid() != 0 && os.Getenv(insideEnv) == "" && exec.Command("unshare", "-r", "-n", "-m", "true").Run() == nil {
		os.Exit(reexec())
	}
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// reexec runs the same tests again in namespaces of their own and returns their
// exit code.
func reexec() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command("unshare", append([]string{"-r", "-n", "-m", "sh", "-c", enterScript, "sh", self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// missing skips the test, or fails it where everything has to be there.
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

// needRealRoot skips where the only user is root: others cannot be switched to.
func needRealRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv(insideEnv) != "" {
		missing(t, "needs root, to become another user")
	}
	needTools(t, "setpriv")
}

// built is where the programs are, made by the first test that asks.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// bin returns the path of one of the programs, each built once per run: the
// sensor and its exporters in one folder as they are installed, the
// third-party exporter in another.
func bin(t testing.TB, name string) string {
	t.Helper()
	built.once.Do(func() { built.dir, built.err = build() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	path := filepath.Join(built.dir, "bin", name)
	if name == thirdParty {
		path = filepath.Join(built.dir, "examples", name)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	sensorProgram = "netmon-sensor"
	serverProgram = "netmon-exporter-server"
	pushProgram   = "netmon-exporter-push"
	thirdParty    = "netmon-exporter-stdout"
)

func build() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "netmon-test-")
	if err != nil {
		return "", err
	}
	// Programs run as other users, too, and plugins must not be writable by them.
	if err := os.Chmod(dir, 0o755); err != nil {
		return dir, err
	}
	ldflags := "-X main.version=" + testVersion
	for out, pkg := range map[string]string{
		"bin/" + sensorProgram:   "./sensor/cmd/netmon-sensor",
		"bin/" + serverProgram:   "./exporters/server/cmd/netmon-exporter-server",
		"bin/" + pushProgram:     "./exporters/push/cmd/netmon-exporter-push",
		"examples/" + thirdParty: "./examples/stdout-exporter",
	} {
		path := filepath.Join(dir, out)
		args := []string{"build", "-buildvcs=false", "-ldflags", ldflags, "-o", path, "."}
		if raceDetector() {
			args = append([]string{"build", "-race"}, args[1:]...)
		}
		cmd := exec.Command("go", args...)
		cmd.Dir = filepath.Join(root, pkg)
		if text, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("build %s: %w\n%s", pkg, err, text)
		}
		if err := os.Chmod(path, 0o755); err != nil {
			return dir, err
		}
		if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

const testVersion = "1.2.3-test"

// raceDetector says whether the tests were built with -race; then so are the
// programs.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}

// writeFile writes a file that everybody may read into a new folder of the test.
func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(tempDir(t), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tempDir is t.TempDir for files that other users must reach.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// containsAll returns an error that names what text lacks.
func containsAll(text string, parts ...string) error {
	var lacking []string
	for _, part := range parts {
		if !strings.Contains(text, part) {
			lacking = append(lacking, fmt.Sprintf("%q", part))
		}
	}
	if lacking == nil {
		return nil
	}
	return fmt.Errorf("no %s in:\n%s", strings.Join(lacking, ", no "), text)
}
