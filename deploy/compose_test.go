package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// redisImage makes an image of Debian's Redis: there is no registry to ask.
func (e *engine) redisImage(name string) {
	e.t.Helper()
	needTools(e.t, "redis-server", "ldd")
	dir := e.t.TempDir()
	put := func(from, to string) {
		run(e.t, "install", "-D", from, filepath.Join(dir, to))
	}
	put("/usr/bin/redis-server", "usr/bin/redis-server")
	for _, word := range strings.Fields(run(e.t, "ldd", "/usr/bin/redis-server")) {
		if strings.HasPrefix(word, "/") {
			put(word, word)
		}
	}
	dockerfile := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(dockerfile, []byte("FROM scratch\nCOPY . /\nWORKDIR /data\n"), 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.run("build", "-q", "-t", name, dir)
}

// TestCompose starts what the file has by default, and then its profiles: the
// server shows the sensor's traffic, changes its storage when Redis joins, and
// begins with Redis where it is there at once.
func TestCompose(t *testing.T) {
	needTools(t, "docker-compose")
	e := newEngine(t)
	e.image()
	e.redisImage("netmon-test-redis")
	compose := func(args ...string) string {
		t.Helper()
		cmd := e.command("docker-compose", append([]string{"-p", "netmon", "-f", "compose/compose.yaml"}, args...)...)
		cmd.Env = append(cmd.Env, "REDIS_IMAGE=netmon-test-redis", "NETWORK_INTERFACE=lo", "IGNORE_LOCALHOST=false", "REPORT_INTERVAL=1s", "NODE_NAME=first")
		out, err := try(cmd)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(tail(compose("--profile", "redis", "--profile", "debug", "logs", "--no-color", "--tail", "30"), 8000))
		}
	})
	shows := func(what, metric string, labels ...string) {
		t.Helper()
		eventually(t, 60*time.Second, what, func() error {
			series, err := scrape(e.netns, "http://127.0.0.1:8080/metrics", metric)
			if err == nil {
				for _, label := range labels {
					if !strings.Contains(strings.Join(series, "\n"), label) {
						err = fmt.Errorf("%s has no %s", metric, label)
					}
				}
			}
			return err
		})
	}
	compose("config", "-q")
	compose("up", "-d")
	shows("the server shows the sensor's traffic", "network_bytes_sent_total", `host="first"`)
	shows("the server keeps it on disk", "netmon_server_store_journal_bytes_total")

	compose("--profile", "redis", "--profile", "debug", "up", "-d")
	shows("the server keeps it in Redis", "netmon_server_store_redis_check", `check="append_only_file"} 1`, `check="no_eviction"} 1`)
	shows("both sensors are there", "network_bytes_sent_total", `host="first"`, `host="debug"`)

	compose("--profile", "redis", "--profile", "debug", "down", "-v", "-t", "5")
	compose("--profile", "redis", "up", "-d")
	shows("the server begins with Redis", "netmon_server_store_redis_check", `check="master"} 1`)
	shows("the server shows the sensor's traffic", "network_bytes_sent_total", `host="first"`)
	compose("--profile", "redis", "down", "-v", "-t", "5")
}

// TestComposeMounts wants every file that the compose file mounts to be there.
func TestComposeMounts(t *testing.T) {
	mounts := 0
	for line := range strings.Lines(read(t, "compose/compose.yaml")) {
		if mount := strings.TrimPrefix(strings.TrimSpace(line), "- "); strings.HasPrefix(mount, ".") {
			mounts++
			path, _, _ := strings.Cut(mount, ":")
			if _, err := os.Stat(filepath.Join("compose", path)); err != nil {
				t.Error(err)
			}
		}
	}
	if mounts == 0 {
		t.Error("nothing is mounted")
	}
}
