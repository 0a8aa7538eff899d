package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCommand(t *testing.T) {
	for name, tt := range map[string]struct {
		role, args string
		env        map[string]string
		want       string // the command, or what the error says
		bad        bool
	}{
		"sensor":           {role: "sensor", want: "netmon-sensor -config /etc/netmon/netmon.hcl"},
		"agent":            {role: "agent", want: "netmon-sensor -config /etc/netmon/netmon.hcl"},
		"seed's name":      {role: "agent-ebpf", want: "netmon-sensor -config /etc/netmon/netmon.hcl"},
		"server":           {role: "server", want: "netmon-exporter-server -config /etc/netmon/server-memory.hcl"},
		"flags are added":  {role: "sensor", args: "-log-level warn", want: "netmon-sensor -config /etc/netmon/netmon.hcl -log-level warn"},
		"own config":       {role: "sensor", args: "--config=/x.hcl -d", want: "netmon-sensor --config=/x.hcl -d"},
		"own short config": {role: "server", args: "-c /x.hcl", want: "netmon-exporter-server -c /x.hcl"},
		"replay":           {role: "sensor", args: "-pcap /x.pcap", want: "netmon-sensor -pcap /x.pcap"},
		"version":          {role: "sensor", args: "-version", want: "netmon-sensor -version"},
		"subcommand":       {role: "sensor", args: "top -once", want: "netmon-sensor top -once"},
		"CONFIG_FILE":      {role: "server", env: map[string]string{"CONFIG_FILE": "/x.hcl"}, want: "netmon-exporter-server -config /x.hcl"},
		"DEBUG_MODE":       {role: "agent", env: map[string]string{"DEBUG_MODE": "true"}, want: "netmon-sensor -config /etc/netmon/netmon.hcl -debug"},
		"DEBUG_MODE off":   {role: "agent", env: map[string]string{"DEBUG_MODE": "false"}, want: "netmon-sensor -config /etc/netmon/netmon.hcl"},
		"STORAGE_TYPE":     {role: "server", env: map[string]string{"STORAGE_TYPE": "disk"}, want: "netmon-exporter-server -config /etc/netmon/server-disk.hcl"},

		"unknown role":    {role: "agnet", want: `role "agnet" is not sensor, agent or server`, bad: true},
		"unknown storage": {role: "server", env: map[string]string{"STORAGE_TYPE": "mysql"}, want: `STORAGE_TYPE "mysql" is not one of disk, memory, redis`, bad: true},
		"TLS asked for":   {role: "server", env: map[string]string{"ENABLE_TLS": "true"}, want: "WEB_CONFIG_FILE", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			argv, err := command(tt.role, strings.Fields(tt.args), []string{"disk", "memory", "redis"}, func(name string) string { return tt.env[name] })
			if got := strings.Join(argv, " "); !tt.bad && (got != tt.want || err != nil) {
				t.Errorf("the command is %q, %v", got, err)
			}
			if tt.bad && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestIdleVariablesAreTold(t *testing.T) {
	env := map[string]string{"RETRY_COUNT": "3", "LOG_LEVEL": "info", "BATCH_SIZE": ""}
	got := idle(func(name string) (string, bool) { value, set := env[name]; return value, set })
	if len(got) != 2 || !strings.HasPrefix(got[0], "RETRY_COUNT has no effect: ") || !strings.HasPrefix(got[1], "BATCH_SIZE ") {
		t.Errorf("told are %q", got)
	}
}

func TestPageURL(t *testing.T) {
	for _, tt := range []struct{ role, variable, value, want string }{
		{"sensor", "", "", "http://127.0.0.1:9854/-/ready"},
		{"netmon-sensor", "STATUS_LISTEN", "[::1]:1", "http://[::1]:1/-/ready"},
		{"server", "", "", "http://127.0.0.1:8081/-/ready"},
		{"netmon-exporter-server", "PROBE_LISTEN", "0.0.0.0:1", "http://127.0.0.1:1/-/ready"},
		{"http://192.0.2.1/-/healthy", "", "", "http://192.0.2.1/-/healthy"},
		{"", "", "", ""},
	} {
		got, err := pageURL(tt.role, "/-/ready", func(name string) string {
			if name == tt.variable {
				return tt.value
			}
			return ""
		})
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s with %s=%s: %q, %v", tt.role, tt.variable, tt.value, got, err)
		}
	}
}

func TestHealth(t *testing.T) {
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte("exporter push is failed\n"))
	}))
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // is not asked
	if err := health([]string{server.URL}); err != nil {
		t.Error(err)
	}
	code = http.StatusServiceUnavailable
	if err := health([]string{server.URL}); err == nil || !strings.HasSuffix(err.Error(), "exporter push is failed") {
		t.Errorf("the error is %v", err)
	}
}

func TestProgramOf(t *testing.T) {
	for cmdline, want := range map[string]string{
		"netmon-sensor\x00-config\x00x\x00":         "netmon-sensor",
		"/usr/bin/netmon-exporter-server\x00-d\x00": "netmon-exporter-server",
		"/sbin/init\x00":                            "",
		"":                                          "",
	} {
		if got := programOf([]byte(cmdline)); got != want {
			t.Errorf("%q is %q", cmdline, got)
		}
	}
}
