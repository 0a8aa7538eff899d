package importyaml

import (
	"fmt"
	"net"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// agent writes netmon.hcl.
func (c *conversion) agent() string {
	var w writer
	w.block("sensor", func() {
		w.set("id", c.text("reporter.agent_id"))
		w.set("interval", c.duration("monitor.report_interval"))
		if on, given := c.boolean("persistence.enabled"); given && !on {
			w.set("state_dir", `""`)
		} else if file := c.plain("persistence.state_file"); file != "" {
			w.set("state_dir", quote(path.Dir(file)))
		}
	})
	w.block("capture", func() {
		names := append(c.list("monitor.interfaces"), c.list("monitor.interface_config.whitelist")...)
		if one := c.text("monitor.interface"); one != "" && one != `""` {
			names = append(names, one)
		}
		w.set("interfaces", array(names))
	})
	w.block("filter", func() {
		w.set("protocols", array(c.list("monitor.protocols")))
		w.set("ignore_localhost", c.scalar("monitor.filters.ignore_localhost", yamlBool))
		w.set("ignore_ports", array(c.list("monitor.filters.ignore_ports")))
		w.set("ignore_nets", array(c.list("monitor.filters.ignore_ips")))
		w.set("only_domains", array(c.list("monitor.filters.only_domains")))
		w.set("ignore_domains", array(c.list("monitor.filters.ignore_domains")))
	})
	w.block(`exporter "push"`, func() {
		url := c.text("reporter.server_url")
		if url == "" {
			url = quote("http://localhost:8080/api/v1/metrics") // their default
		}
		on, _ := c.boolean("reporter.enable_tls")
		if on {
			url = strings.Replace(url, `"http://`, `"https://`, 1)
		}
		w.set("url", url)
		w.set("timeout", c.duration("reporter.timeout"))
		if on {
			w.block("tls", func() {
				w.set("cert_file", c.path("reporter.tls_cert_path"))
				w.set("key_file", c.path("reporter.tls_key_path"))
			})
		}
	})
	c.log(&w, false)
	return w.String()
}

// server writes server.hcl.
func (c *conversion) server() string {
	var w writer
	w.block("server", func() {
		host, port := c.plain("http.host")+c.plain("server.host"), c.plain("http.port")+c.plain("server.port")
		if port == "" {
			port = "8080"
		}
		if host == "0.0.0.0" {
			host = ""
		}
		w.set("listen", array([]string{quote(net.JoinHostPort(host, port))}))
		tls, _ := c.boolean("http.enable_tls")
		switch {
		case tls:
			w.set("web_config_file", quote("web.yml"))
			c.note("http.enable_tls", fmt.Sprintf("write this into web.yml beside server.hcl:\ntls_server_config:\n  cert_file: %s\n  key_file: %s",
				c.plain("http.tls_cert_path"), c.plain("http.tls_key_path")))
		case host != "localhost" && host != "127.0.0.1":
			w.comment("anybody who reaches this port may read and push; see docs/operations.md for TLS and logins")
			w.set("insecure", "true")
		}
		w.set("forget_after", firstOf(c.duration("storage.ttl"), c.duration("storage.retention")))
		w.set("max_rows", c.scalar("storage.max_entries", yamlInt))
		w.set("offline_after", c.duration("advanced.agent_timeout"))
		w.set("max_sensors", c.scalar("advanced.max_agents", yamlInt))
		c.storage(&w)
	})
	if p := c.plain("metrics.path"); p != "" && p != "/metrics" {
		c.note("metrics.path", "the path is /metrics; have Prometheus scrape that")
	}
	if on, given := c.boolean("metrics.enabled"); given && !on {
		c.note("metrics.enabled", "/metrics cannot be turned off; a web config file can put a login before it")
	}
	debug, _ := c.boolean("http.debug")
	c.log(&w, debug)
	return w.String()
}

func (c *conversion) storage(w *writer) {
	switch kind := c.plain("storage.type"); kind {
	case "", "memory":
		w.block(`storage "memory"`, func() {})
	case "redis":
		w.block(`storage "redis"`, func() {
			host, port := c.plain("storage.redis.host"), c.plain("storage.redis.port")
			if host == "" {
				host = "localhost"
			}
			if port == "" {
				port = "6379"
			}
			w.set("addresses", array([]string{quote(net.JoinHostPort(host, port))}))
			if c.plain("storage.redis.password") != "" {
				w.set("password", `"`+escape(c.plain("storage.redis.password"))+`"`) // nothing in it was a variable
			}
			w.set("db", c.scalar("storage.redis.db", yamlInt))
			w.set("pool_size", c.scalar("storage.redis.pool_size", yamlInt))
			w.set("timeout", c.duration("storage.redis.timeout"))
		})
	default:
		c.fail("storage.type", fmt.Sprintf("%q is neither memory nor redis", kind))
	}
}

func (c *conversion) log(w *writer, debug bool) {
	w.block("log", func() {
		level := c.text("log.level")
		if debug {
			level = quote("debug")
		}
		w.set("level", level)
		w.set("format", c.text("log.format"))
		w.set("output", c.text("log.output"))
	})
}

const (
	yamlBool = "!!bool"
	yamlInt  = "!!int"
)

// plain is the text of a scalar, "" for none.
func (c *conversion) plain(path string) string {
	n := c.values[path]
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		c.fail(path, "a single value was expected")
		return ""
	}
	if n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// text is a string as HCL, "" for none.
func (c *conversion) text(path string) string {
	if c.values[path] == nil {
		return ""
	}
	return quote(c.plain(path))
}

// path is text, or nothing for the empty path.
func (c *conversion) path(path string) string {
	if c.plain(path) == "" {
		return ""
	}
	return c.text(path)
}

// scalar is a value of one YAML type, as HCL.
func (c *conversion) scalar(path, tag string) string {
	v := c.plain(path)
	if v == "" {
		return ""
	}
	if c.values[path].Tag != tag {
		c.fail(path, fmt.Sprintf("%q is no %s", v, strings.TrimPrefix(tag, "!!")))
		return ""
	}
	return v
}

func (c *conversion) boolean(path string) (value, given bool) {
	v := c.scalar(path, yamlBool)
	return v == "true", v != ""
}

// duration is a duration as HCL. Bare numbers were nanoseconds, which nobody meant.
func (c *conversion) duration(path string) string {
	v := c.plain(path)
	if v == "" {
		return ""
	}
	if strings.HasPrefix(v, "${") {
		return quote(v)
	}
	if _, err := time.ParseDuration(v); err != nil {
		c.fail(path, fmt.Sprintf("%q is no duration such as \"10s\"", v))
	}
	return quote(v)
}

// list is the elements of a sequence as HCL.
func (c *conversion) list(path string) []string {
	n := c.values[path]
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		c.fail(path, "a list was expected")
		return nil
	}
	var out []string
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode {
			c.fail(path, "a list of single values was expected")
			return nil
		}
		if e.Tag == yamlInt {
			if _, err := strconv.ParseUint(e.Value, 10, 32); err == nil {
				out = append(out, e.Value)
				continue
			}
		}
		out = append(out, quote(e.Value))
	}
	return out
}

func array(elements []string) string {
	if elements == nil {
		return ""
	}
	return "[" + strings.Join(elements, ", ") + "]"
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// quote writes a string of YAML as an expression of HCL: ${NAME} was meant as a
// variable of the environment.
func quote(s string) string {
	if s == "${HOSTNAME}" {
		return "hostname()"
	}
	if m := variable.FindStringSubmatch(s); m != nil && m[0] == s {
		return fmt.Sprintf("env(%q)", m[1])
	}
	var b strings.Builder
	b.WriteByte('"')
	rest := s
	for rest != "" {
		at := variable.FindStringSubmatchIndex(rest)
		if at == nil {
			b.WriteString(escape(rest))
			break
		}
		b.WriteString(escape(rest[:at[0]]))
		fmt.Fprintf(&b, "${env(%q)}", rest[at[2]:at[3]])
		rest = rest[at[1]:]
	}
	b.WriteByte('"')
	return b.String()
}

// escape writes text for a quoted template of HCL.
func escape(s string) string {
	q := strconv.Quote(s)
	q = strings.NewReplacer("${", "$${", "%{", "%%{", `\x`, `\u00`, `\a`, `\u0007`, `\b`, `\u0008`, `\f`, `\u000c`, `\v`, `\u000b`).Replace(q[1 : len(q)-1])
	return q
}

// writer writes HCL. A block without options is written all the same: it says
// that the defaults hold.
type writer struct {
	out    strings.Builder
	indent int
}

func (w *writer) String() string { return w.out.String() }

func (w *writer) line(format string, args ...any) {
	w.out.WriteString(strings.Repeat("  ", w.indent))
	fmt.Fprintf(&w.out, format+"\n", args...)
}

// block writes a block and, inside it, what body writes.
func (w *writer) block(head string, body func()) {
	if w.indent == 0 && w.out.Len() > 0 {
		w.out.WriteByte('\n')
	}
	w.line("%s {", head)
	w.indent++
	body()
	w.indent--
	w.line("}")
}

// set writes an option, nothing where there is no value.
func (w *writer) set(name, value string) {
	if value != "" {
		w.line("%s = %s", name, value)
	}
}

func (w *writer) comment(text string) { w.line("# %s", text) }
