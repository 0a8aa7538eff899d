package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestReplay(t *testing.T) {
	path := stroll().save(t)
	code, stdout, stderr := replay(t, path)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	r := parseReplay(t, stdout)
	connections := map[string]float64{}
	for _, d := range r.Domains {
		connections[d.Name] = d.Connections
	}
	if fmt.Sprint(connections) != "map[a.example:4 b.example:2]" || r.Totals.Frames != 36 || r.Totals.Connections != 6 {
		t.Errorf("domains %v, totals %+v", connections, r.Totals)
	}
	sum := r.Unattributed.BytesSent + r.Unattributed.BytesReceived
	for _, d := range r.Domains {
		sum += d.BytesSent + d.BytesReceived
	}
	if sum != r.Totals.IPBytes || sum == 0 {
		t.Errorf("domains have %v bytes, all %v", sum, r.Totals.IPBytes)
	}
}

// TestReplayOfBadFiles is DEFINITIONS 8 for files that are damaged, or no
// capture, or one of something else than packets.
func TestReplayOfBadFiles(t *testing.T) {
	whole := stroll()
	cut := newRecording(linkEthernet)
	cut.Reset()
	cut.Write(whole.Bytes()[:whole.Len()-30])
	usb := newRecording(linkUSB)
	usb.frame(make([]byte, 64))
	usb.frame(make([]byte, 80))

	tests := map[string]struct {
		path   string
		codes  []int
		frames int // of the totals; -1: nothing on standard output
		says   string
	}{
		"no capture":  {writeFile(t, "text.pcap", strings.Repeat("This is no capture. ", 100)), []int{1, 2}, -1, "text.pcap"},
		"empty":       {writeFile(t, "empty.pcap", ""), []int{1, 2}, -1, "empty.pcap"},
		"half header": {writeFile(t, "half.pcap", string(whole.Bytes()[:10])), []int{1, 2}, -1, "half.pcap"},
		"missing":     {"/nonexistent/x.pcap", []int{1, 2}, -1, "/nonexistent/x.pcap"},
		"folder":      {os.TempDir(), []int{1, 2}, -1, os.TempDir()},
		"cut off":     {cut.save(t), []int{0}, 35, "damaged"},
		"no frames":   {newRecording(linkEthernet).save(t), []int{0}, 0, ""},
		"link type":   {usb.save(t), []int{0}, 2, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := replay(t, test.path)
			if !oneOf(code, test.codes) {
				t.Errorf("exit code %d, want one of %d: %s", code, test.codes, stderr)
			}
			if err := containsAll(stderr, test.says); err != nil {
				t.Error(err)
			}
			if test.frames < 0 {
				if stdout != "" {
					t.Errorf("printed %q", stdout)
				}
				return
			}
			if r := parseReplay(t, stdout); r.Totals.Frames != test.frames {
				t.Errorf("%d frames, want %d", r.Totals.Frames, test.frames)
			}
		})
	}
}

// TestReplayIntoExporter replays a file with a config: the windows go to its
// exporters, here a push to a standalone server, and the JSON is printed all
// the same.
func TestReplayIntoExporter(t *testing.T) {
	t.Parallel()
	w := &town{t: t, client: newHost(t), web: newHost(t)}
	w.client.wire("mgmt", "203.0.113.1/24", w.web, "mgmt", mgmtAddress+"/24")
	c := newCenter(w)
	config := writeFile(t, "netmon.hcl", "sensor {\n  id = \"lab\"\n  interval = \"100ms\"\n}\n"+exporterServer+c.push())
	cmd := w.client.command(bin(t, sensorProgram), "-pcap", stroll().save(t), "-config", config)
	code, stdout, stderr := call(t, cmd)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if r := parseReplay(t, stdout); r.Totals.Connections != 6 {
		t.Errorf("totals %+v", r.Totals)
	}
	s, err := c.scrape()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.by("network_domain_connections_total", "domain")); got != "map[a.example:4 b.example:2]" {
		t.Errorf("the server has connections %s", got)
	}
	if err := containsAll(stderr, "127.0.0.1:8080"); err != nil {
		t.Errorf("the exporter server did not run: %v", err)
	}
}
