package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEnvironment shows for every variable that it reaches its option: a value
// that cannot be is refused, and the message names the option.
func TestEnvironment(t *testing.T) {
	needTools(t, "unshare")
	makeOnce(t, "image-root")
	// A namespace with loopback alone, so that a missing route is no difference
	// between machines.
	if out, err := exec.Command("unshare", "-rn", "true").CombinedOutput(); err != nil {
		missing(t, "needs `unshare -rn`: "+string(out))
	}
	root := filepath.Join(top(t), "bin/image")
	check := func(program, config string, env ...string) (string, int) {
		cmd := exec.Command("unshare", "-rn", filepath.Join(root, program), "-check-config", "-config", filepath.Join(root, "etc/netmon", config))
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
		out, err := cmd.CombinedOutput()
		return string(out), exitCode(err)
	}
	servers, err := filepath.Glob(root + "/etc/netmon/server-*.hcl")
	if err != nil || len(servers) == 0 {
		t.Fatalf("no configuration of a server: %v", err)
	}
	both := map[string][]string{
		"LOG_LEVEL=loud": {"level"}, "LOG_FORMAT=xml": {"format"},
	}
	sensor := map[string][]string{
		"NETWORK_INTERFACE=nope0": {"nope0"}, "INTERFACE=nope0": {"nope0"}, "NETWORK_INTERFACE=lo,nope0": {"nope0"},
		"REPORT_INTERVAL=5": {"interval"}, "BUFFER_SIZE=many": {"ring_memory"}, "RING_MEMORY=5": {"ring_memory"},
		"IGNORE_LOCALHOST=maybe": {"ignore_localhost"}, "SERVER_URL=ftp://a": {"url"},
		"SERVER_HOST=a b": {"url"}, "AGENT_SERVER_HOST=a b": {"url"}, "SERVER_PORT=x": {"url"}, "AGENT_SERVER_PORT=x": {"url"},
		"REPORTER_TIMEOUT=5": {"timeout"}, "AGENT_LOG_LEVEL=loud": {"level"}, "STATUS_LISTEN=nowhere": {"listen"},
		"LOG_OUTPUT=/nonexistent/log": {"/nonexistent/log"}, "NODE_NAME=a\nb": {"id"}, "HOSTNAME=a\nb": {"id"},
	}
	server := map[string][]string{
		"SERVER_HOST=a b": {"listen"}, "SERVER_HTTP_HOST=a b": {"listen"}, "SERVER_PORT=x": {"listen"}, "SERVER_HTTP_PORT=x": {"listen"},
		"PROBE_LISTEN=nowhere": {"probe_listen"}, "WEB_CONFIG_FILE=/nonexistent/web.yml": {"web_config_file"},
		"STORAGE_MAX_ENTRIES=1": {"max_rows"}, "STORAGE_RETENTION=24": {"forget_after"}, "STORAGE_TTL=24": {"forget_after"},
		"SERVER_LOG_LEVEL=loud": {"level"}, "INSECURE=maybe": {"insecure"}, "INSECURE=false": {"without TLS"},
	}
	stores := map[string]map[string][]string{"server-redis.hcl": {
		"REDIS_HOST=a b": {"addresses"}, "REDIS_PORT=x": {"addresses"}, "REDIS_ADDRESSES=nowhere": {"addresses"},
		"REDIS_MODE=many": {"mode"}, "REDIS_MASTER_NAME=m": {"master_name"}, "REDIS_DB=-1": {"db"},
		"REDIS_POOL_SIZE=0": {"pool_size"}, "REDIS_TIMEOUT=5": {"timeout"}, "REDIS_KEY_PREFIX=": {"key_prefix"},
	}}
	type program struct {
		name, config string
		env          []string // that makes it start
		refuses      []map[string][]string
	}
	programs := []program{{"netmon-sensor", "netmon.hcl", []string{"NETWORK_INTERFACE=lo"}, []map[string][]string{both, sensor}}}
	for _, file := range servers {
		programs = append(programs, program{"netmon-exporter-server", filepath.Base(file), nil, []map[string][]string{both, server, stores[filepath.Base(file)]}})
	}
	for _, p := range programs {
		t.Run(p.config, func(t *testing.T) {
			if out, code := check(p.name, p.config, append(p.env, "LOG_LEVEL=WARNING")...); code != 0 {
				t.Fatalf("without a mistake: exit code %d, %s", code, out)
			}
			for _, refused := range p.refuses {
				for variable, says := range refused {
					env := append(p.env, variable)
					if name, _, _ := strings.Cut(variable, "="); name == "INTERFACE" {
						env = []string{variable}
					}
					out, code := check(p.name, p.config, env...)
					if code == 0 {
						t.Errorf("%s is taken", variable)
					}
					for _, word := range says {
						if !strings.Contains(out, word) {
							t.Errorf("%s: nothing says %q:\n%s", variable, word, out)
						}
					}
				}
			}
		})
	}
}
