package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A codeBlock is what stands between two fences of a page.
type codeBlock struct {
	page, language, text string
	line                 int    // of the opening fence, from 1
	notRun               string // the reason, where a comment right before it says so
}

var (
	fence = regexp.MustCompile("(?ms)^```(\\w*)\\n(.*?)^```$")
	// notRun marks a block of commands that no test runs: <!-- not run: why -->
	notRun = regexp.MustCompile(`<!-- not run: ([^>]+) -->\n\n?$`)
)

func codeBlocks(page string) (blocks []codeBlock) {
	for _, at := range fence.FindAllStringSubmatchIndex(page, -1) {
		b := codeBlock{language: page[at[2]:at[3]], text: page[at[4]:at[5]], line: strings.Count(page[:at[0]], "\n") + 1}
		if m := notRun.FindStringSubmatch(page[:at[0]]); m != nil {
			b.notRun = m[1]
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// elsewhere says which file of tests runs the commands of a page, all of them.
var elsewhere = map[string]string{
	"docs/api.md": "exporters/server/docs_test.go",
}

// services are commands that do not end, by a part of them: here they are waited for
// at this address.
var services = map[string]string{
	"netmon-exporter-server -config examples/server.hcl\n": "http://127.0.0.1:8080/-/ready",
	"sudo bin/netmon-sensor -config netmon.hcl\n":          "http://127.0.0.1:8080/-/ready",
}

// TestBlocks runs the blocks of every page: configurations are checked, queries
// parsed, Go is compiled and commands are run at the top of a copy of the repository,
// beside a sensor that watches them. What no test can run is marked in the page with
// the reason, and nothing else is left out.
func TestBlocks(t *testing.T) {
	t.Parallel()
	needTools(t, "curl", "promtool", "setcap")
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	makefile := readPage(t, "Makefile")
	target := regexp.MustCompile(`(?m)^\s*(?:sudo )?make ([a-z-]+)`)
	var blocks []codeBlock
	for _, pattern := range []string{"*.md", "docs/*.md", "bench/*.md", "deploy/*/*.md", "examples/*/*.md"} {
		pages, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			name, _ := filepath.Rel(root, page)
			if name == "README.zh-CN.md" { // its blocks are those of README.md
				continue
			}
			for _, b := range codeBlocks(readPage(t, name)) {
				b.page = name
				blocks = append(blocks, b)
			}
		}
	}
	if len(blocks) < 30 {
		t.Fatalf("only %d blocks were found", len(blocks))
	}
	place := newPlace(t, root)
	host := newHost(t)
	host.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "bond0") // a mirror port
	watched := place.watch(t)
	for _, b := range blocks {
		for _, m := range target.FindAllStringSubmatch(b.text, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s:%d: the Makefile has no target %s", b.page, b.line, m[1])
			}
		}
		if b.notRun != "" {
			continue
		}
		if file := elsewhere[b.page]; file != "" && b.language == "sh" {
			if !strings.Contains(readPage(t, file), b.page) {
				t.Errorf("%s does not run %s", file, b.page)
			}
			continue
		}
		t.Run(fmt.Sprintf("%s:%d", b.page, b.line), func(t *testing.T) {
			switch b.language {
			case "":
				if regexp.MustCompile(`(?m)^\$ `).MatchString(b.text) {
					t.Error("commands and what they print are a block of console")
				}
			case "hcl":
				place.checkConfig(t, host, b.text)
			case "promql":
				rule := "groups:\n- name: block\n  rules:\n  - record: block\n    expr: |\n      " + strings.ReplaceAll(b.text, "\n", "\n      ")
				if out, err := host.command("promtool", "check", "rules", writeFile(t, "rule.yml", rule)).CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			case "go":
				cmd := exec.Command("go", "vet", writeFile(t, "main.go", b.text))
				cmd.Dir = root
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			case "console":
				for _, m := range regexp.MustCompile(`(?m)^\$ (.*)`).FindAllStringSubmatch(b.text, -1) {
					if name := stranger(m[1]); name != "" {
						t.Fatalf("nothing here runs %s; mark the block: <!-- not run: why -->", name)
					}
				}
				place.compare(t, host, b.text)
			case "sh":
				// Before anything runs: a page may tell of what changes the machine.
				if name := stranger(b.text); name != "" {
					t.Fatalf("nothing here runs %s; mark the block: <!-- not run: why -->", name)
				}
				for part, url := range services {
					if strings.Contains(b.text, part) {
						place.serve(t, b.text, url)
						return
					}
				}
				out, err := place.command(watched, b.text).CombinedOutput()
				if err != nil {
					t.Errorf("%v\n%s\n%s", err, b.text, tail(string(out)))
				}
			default:
				t.Errorf("nobody runs a block of %q; mark it: <!-- not run: why -->", b.language)
			}
		})
	}
}

// stranger is the first command of a script that a test may not run as it is.
func stranger(script string) string {
	script = strings.ReplaceAll(script, "\\\n", " ")
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(line+" ", " #")
		for _, command := range regexp.MustCompile(`\||;|&&`).Split(line, -1) {
			words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(command), "sudo "))
			if len(words) > 0 && (!harmless[filepath.Base(words[0])] || hidden.MatchString(command)) {
				return words[0]
			}
		}
	}
	return ""
}

// hidden is a command in another, in the background, or a file outside of the place.
var hidden = regexp.MustCompile("[$][(]|`|<[(]|[^>]&|> *[/~.]")

var harmless = map[string]bool{
	sensorProgram: true, serverProgram: true, "curl": true, "grep": true, "head": true, "jq": true, "promtool": true, "setcap": true,
}

// TestStranger: only what cannot change this machine is run.
func TestStranger(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"curl -s localhost:8080/metrics | grep a # and dpkg": "",
		"sudo bin/netmon-sensor -config a.hcl":               "",
		"curl a |\n  sh":                                     "sh",
		"make packages\nsudo dpkg -i a.deb":                  "make",
		"sudo dpkg -i a.deb":                                 "dpkg",
		"curl a && rm -rf b":                                 "rm",
		"curl a; useradd b":                                  "useradd",
		"A=b curl c":                                         "A=b",
		"kill -HUP $(pidof -s netmon-sensor)":                "kill",
		"curl \\\n  a":                                       "",
		"curl $(id)":                                         "curl",
		"grep `id` a":                                        "grep",
		"netmon-sensor import-yaml agent.yaml > /etc/netmon.hcl": "netmon-sensor",
	} {
		if got := stranger(script); got != want {
			t.Errorf("%q: %q, want %q", script, got, want)
		}
	}
}

// TestChineseReadme wants the same blocks, links and pictures in both.
func TestChineseReadme(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)]+)\)`)
	parts := func(page string) (blocks, links []string) {
		text := readPage(t, page)
		for _, b := range codeBlocks(text) {
			blocks = append(blocks, fmt.Sprintf("%s (not run: %s)\n%s", b.language, b.notRun, b.text))
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if !strings.HasPrefix(m[1], "README") {
				links = append(links, m[1])
			}
		}
		return blocks, links
	}
	blocks, links := parts("README.md")
	theirs, their := parts("README.zh-CN.md")
	if diff := cmp.Diff(blocks, theirs); diff != "" {
		t.Errorf("blocks differ:\n%s", diff)
	}
	slices.Sort(links)
	slices.Sort(their)
	if diff := cmp.Diff(links, their); diff != "" {
		t.Errorf("links differ:\n%s", diff)
	}
	if lines := strings.Count(readPage(t, "README.md"), "\n"); lines > 150 {
		t.Errorf("README.md has %d lines; nobody reads more than 150", lines)
	}
}

// A place is a folder with what is at the top of the repository, programs of the test
// in bin/, and the files that pages speak of.
type place struct{ dir string }

func newPlace(t *testing.T, root string) place {
	t.Helper()
	p := place{tempDir(t)}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "bin" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := os.Symlink(filepath.Join(root, e.Name()), filepath.Join(p.dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	programs, err := filepath.Glob(filepath.Join(filepath.Dir(bin(t, sensorProgram)), "*"))
	if err != nil {
		t.Fatal(err)
	}
	keys := authority(t, "192.0.2.1")
	files := map[string]string{
		"netmon.hcl":    readPage(t, "netmon.hcl"),
		"sudo":          "#!/bin/sh\nexec \"$@\"\n", // the test is root
		"bad.hcl":       "exporter \"server\" {\n  listn = [\"127.0.0.1:8080\"]\n}\n",
		"web.yml":       readPage(t, "examples/prometheus/web-tls.yml"),
		"tokens":        "web-1 0123456789abcdef0123456789abcdef push\n",
		"push-password": "secret\n",
		"agent.yaml":    readPage(t, "sensor/internal/importyaml/testdata/agent.yaml"),
		"server.yaml":   readPage(t, "sensor/internal/importyaml/testdata/server.yaml"),
	}
	copies := map[string]string{
		"FILE.pcap": stroll().save(t), "ca.pem": filepath.Join(keys, "ca.pem"), "server.pem": filepath.Join(keys, "cert.pem"),
		"server-key.pem": filepath.Join(keys, "key.pem"), "client.pem": filepath.Join(keys, "cert.pem"), "client.key": filepath.Join(keys, "key.pem"),
	}
	for _, program := range programs {
		copies["bin/"+filepath.Base(program)] = program
	}
	for name, from := range copies {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	for name, text := range files {
		path := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// command is a script in a namespace, at the place. What it writes below /var/lib is
// its own, and the programs are on its path.
func (p place) command(h *host, script string) *exec.Cmd {
	cmd := h.command("bash", "-e", "-o", "pipefail", "-c", "mount -t tmpfs tmpfs /var/lib\n"+script)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "PATH="+p.dir+":"+filepath.Join(p.dir, "bin")+":"+os.Getenv("PATH"), "NETMON_TOKEN=0123456789abcdef")
	return cmd
}

// watch starts a sensor with the repository's configuration that watches its loopback,
// with an interface where its default route goes.
func (p place) watch(t *testing.T) *host {
	t.Helper()
	h := p.routed(t)
	config := strings.NewReplacer("interfaces    = []", `interfaces = ["lo"]`, "ignore_localhost = true", "ignore_localhost = false",
		"reload   = false", "reload = true", `interval = "5s"`, `interval = "1s"`).Replace(readPage(t, "netmon.hcl"))
	path := writeFile(t, "watch.hcl", config)
	sensor := start(t, "sensor", p.command(h, "exec netmon-sensor -config "+path))
	h.ready(sensor)
	eventually(t, 20*time.Second, "the sensor shows names", func() error {
		text, err := h.get(localMetrics)
		if err == nil {
			err = containsAll(text, "network_domain_bytes_received_total{")
		}
		return err
	})
	return h
}

// routed is a host with a default route, which goes nowhere.
func (p place) routed(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.script("ip link add eth0 type veth peer name wire; ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.1")
	return h
}

// checkConfig has the program that would read a configuration check it.
func (p place) checkConfig(t *testing.T, h *host, text string) {
	t.Helper()
	program := sensorProgram
	if regexp.MustCompile(`(?m)^server \{`).MatchString(text) {
		program = serverProgram
	}
	file, err := os.CreateTemp(p.dir, "block*.hcl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if out, err := p.command(h, program+" -check-config -config "+file.Name()).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, text, out)
	}
}

// compare runs what follows a $ and wants to see the rest.
func (p place) compare(t *testing.T, h *host, text string) {
	t.Helper()
	for part := range strings.SplitSeq("\n"+text, "\n$ ") {
		command, want, _ := strings.Cut(part, "\n")
		if command == "" {
			continue
		}
		out, err := p.command(h, command).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if strings.TrimSpace(string(out)) != strings.TrimSpace(want) {
			t.Errorf("%s\nprints\n%s", command, out)
		}
	}
}

// serve runs commands the last of which does not end, in a namespace of their own,
// until something answers; then it ends them as a user would.
func (p place) serve(t *testing.T, script, url string) {
	t.Helper()
	h := p.routed(t)
	program := start(t, "block", p.command(h, script))
	eventually(t, 20*time.Second, url+" answers", func() error {
		if err := program.alive(); err != nil {
			t.Fatal(err)
		}
		_, err := h.get(url)
		return err
	})
	if err := syscall.Kill(-program.pid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	program.wait(20 * time.Second)
}
