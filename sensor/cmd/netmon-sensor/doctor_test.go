package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

type finding struct{ Check, Level, Found, Cure string }

// doctor runs `netmon-sensor doctor -json` by a script in the namespace, where "$@" is
// that command.
func (h *host) doctor(script, config string) (code int, found []finding) {
	h.t.Helper()
	args := []string{"-ec", script, "sh", bin(h.t, sensorProgram), "doctor", "-json"}
	if config != "" {
		args = append(args, "-config", writeFile(h.t, "netmon.hcl", config))
	}
	code, stdout, stderr := call(h.t, h.command("sh", args...))
	var report struct {
		OK       bool
		Findings []finding
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || stderr != "" {
		h.t.Fatalf("%v: exit code %d: %s%s", err, code, stdout, stderr)
	}
	for _, f := range report.Findings {
		if f.Level != "fine" && f.Cure == "" {
			h.t.Errorf("no cure for %+v", f)
		}
	}
	if report.OK != (code == exitFine) {
		h.t.Errorf("exit code %d, and well is %v", code, report.OK)
	}
	return code, report.Findings
}

// TestDoctor takes from a sensor what it needs, one thing after the other, and wants
// that named.
func TestDoctor(t *testing.T) {
	t.Parallel()
	needRealRoot(t)
	h, other := newHost(t), newHost(t)
	h.wire("eth0", "192.0.2.1/24", other, "eth0", "192.0.2.2/24")
	h.run("ip", "link", "add", "down0", "type", "veth", "peer", "name", "down1")
	dir := tempDir(t)
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	for _, d := range []string{"open", "small", "fixed"} {
		if err := os.Mkdir(at(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(at("open"), 0o777); err != nil {
		t.Fatal(err)
	}
	config := func(state, capture, more string) string {
		return fmt.Sprintf("sensor {\n  state_dir = %q\n}\ncapture {\n  interfaces = [%s]\n}\n%s", state, capture, more)
	}
	good := config(at("state"), `"eth0"`, exporterServer)
	for name, test := range map[string]struct {
		script, config     string
		check, level, says string
	}{
		"well":             {`exec "$@"`, good, "capability", "fine", "CAP_NET_RAW"},
		"rings":            {`exec "$@"`, good, "ring memory", "fine", "64 MiB of rings"},
		"interface":        {`exec "$@"`, good, "interface", "fine", "eth0 is up"},
		"no capability":    {`exec setpriv --bounding-set -net_raw --inh-caps -net_raw "$@"`, good, "capability", "problem", "CAP_NET_RAW"},
		"another user":     {`exec setpriv --reuid 65533 --regid 65533 --clear-groups "$@"`, good, "capability", "problem", "user 65533"},
		"user's state":     {`exec setpriv --reuid 65533 --regid 65533 --clear-groups "$@"`, good, "state_dir", "problem", "cannot be written"},
		"no such user":     {`exec "$@"`, strings.Replace(good, "sensor {", "sensor {\n  user = \"no-such-one\"", 1), "user", "problem", "no-such-one"},
		"not to become":    {`exec setpriv --bounding-set -setuid "$@"`, good, "user", "warning", "stays root"},
		"no interface":     {`exec "$@"`, config(at("state"), `"eth9"`, exporterServer), "interfaces", "problem", `did you mean eth0?`},
		"no match":         {`exec "$@"`, config(at("state"), `"wl*"`, exporterServer), "interfaces", "warning", "nothing matches wl*"},
		"link down":        {`exec "$@"`, config(at("state"), `"down0"`, exporterServer), "interface", "warning", "down0 is down"},
		"full disk":        {`mount -t tmpfs -o size=1m tmpfs ` + at("small") + `; exec "$@"`, config(at("small"), `"eth0"`, exporterServer), "disk", "warning", "1 MiB are free"},
		"read-only disk":   {`mount -t tmpfs -o ro tmpfs ` + at("fixed") + `; exec "$@"`, config(at("fixed"), `"eth0"`, exporterServer), "disk", "problem", "read-only"},
		"in memory":        {`exec "$@"`, config("", `"eth0"`, exporterServer), "state_dir", "warning", "in memory"},
		"plugin directory": {`exec "$@"`, good + "plugins {\n  directory = \"" + at("open") + "\"\n}\n", "plugins", "problem", "may be changed by everybody"},
		"no plugin":        {`exec "$@"`, good + "exporter \"nothing\" {}\n", "plugins", "problem", "no program netmon-exporter-nothing"},
		"no exporter":      {`exec "$@"`, config(at("state"), `"eth0"`, ""), "plugins", "warning", "no exporter"},
		"bad config":       {`exec "$@"`, "sensor {\n  intervall = 1\n}\n", "config", "problem", "line 2, column 3"},
		"defaults":         {`exec "$@"`, "", "config", "fine", "-config FILE"},
		"status off":       {`exec "$@"`, good + "status {\n  listen = \"\"\n}\n", "status", "fine", "off"},
		"status not here":  {`exec "$@"`, good + "status {\n  listen = \"192.0.2.9:9854\"\n  insecure = true\n}\n", "status", "problem", "cannot assign"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &host{t, h.ns}
			code, found := h.doctor(test.script, test.config)
			if (code != exitFine) != (test.level == "problem") && name != "defaults" {
				t.Errorf("exit code %d: %+v", code, found)
			}
			if err := lists(found, test.check, test.level, test.says); err != nil {
				t.Error(err)
			}
		})
	}

	// Somebody at the address of the status listener: a stranger, then a sensor.
	var l net.Listener
	if err := h.inside(func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:9854"); return err }); err != nil {
		t.Fatal(err)
	}
	go http.Serve(l, http.NotFoundHandler())
	_, found := h.doctor(`exec "$@"`, good)
	if err := lists(found, "status", "problem", "something else than a sensor"); err != nil {
		t.Error(err)
	}
	l.Close()
	h.sensor(sensorConfig(exporterServer))
	if _, found = h.doctor(`exec "$@"`, good); lists(found, "status", "fine", "is ready") != nil {
		t.Errorf("beside a sensor: %+v", found)
	}
	h.run("ip", "link", "del", "eth0")
	eventually(t, poll*200, "the doctor tells why the sensor is not ready", func() error {
		_, found := h.doctor(`exec "$@"`, good)
		return lists(found, "status", "problem", "no interface is captured")
	})

	code, stdout, stderr := call(t, exec.Command(bin(t, sensorProgram), "doctor", "-config", "/nonexistent/netmon.hcl"))
	if code != exitRuntime || !strings.Contains(stdout, "problem  config       ") || !strings.Contains(stdout, "\n                      -> mend it") || stderr != "" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

func lists(found []finding, check, level, says string) error {
	for _, f := range found {
		if f.Check == check && f.Level == level && strings.Contains(f.Found, says) {
			return nil
		}
	}
	return fmt.Errorf("no %s of %s that says %q in %+v", level, check, says, found)
}
