package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// background runs a command until the test ends, and returns how to kill it.
func background(t testing.TB, cmd *exec.Cmd) (kill func()) {
	t.Helper()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	kill = func() { _ = cmd.Process.Kill(); <-ended }
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("%s says:\n%s", strings.Join(cmd.Args, " "), tail(said.String(), 3000))
		}
	})
	return kill
}

// redis runs Debian's Redis in a namespace, with a password.
func redis(t testing.TB, netns, password string) {
	t.Helper()
	needTools(t, "redis-server", "redis-cli")
	background(t, inside(netns, "redis-server", "--port", "6390", "--requirepass", password, "--dir", t.TempDir(), "--save", "", "--appendonly", "yes"))
	eventually(t, 20*time.Second, "Redis answers", func() error {
		_, err := try(inside(netns, "redis-cli", "-p", "6390", "--no-auth-warning", "-a", password, "ping"))
		return err
	})
}

// total is the sum of what a page says that was sent.
func total(netns string) (float64, error) {
	series, err := scrape(netns, "http://127.0.0.1:8080/metrics", "network_bytes_sent_total")
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, line := range series {
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		sum += value
	}
	return sum, nil
}

// TestStores kills a server of the image's configuration, with the variables that
// its users set, and wants what it showed to be there when it is back and no sensor
// has spoken to it yet.
func TestStores(t *testing.T) {
	needTools(t, "curl")
	makeOnce(t, "image-root")
	for _, kind := range []string{"disk", "redis"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ns := netns(t)
			root := filepath.Join(top(t), "bin/image")
			environment := []string{"STORAGE_PATH=" + t.TempDir()}
			if kind == "redis" {
				redis(t, ns, "a password")
				environment = []string{"REDIS_HOST=127.0.0.1", "REDIS_PORT=6390", "REDIS_PASSWORD=a password", "REDIS_DB=3", "REDIS_POOL_SIZE=3", "REDIS_TIMEOUT=4s"}
			}
			start := func(program, config string, env ...string) func() {
				cmd := inside(ns, filepath.Join(root, program), "-config", filepath.Join(root, "etc/netmon", config))
				cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LOG_LEVEL=warn"}, env...)
				return background(t, cmd)
			}
			killServer := start("netmon-exporter-server", "server-"+kind+".hcl", environment...)
			// A sensor needs the exporters' sockets, and its log, in folders of its own.
			config := filepath.Join(t.TempDir(), "netmon.hcl")
			text := strings.Replace(read(t, filepath.Join(root, "etc/netmon/netmon.hcl")), "sensor {", fmt.Sprintf("sensor {\n  state_dir = %q", t.TempDir()), 1)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			sensor := inside(ns, filepath.Join(root, "netmon-sensor"), "-config", config)
			sensor.Env = []string{"PATH=" + os.Getenv("PATH"), "NETWORK_INTERFACE=lo", "IGNORE_LOCALHOST=false", "REPORT_INTERVAL=1s"}
			killSensor := background(t, sensor)
			var before float64
			eventually(t, 40*time.Second, "the server shows the sensor's traffic", func() (err error) {
				before, err = total(ns)
				return err
			})
			killSensor()
			killServer()
			if kind == "redis" {
				keys, err := try(inside(ns, "redis-cli", "-p", "6390", "-n", "3", "--no-auth-warning", "-a", "a password", "keys", "netmon*"))
				if err != nil || strings.TrimSpace(keys) == "" {
					t.Errorf("database 3 has the keys %q, %v", keys, err)
				}
			}
			start("netmon-exporter-server", "server-"+kind+".hcl", environment...)
			var after float64
			eventually(t, 40*time.Second, "the server shows it again", func() (err error) {
				after, err = total(ns)
				return err
			})
			if after < before {
				t.Errorf("%v bytes before the kill, %v after it", before, after)
			}
		})
	}
}
