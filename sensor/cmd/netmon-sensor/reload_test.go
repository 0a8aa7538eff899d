package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A reloading sensor has its configuration in a file that a test rewrites.
type reloading struct {
	*program
	h    *host
	path string
}

// reloadingSensor starts a sensor that POST /-/reload may reload.
func (h *host) reloadingSensor(config string) *reloading {
	h.t.Helper()
	path := writeFile(h.t, "netmon.hcl", config)
	r := &reloading{start(h.t, "sensor", h.command(bin(h.t, sensorProgram), "-config", path)), h, path}
	h.ready(r.program)
	return r
}

func (r *reloading) write(config string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(config), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// post asks for a reload.
func (r *reloading) post() (status int, text string) {
	r.t.Helper()
	client := r.h.http()
	client.Timeout = 30 * time.Second // it starts and ends processes
	answer, err := client.Post(statusURL+"/-/reload", "", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// load takes config into use.
func (r *reloading) load(config string) {
	r.t.Helper()
	r.write(config)
	if status, text := r.post(); status != http.StatusOK {
		r.t.Fatalf("%d: %s", status, text)
	}
}

// refused wants config refused with these words.
func (r *reloading) refused(config string, words ...string) {
	r.t.Helper()
	r.write(config)
	status, text := r.post()
	if err := containsAll(text, words...); status != http.StatusUnprocessableEntity || err != nil {
		r.t.Errorf("%d: %v", status, err)
	}
}

// descriptors counts the open files of a process.
func descriptors(t testing.TB, pid int) int {
	t.Helper()
	links, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "fd/*"))
	if err != nil || len(links) == 0 {
		t.Fatalf("descriptors of %d: %v, %v", pid, links, err)
	}
	return len(links)
}

// reloadConfig is a sensor that may be reloaded, with what differs.
func reloadConfig(interfaces, capture, filter, level, exporters string) string {
	return fmt.Sprintf(`
sensor {
  id        = "lab"
  interval  = "1s"
  state_dir = ""
}
capture {
  interfaces = [%s]
  shards     = 2
  %s
}
filter {
  %s
}
log {
  level = %q
}
status {
  reload = true
}
exporter "server" {
  listen = ["127.0.0.1:8080"]
  storage "memory" {}
}
%s`, interfaces, capture, filter, level, exporters)
}

// TestReload reloads under traffic, again and again, and wants every byte counted
// once, no packet dropped and nothing left behind.
func TestReload(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.client.wire("spare0", "10.8.0.1/24", w.web, "spare0", "10.8.0.2/24")
	const push = "exporter \"push\" {\n  url = \"http://203.0.113.2:1/api/v1/metrics\"\n}\n"
	plain := reloadConfig(`"eth0"`, "", "ignore_ports = [9]", "info", "")
	other := reloadConfig(`"eth*", "spare0"`, "snap = \"full\"\n  home_networks = [\"192.0.2.0/24\"]",
		"ignore_ports = [10, \"6000-6010\"]\n  ignore_nets = [\"10.9.0.0/16\"]\n  ignore_domains = [\"never.example\"]", "debug", "")
	sensor := w.client.reloadingSensor(plain)
	m := w.client.meter("eth0")
	// What one round of everything opens for good is there before the comparison.
	sensor.load(other + push)
	sensor.load(plain)
	server := sensor.plugin(serverProgram)
	goroutines := w.client.status().sum("go_goroutines")
	files := descriptors(t, sensor.pid())

	stop := w.crowd()
	const rounds = 100
	for i := range rounds {
		switch {
		case i%2 == 1:
			sensor.load(plain)
		case i%20 == 0:
			sensor.load(other + push)
		default:
			sensor.load(other)
		}
	}
	stop()
	w.settle(m, func() (scrape, error) { return w.client.scrape(localMetrics) })

	s := w.client.status()
	if err := rests(s); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]float64{
		"netmon_capture_dropped_total": 0, "netmon_audit_imbalance": 0, "netmon_config_last_reload_successful": 1,
	} {
		if got := s.sum(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := s.by("netmon_config_reloads_total", "result"); got["success"] != rounds+2 || got["refused"] != 0 {
		t.Errorf("reloads %v", got)
	}
	if at := s.sum("netmon_config_last_reload_success_timestamp_seconds"); time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("the last success was at %v", at)
	}
	if sensor.plugin(serverProgram) != server || sensor.plugin(pushProgram) != 0 {
		t.Error("the exporter server was started again, or push goes on")
	}
	if got := s.by("netmon_exporter_up", "exporter"); len(got) != 1 {
		t.Errorf("exporters %v", got)
	}
	eventually(t, 15*time.Second, "nothing is left behind", func() error {
		var errs []error
		if n := w.client.status().sum("go_goroutines"); n > goroutines+2 {
			errs = append(errs, fmt.Errorf("%v goroutines, %v before", n, goroutines))
		}
		if n := descriptors(t, sensor.pid()); n > files+2 {
			errs = append(errs, fmt.Errorf("%d descriptors, %d before", n, files))
		}
		return errors.Join(errs...)
	})
}

// knock asks for a connection at a port where nobody listens.
func (h *host) knock(address string) {
	h.t.Helper()
	needTools(h.t, "curl")
	h.script("curl -4 -s --max-time 5 http://" + address + ":9/ || true")
}

// TestReloadTakesEffect looks at what each kind of change does.
func TestReloadTakesEffect(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	plain := reloadConfig(`"eth0"`, "", "", "info", "")
	sensor := w.client.reloadingSensor(plain)
	packets := func() float64 {
		w.client.windows(2) // what was sent before is counted
		return w.client.status().by("netmon_frames_total", "detail")["decoded"]
	}
	counts := func(what string, config string, address string, want bool) {
		t.Helper()
		sensor.load(config)
		before := packets()
		w.client.knock(address)
		if after := packets(); (after > before) != want {
			t.Errorf("%s: %v frames, then %v", what, before, after)
		}
	}
	counts("as it was", plain, webAddress, true)
	counts("another interface", reloadConfig(`"mgmt"`, "", "", "info", ""), mgmtAddress, true)
	counts("the first one no longer", reloadConfig(`"mgmt"`, "", "", "info", ""), webAddress, false)
	counts("a network left out", reloadConfig(`"eth0"`, "", "ignore_nets = [\"198.51.100.0/24\"]", "info", ""), webAddress, false)
	counts("and no longer", plain, webAddress, true)

	// An exporter's settings: it listens elsewhere, in the same process.
	pid := sensor.plugin(serverProgram)
	sensor.load(strings.Replace(plain, "127.0.0.1:8080", "127.0.0.1:8081", 1))
	if _, err := w.client.get("http://127.0.0.1:8081/metrics"); err != nil || sensor.plugin(serverProgram) != pid {
		t.Errorf("the exporter has not moved: %v", err)
	}
	// Another environment: another process.
	sensor.load(strings.Replace(plain, "storage \"memory\"", "env = { A = \"b\" }\n  storage \"memory\"", 1))
	if now := sensor.plugin(serverProgram); now == pid || now == 0 || !strings.Contains(environ(t, now), "A=b") {
		t.Errorf("the exporter was %d and is %d", pid, now)
	}
	// SIGHUP does the same.
	sensor.write(reloadConfig(`"eth0"`, "", "", "debug", ""))
	sensor.signal(syscall.SIGHUP)
	sensor.until("the configuration was read again")
	sensor.load(plain)
	sensor.signal(syscall.SIGTERM)
	if code := sensor.wait(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestReloadRefused wants a configuration that cannot be taken into use to change
// nothing, and told why.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	plain := reloadConfig(`"eth0"`, "", "", "info", "")
	sensor := w.client.reloadingSensor(plain)
	pid := sensor.plugin(serverProgram)
	const push = "exporter \"push\" {\n  url = \"http://203.0.113.2:1/api/v1/metrics\"\n}\n"

	sensor.refused("sensor {", "netmon.hcl line 1")
	sensor.refused(strings.Replace(plain, "level", "levle", 1), "Did you mean \"level\"?", "netmon.hcl line ")
	sensor.refused(strings.Replace(plain, `"1s"`, `"2s"`, 1), "Needs a restart", `interval  = "2s"`, "was \"1s\"")
	sensor.refused(strings.Replace(plain, "shards     = 2", "shards = 1", 1), "Needs a restart", "capture { shards } was 2")
	sensor.refused(strings.Replace(plain, "shards     = 2", "", 1), "Needs a restart", "capture { shards } was 2")
	sensor.refused(reloadConfig(`"eth0", "absent0"`, "", "", "info", push), "absent0")
	sensor.refused(plain+"exporter \"odd\" {}\n", "No usable plugin for this exporter", "netmon-exporter-odd")
	sensor.refused(plain+"exporter \"push\" {\n  url = \"nonsense\"\n}\n", "url = \"nonsense\"")
	// Two exporters want one address: what was changed for it is undone.
	sensor.refused(strings.Replace(plain, "127.0.0.1:8080", "127.0.0.1:8081", 1)+
		"exporter \"server\" \"second\" {\n  listen = [\"127.0.0.1:9854\"]\n  storage \"memory\" {}\n}\n", "127.0.0.1:9854")
	sensor.refused(strings.Replace(plain, "storage \"memory\"", "env = { A = \"b\" }\n  storage \"memory\"", 1)+
		"exporter \"server\" \"second\" {\n  listen = [\"127.0.0.1:9854\"]\n  storage \"memory\" {}\n}\n", "127.0.0.1:9854")
	if err := os.Remove(sensor.path); err != nil {
		t.Fatal(err)
	}
	if status, text := sensor.post(); status != http.StatusUnprocessableEntity || !strings.Contains(text, "no such file") {
		t.Errorf("%d: %s", status, text)
	}
	sensor.until("the configuration was not taken into use")

	s := w.client.status()
	if got := s.by("netmon_config_reloads_total", "result"); got["success"] != 0 || got["refused"] != 11 {
		t.Errorf("reloads %v", got)
	}
	if s.sum("netmon_config_last_reload_successful") != 0 {
		t.Error("the last reload is said to be successful")
	}
	if now := sensor.plugin(serverProgram); now != pid || sensor.plugin(pushProgram) != 0 {
		t.Errorf("the exporter was %d and is %d", pid, now)
	}
	if _, err := w.client.get(localMetrics); err != nil {
		t.Error(err)
	}
	if got := w.client.status().by("netmon_exporter_up", "exporter"); len(got) != 1 || got["server"] != 1 {
		t.Errorf("exporters %v", got)
	}

	// As another user it cannot read what only root may: refused, with the reason.
	if os.Getenv(insideEnv) == "" && os.Geteuid() == 0 {
		if err := os.WriteFile(sensor.path, []byte(plain), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, text := sensor.post(); status != http.StatusUnprocessableEntity || !strings.Contains(text, "permission denied") {
			t.Errorf("%d: %s", status, text)
		}
	}
}

// TestReloadIsOff asks without being allowed to.
func TestReloadIsOff(t *testing.T) {
	t.Parallel()
	h, peer := newHost(t), newHost(t)
	h.wire("eth0", "192.0.2.1/24", peer, "eth0", "192.0.2.2/24")
	sensor := h.reloadingSensor(strings.Replace(reloadConfig(`"eth0"`, "", "", "info", ""), "reload = true", "", 1))
	if status, text := sensor.post(); status != http.StatusForbidden || !strings.Contains(text, "status { reload = true }") {
		t.Errorf("%d: %s", status, text)
	}
	for name, header := range map[string]string{"Host": "rebound.example", "Origin": "http://elsewhere.example"} {
		request, err := http.NewRequest(http.MethodPost, statusURL+"/-/reload", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(name, header)
		if name == "Host" {
			request.Host = header
		}
		answer, err := h.http().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusMisdirectedRequest && answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s: %s", name, header, answer.Status)
		}
	}
}

// TestReloadMutants reloads damaged copies of a configuration: each is refused, with
// everything as it was, or taken into use whole.
func TestReloadMutants(t *testing.T) {
	t.Parallel()
	h, peer := newHost(t), newHost(t)
	h.wire("eth0", "192.0.2.1/24", peer, "eth0", "192.0.2.2/24")
	plain := reloadConfig(`"eth0"`, "", "ignore_ports = [9]\n  ignore_domains = [\"a-name-that-is-long-enough-to-be-hit.example\"]", "info", "")
	sensor := h.reloadingSensor(plain)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const mutants = 300
	taken := 0
	for range mutants {
		text := []byte(plain)
		for range 1 + random.IntN(2) {
			at := random.IntN(len(text))
			switch old := text[at]; {
			case old-'a' < 26 && random.IntN(2) == 0: // another name is a good one
				text[at] = 'a' + byte(random.IntN(26))
			default:
				text[at] = byte(random.IntN(256))
			}
		}
		sensor.write(string(text))
		switch status, answer := sensor.post(); status {
		case http.StatusOK:
			taken++
		case http.StatusUnprocessableEntity:
			if strings.TrimSpace(answer) == "" {
				t.Errorf("no reason for\n%s", text)
			}
		default:
			t.Fatalf("%d: %s\n%s", status, answer, text)
		}
		if err := sensor.alive(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	got := h.status().by("netmon_config_reloads_total", "result")
	if got["success"] != float64(taken) || got["refused"] != float64(mutants-taken) {
		t.Errorf("reloads %v, %d taken", got, taken)
	}
	if taken == 0 || taken == mutants {
		t.Errorf("%d of %d taken: the mutants show nothing", taken, mutants)
	}
	sensor.load(plain)
	h.ready(sensor.program)
	before := h.status().sum("netmon_frames_total")
	h.knock("192.0.2.2")
	eventually(t, 15*time.Second, "packets are counted", func() error {
		if n := h.status().sum("netmon_frames_total"); n < before+2 {
			return fmt.Errorf("%v after %v", n, before)
		}
		return nil
	})
	if n := h.status().sum("netmon_audit_imbalance"); n != 0 {
		t.Errorf("the imbalance is %v", n)
	}
}
