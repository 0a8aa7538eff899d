package main

import (
	"os/exec"
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

	status := procStatus(t, sensor.pid())
	const netRaw = "0000000000002000"
	if !strings.HasPrefix(status["Uid"], "65534") || status["CapEff"] != netRaw {
		t.Errorf("the sensor runs as %s with %s", status["Uid"], status["CapEff"])
	}
	if status := procStatus(t, sensor.plugin(serverProgram)); status["CapEff"] != "0000000000000000" || status["CapAmb"] != "0000000000000000" {
		t.Errorf("the plugin has CapEff %s, CapAmb %s", status["CapEff"], status["CapAmb"])
	}
	sensor.signal(syscall.SIGTERM)
	if code := sensor.wait(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
