package config

import (
	"strings"
	"testing"

	"github.com/netmon-sensor/netmon/plugins"
)

// TestPrint reads what Print wrote, and prints the same again.
func TestPrint(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("NETMON_TEST_SECRET", "canary-0123456789")
	printed := func(name, text string) (string, *Config) {
		t.Helper()
		c, _, err := Load(write(t, dir, name, text))
		if err != nil {
			t.Fatal(err)
		}
		evaluated := map[string]Evaluated{}
		for _, e := range c.Exporters {
			if !e.Enabled {
				continue
			}
			schema, err := plugins.Schema(exporterOptions(e.Type))
			if err != nil {
				t.Fatal(err)
			}
			body, err := e.Evaluate(schema)
			if err != nil {
				t.Fatal(err)
			}
			evaluated[e.Label()] = Evaluated{schema, body}
		}
		out, err := c.Print(evaluated)
		if err != nil {
			t.Fatal(err)
		}
		return string(out), c
	}
	first, c := printed("first.hcl", `
locals {
  port = 8080
}
sensor {
  id       = "a\"b $${x} %%{y}"
  interval = "1500ms"
}
filter {
  ignore_ports = [22, "6000-6010"]
  ignore_nets  = ["192.0.2.0/24"]
}
exporter "server" {
  env     = { TOKEN = env("NETMON_TEST_SECRET"), EMPTY = "" }
  listen  = ["127.0.0.1:${local.port}"]
  storage "memory" {}
}
exporter "push" "second" {
  url = "http://192.0.2.1/api/v1/metrics"
  auth {
    password = env("NETMON_TEST_SECRET")
  }
}
exporter "push" {
  enabled = false
}
`)
	if strings.Contains(first, "canary") || strings.Count(first, `"***"`) != 3 {
		t.Errorf("secrets are not masked:\n%s", first)
	}
	for _, part := range []string{
		`"127.0.0.1:8080"`, `storage "memory" {`, `exporter "push" "second" {`, `max_rows     = 10000`, `interval      = "1.5s"`, "enabled  = false",
	} {
		if !strings.Contains(first, part) {
			t.Errorf("no %s in\n%s", part, first)
		}
	}
	second, again := printed("second.hcl", first)
	if second != first {
		t.Errorf("printed\n%s\nthen\n%s", first, second)
	}
	if changed, err := c.Changed(again); changed != nil || err != nil {
		t.Errorf("it means something else: %v, %v", changed, err)
	}
}
