package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAPIExamples runs the commands of docs/api.md, block by block, against a
// server that listens elsewhere and wants a token.
func TestAPIExamples(t *testing.T) {
	tool(t, "curl")
	bash := tool(t, "bash")
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	e, bound := begin(t, "", func(c *Config) {
		c.Reload = true
		c.Auth.Tokens = []Token{{Sensors: "*", Secret: writeToken, Allow: []string{"read", "push", "write"}}}
	})
	window := oneOfEach()
	window.SensorId = "web-1"
	mustTake(t, e.running.service, windowRequest(window))
	_, port, err := net.SplitHostPort(bound[0])
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	settings := fmt.Sprintf("fail-with-body\nsilent\nshow-error\nmax-time = 20\nnoproxy = \"*\"\nconnect-to = \"localhost:8080:127.0.0.1:%s\"\nheader = \"Authorization: Bearer %s\"\n", port, writeToken)
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	blocks := strings.Split(string(text), "```sh\n")[1:]
	var answers string
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		c := exec.CommandContext(ctx, bash, "-e", "-c", block)
		c.Env = append(os.Environ(), "HOME="+home, "CURL_HOME="+home, "TOKEN="+writeToken)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s%s", err, block, out)
		}
		answers += string(out)
	}
	for _, want := range []string{
		`"agents":[{"id":"web-1"`, `"named_ratio":`, `"storage":"memory"`, `"domain":"www.example.com"`, `"places":[{"host":"web-1"`,
		`"addresses":[`, `"resolver":"192.0.2.53"`, `"resolution_seconds":10`, "event: digest", `"status":"deleted"`, `"status":"reloaded"`,
		`"applied":true`, `"known":false`,
	} {
		if !strings.Contains(answers, want) {
			t.Errorf("the answers lack %s", want)
		}
	}
	if t.Failed() {
		t.Log(answers)
	}
}
