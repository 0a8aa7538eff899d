package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An engine is a Docker engine of the test's own: its network namespace, its files
// and its mounts are nobody else's, and end with it.
type engine struct {
	t     testing.TB
	netns string
	env   []string
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	needTools(t, "dockerd", "docker", "iptables", "curl")
	e := &engine{t: t, netns: netns(t)}
	dir, err := os.MkdirTemp("", "netmon-deploy-")
	if err != nil {
		t.Fatal(err)
	}
	socket := "unix://" + dir + "/docker.sock"
	e.env = append(os.Environ(), "DOCKER_HOST="+socket, "DOCKER_CONFIG="+dir, "DOCKER_BUILDKIT=0", "COMPOSE_PROFILES=")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := inside(e.netns, "unshare", "-m", "dockerd", "--host", socket, "--config-file", config,
		"--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "--shutdown-timeout", "3")
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = daemon.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = daemon.Process.Kill()
			<-ended
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err := try(e.docker("info")); err == nil {
			return e
		}
		alive := true
		select {
		case <-ended:
			alive = false
		default:
		}
		if !alive || time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			missing(t, "needs a machine on which dockerd starts:\n"+tail(string(text), 2000))
		}
	}
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

func (e *engine) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = e.env
	return cmd
}

func (e *engine) docker(args ...string) *exec.Cmd { return e.command("docker", args...) }

// run runs a docker command to its end and returns its standard output.
func (e *engine) run(args ...string) string {
	e.t.Helper()
	out, err := try(e.docker(args...))
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// image makes the image from bin/, which the name netmon then stands for.
func (e *engine) image() {
	e.t.Helper()
	makeOnce(e.t, "image-root")
	if _, err := try(e.command("make", "-C", top(e.t), "-o", "image-root", "image")); err != nil {
		e.t.Fatal(err)
	}
}

// status is a line of /proc/PID/status of a container's process.
func (e *engine) status(container, field string) string {
	e.t.Helper()
	text, err := os.ReadFile("/proc/" + e.run("inspect", "-f", "{{.State.Pid}}", container) + "/status")
	if err != nil {
		e.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, field+":"); found {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	e.t.Fatalf("no %s in the status of %s", field, container)
	return ""
}

func (e *engine) healthy(container string) {
	e.t.Helper()
	defer func() {
		if e.t.Failed() {
			logs, _ := e.docker("logs", container).CombinedOutput()
			e.t.Logf("%s says:\n%s", container, tail(string(logs), 4000))
		}
	}()
	eventually(e.t, 60*time.Second, container+" is healthy", func() error {
		state, err := try(e.docker("inspect", "-f", "{{.State.Status}} {{.State.Health.Status}}", container))
		if err == nil && strings.TrimSpace(state) != "running healthy" {
			err = fmt.Errorf("it is %s", state)
		}
		return err
	})
}

// TestImage runs both roles of the image as its users do: with no right that a
// role does not need, no shell, and a server that is not root.
func TestImage(t *testing.T) {
	e := newEngine(t)
	e.image()

	for _, program := range []string{"netmon", "netmon-sensor", "netmon-exporter-server", "netmon-exporter-push"} {
		if text := run(t, "file", filepath.Join(top(t), "bin/image", program)); !strings.Contains(text, "statically linked") {
			t.Errorf("%s", text)
		}
	}
	if text := e.run("run", "--rm", "netmon", "version"); !strings.HasPrefix(text, "netmon-sensor ") || !strings.Contains(text, "\nnetmon-exporter-server ") || strings.Count(text, "\nbuild: ") != 2 {
		t.Errorf("version prints %q", text)
	}
	for _, args := range [][]string{{"netmon"}, {"-e", "COMPONENT=agnet", "netmon"}, {"netmon", "sh"}, {"-e", "STORAGE_TYPE=mysql", "netmon", "server"}, {"-e", "ENABLE_TLS=true", "netmon", "server"}} {
		out, err := e.docker(append([]string{"run", "--rm"}, args...)...).CombinedOutput()
		if exitCode(err) != 2 || !strings.HasPrefix(string(out), "netmon: ") {
			t.Errorf("%v: exit code %d, %s", args, exitCode(err), out)
		}
	}
	if out, err := e.docker("run", "--rm", "--cap-drop", "ALL", "--network", "host", "netmon", "sensor").CombinedOutput(); exitCode(err) != 3 || !strings.Contains(string(out), "CAP_NET_RAW") {
		t.Errorf("a sensor without its capability: exit code %d, %s", exitCode(err), out)
	}

	e.run("run", "-d", "--name", "server", "--health-interval", "1s", "-p", "127.0.0.1:8080:8080", "-e", "COMPONENT=server", "netmon")
	e.run("run", "-d", "--name", "sensor", "--health-interval", "1s", "--cap-drop", "ALL", "--cap-add", "NET_RAW", "--network", "host", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/var/lib/netmon",
		"-e", "COMPONENT=agent", "-e", "SERVER_URL=http://127.0.0.1:8080/api/v1/metrics", "-e", "NETWORK_INTERFACE=lo",
		"-e", "IGNORE_LOCALHOST=false", "-e", "REPORT_INTERVAL=1s", "-e", "HOSTNAME=web-1", "-e", "RETRY_COUNT=3", "netmon")
	e.healthy("server")
	e.healthy("sensor")
	eventually(t, 30*time.Second, "the server shows the sensor's traffic", func() error {
		_, err := scrape(e.netns, "http://127.0.0.1:8080/metrics", "network_bytes_sent_total")
		return err
	})
	if series, err := scrape(e.netns, "http://127.0.0.1:8080/metrics", "network_bytes_sent_total"); err != nil || !strings.Contains(series[0], `host="web-1"`) || !strings.Contains(series[0], `interface="lo"`) {
		t.Errorf("the first series is %v, %v", series, err)
	}
	if uid := e.status("server", "Uid"); uid != "65532 65532 65532 65532" {
		t.Errorf("the server runs as %s", uid)
	}
	if capabilities := e.status("sensor", "CapPrm"); capabilities != "0000000000002000" {
		t.Errorf("the sensor has the capabilities %s, not CAP_NET_RAW alone", capabilities)
	}
	logs, err := e.docker("logs", "sensor").CombinedOutput()
	if err != nil || !strings.Contains(string(logs), "netmon: RETRY_COUNT has no effect: ") {
		t.Errorf("the sensor says %s, %v", logs, err)
	}
	e.run("stop", "-t", "20", "sensor", "server")
	for _, container := range []string{"sensor", "server"} {
		if code := e.run("inspect", "-f", "{{.State.ExitCode}}", container); code != "0" {
			t.Errorf("%s ended with %s after SIGTERM", container, code)
		}
	}
}
