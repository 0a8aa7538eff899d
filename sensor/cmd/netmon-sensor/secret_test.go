package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSecretsStaySecret gives a sensor secrets by its environment and by its file, and
// looks for them in everything that it shows: its log at its most talkative, mistakes
// in the lines that hold them, its pages, the configuration it prints, and command
// lines and environments of its processes but its own.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	const canary, written = "canary-by-environment-1f3a", "canary-in-the-file-77b2"
	config := reloadConfig(`"eth0"`, "", "", "trace", fmt.Sprintf(`
exporter "push" {
  url = "http://203.0.113.2:1/api/v1/metrics"
  auth {
    bearer_token = env("NETMON_CANARY")
  }
}
exporter "push" "second" {
  url = "http://203.0.113.2:1/api/v1/metrics"
  auth {
    username = "u"
    password = %q
  }
}
exporter "server" "second" {
  listen = ["127.0.0.1:8082"]
  auth {
    token "lab" {
      secret = env("NETMON_CANARY")
    }
  }
  storage "memory" {}
}
`, written))
	path := writeFile(t, "netmon.hcl", config)
	environment := append(os.Environ(), "NETMON_CANARY="+canary)
	cmd := w.client.command(bin(t, sensorProgram), "-config", path)
	cmd.Env = environment
	sensor := &reloading{start(t, "sensor", cmd), w.client, path}
	w.client.ready(sensor.program)
	clean := func(what, text string) {
		t.Helper()
		for _, secret := range []string{canary, written} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s shows the secret: %q", what, text[max(0, i-80):i+len(secret)])
			}
		}
	}
	w.visit(tour()[:1])
	w.client.windows(2)

	for _, broken := range []struct{ from, to string }{
		{`env("NETMON_CANARY")`, `env("NETMON_CANARY") + 1`},
		{`env("NETMON_CANARY")`, `["${env("NETMON_CANARY")}"]`},
		{`env("NETMON_CANARY")`, `jsondecode(env("NETMON_CANARY"))`},
		{`bearer_token`, `bearer_tokn`},
		{`password = `, `passwort = `},
		{`password = "`, `password = 5 + "`},
		{`password = "` + written + `"`, `password = "` + written},
		{`username = "u"`, ``},
		{`secret = `, `secrets = `},
	} {
		mistaken := strings.Replace(config, broken.from, broken.to, 1)
		if mistaken == config {
			t.Fatalf("no %s", broken.from)
		}
		sensor.write(mistaken)
		status, text := sensor.post()
		clean(fmt.Sprintf("the refusal of %s", broken.to), text)
		if status != 422 {
			t.Errorf("%s: status %d: %s", broken.to, status, text)
		}
		cmd := w.client.command(bin(t, sensorProgram), "-config", path, "-check-config", "-log-level", "trace")
		cmd.Env = environment
		_, stdout, stderr := call(t, cmd)
		clean("-check-config", stdout+stderr)
	}
	sensor.load(config)

	for _, page := range []string{
		"/", "/flows", "/names", "/cursors", "/ledger", "/flows?format=json", "/names?format=json", "/cursors?format=json", "/ledger?format=json",
		"/api/v1/domains", "/api/v1/addresses", "/api/v1/protocols", "/metrics", "/-/ready", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2",
	} {
		answer, err := w.client.http().Get(statusURL + page)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		clean(page, string(text))
	}

	printing := w.client.command(bin(t, sensorProgram), "-config", path, "-print-config", "-log-level", "trace")
	printing.Env = environment
	code, stdout, stderr := call(t, printing)
	clean("-print-config", stdout+stderr)
	if code != 0 || strings.Count(stdout, `"***"`) != 3 {
		t.Errorf("-print-config: exit code %d: %s%s", code, stdout, stderr)
	}
	// What it printed is a configuration.
	again := writeFile(t, "printed.hcl", strings.ReplaceAll(stdout, "***", "sixteen-characters-or-more"))
	code, reprinted, stderr := call(t, w.client.command(bin(t, sensorProgram), "-config", again, "-print-config"))
	if code != 0 || reprinted != stdout {
		t.Errorf("printed again, exit code %d: %s%s", code, stderr, reprinted)
	}

	for _, pid := range append([]int{sensor.pid()}, sensor.family()...) {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
			if err != nil {
				t.Fatal(err)
			}
			if file == "cmdline" || pid != sensor.pid() {
				clean(fmt.Sprintf("%s of process %d", file, pid), string(text))
			}
		}
	}
	sensor.signal(15)
	sensor.wait(20 * time.Second)
	clean("the log", sensor.stdout.String()+sensor.stderr.String())
}

// family are the launcher of p and its plugins.
func (p *program) family() (pids []int) {
	p.t.Helper()
	for _, launcher := range p.children(p.pid(), sensorProgram) {
		pids = append(append(pids, launcher), p.children(launcher, serverProgram, pushProgram)...)
	}
	if len(pids) < 3 {
		p.t.Fatalf("processes %v", pids)
	}
	return pids
}
