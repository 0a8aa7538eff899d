// Package importyaml turns the configuration files of go-net-monitoring, agent.yaml
// and server.yaml, into the HCL of netmon. Every key that its releases knew has a
// place here: an option that it becomes, or a note that says why there is none.
package importyaml

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxSize bounds a file; a configuration is a few kilobytes.
const maxSize = 1 << 20

// Result is a converted file.
type Result struct {
	Kind  string   // "agent" or "server"
	HCL   string   // netmon.hcl of an agent, server.hcl of a server
	Notes []string // what has no option of its own, "line 12: monitor.buffer_size: ..."
}

// Convert reads one file; name is for messages. The error lists every key that is
// not known and every value that does not fit, each with its line.
func Convert(name string, text []byte) (*Result, error) {
	if len(text) > maxSize {
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxSize)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: this is no configuration: a mapping of keys was expected", name)
	}
	c := &conversion{name: name, values: map[string]*yaml.Node{}}
	c.flatten("", document.Content[0], 0)
	kind, keys := c.kind()
	if kind == "" {
		return nil, fmt.Errorf("%s: neither an agent's file (monitor, reporter) nor a server's (http, storage)", name)
	}
	for _, path := range c.order {
		k, known := keys[path]
		switch {
		case !known:
			c.fail(path, "no release of go-net-monitoring knows this key")
		case k.note != "":
			c.note(path, k.note)
		}
	}
	r := &Result{Kind: kind}
	if kind == "agent" {
		r.HCL = c.agent()
	} else {
		r.HCL = c.server()
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	r.Notes = c.notes
	return r, nil
}

// conversion is one file on its way.
type conversion struct {
	name   string
	values map[string]*yaml.Node // by dotted path: scalars and lists
	order  []string              // of the paths in the file
	notes  []string
	errs   []error
}

// maxDepth is more than any of these files nests.
const maxDepth = 16

// flatten lists the scalars and lists below n.
func (c *conversion) flatten(prefix string, n *yaml.Node, depth int) {
	if n.Kind == yaml.AliasNode || depth > maxDepth {
		c.errs = append(c.errs, fmt.Errorf("%s:%d: %s: aliases and deep nesting are not read", c.name, n.Line, prefix))
		return
	}
	if n.Kind != yaml.MappingNode {
		c.values[prefix] = n
		c.order = append(c.order, prefix)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		path := n.Content[i].Value
		if prefix != "" {
			path = prefix + "." + path
		}
		c.flatten(path, n.Content[i+1], depth+1)
	}
}

// kind tells whose file this is.
func (c *conversion) kind() (string, map[string]key) {
	has := func(prefixes ...string) bool {
		for _, path := range c.order {
			for _, p := range prefixes {
				if path == p || strings.HasPrefix(path, p+".") {
					return true
				}
			}
		}
		return false
	}
	switch {
	case has("monitor", "reporter"):
		return "agent", agentKeys
	case has("http", "storage"):
		return "server", serverKeys
	}
	return "", nil
}

func (c *conversion) note(path, text string) {
	c.notes = append(c.notes, fmt.Sprintf("line %d: %s: %s", c.values[path].Line, path, text))
}

func (c *conversion) fail(path, text string) {
	n := c.values[path]
	c.errs = append(c.errs, fmt.Errorf("%s:%d:%d: %s: %s", c.name, n.Line, n.Column, path, text))
}

// A key is a key of the old files.
type key struct {
	note string // why it has no option; "": it has one
}

var mapped = key{}

func because(note string) key { return key{note} }

const (
	neverCopied = "not needed: packets are captured in the kernel's ring and no program is loaded"
	alwaysSafe  = "not needed: every window has a number and counts once, also across restarts"
)

var agentKeys = map[string]key{
	"server.host":                        because("not needed: reporter.server_url says where the server is"),
	"server.port":                        because("not needed: reporter.server_url says where the server is"),
	"monitor.interface":                  mapped,
	"monitor.interfaces":                 mapped,
	"monitor.protocols":                  mapped,
	"monitor.report_interval":            mapped,
	"monitor.buffer_size":                because("counted packets in a queue; the ring is measured in bytes: capture { ring_memory } keeps its default"),
	"monitor.filters.ignore_localhost":   mapped,
	"monitor.filters.ignore_ports":       mapped,
	"monitor.filters.ignore_ips":         mapped,
	"monitor.filters.only_domains":       mapped,
	"monitor.filters.ignore_domains":     mapped,
	"persistence.enabled":                mapped,
	"persistence.state_file":             mapped,
	"persistence.save_interval":          because(alwaysSafe),
	"persistence.backup_count":           because(alwaysSafe),
	"ebpf.program_path":                  because(neverCopied),
	"ebpf.fallback_paths":                because(neverCopied),
	"ebpf.enable_fallback":               because("not kept: there is no mode that makes numbers up"),
	"reporter.server_url":                mapped,
	"reporter.timeout":                   mapped,
	"reporter.retry_count":               because("not needed: a window is sent until the server has it"),
	"reporter.retry_delay":               because("not needed: pauses grow from a quarter of a second to half a minute, at random"),
	"reporter.batch_size":                because("not needed: a window is one request"),
	"reporter.enable_tls":                mapped,
	"reporter.tls_cert_path":             mapped,
	"reporter.tls_key_path":              mapped,
	"reporter.mode":                      because(alwaysSafe),
	"reporter.include_totals":            because(alwaysSafe),
	"reporter.agent_id":                  mapped,
	"log.level":                          mapped,
	"log.format":                         mapped,
	"log.output":                         mapped,
	"monitor.interface_config.whitelist": mapped,
}

var serverKeys = map[string]key{
	"http.host":                       mapped,
	"http.port":                       mapped,
	"server.host":                     mapped,
	"server.port":                     mapped,
	"http.read_timeout":               because("not needed: requests have fixed deadlines"),
	"http.write_timeout":              because("not needed: answers have fixed deadlines"),
	"http.enable_tls":                 mapped,
	"http.tls_cert_path":              mapped,
	"http.tls_key_path":               mapped,
	"http.debug":                      mapped,
	"metrics.path":                    mapped,
	"metrics.enabled":                 mapped,
	"metrics.interval":                because("not needed: a scrape shows what was counted at that moment"),
	"storage.type":                    mapped,
	"storage.ttl":                     mapped,
	"storage.retention":               mapped,
	"storage.max_entries":             mapped,
	"storage.redis.host":              mapped,
	"storage.redis.port":              mapped,
	"storage.redis.password":          mapped,
	"storage.redis.db":                mapped,
	"storage.redis.pool_size":         mapped,
	"storage.redis.timeout":           mapped,
	"storage.cumulative_mode":         because(alwaysSafe),
	"storage.baseline_tracking":       because(alwaysSafe),
	"storage.agent_restart_detection": because(alwaysSafe),
	"advanced.agent_timeout":          mapped,
	"advanced.cleanup_interval":       because("not needed: silent sensors are looked for all the time"),
	"advanced.max_agents":             mapped,
	"log.level":                       mapped,
	"log.format":                      mapped,
	"log.output":                      mapped,
}
