package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestUnits has systemd read the units and say how much they leave open: 0 is
// nothing, 10 everything.
func TestUnits(t *testing.T) {
	needTools(t, "systemd-analyze")
	exposure := regexp.MustCompile(`Overall exposure level for \S+: (\d+\.\d+)`)
	for name, unit := range map[string]struct{ file, dropIn string }{
		"sensor":                    {file: "netmon-sensor.service"},
		"server":                    {file: "netmon-server.service"},
		"sensor with other plugins": {"netmon-sensor.service", "plugins-user.conf"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			text, err := os.ReadFile(filepath.Join("systemd", unit.file))
			if err != nil {
				t.Fatal(err)
			}
			// systemd looks for the program that it will run.
			bin := filepath.Join(dir, "program")
			text = regexp.MustCompile(`ExecStart=\S+`).ReplaceAll(text, []byte("ExecStart="+bin))
			text = regexp.MustCompile(`(?m)^Documentation=.*$`).ReplaceAll(text, nil)
			for file, text := range map[string][]byte{bin: []byte("#!/bin/true\n"), filepath.Join(dir, unit.file): text} {
				if err := os.WriteFile(file, text, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if unit.dropIn != "" {
				text, err := os.ReadFile(filepath.Join("systemd", unit.dropIn))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(filepath.Join(dir, unit.file+".d"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, unit.file+".d", unit.dropIn), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out := run(t, "systemd-analyze", "security", "--offline=true", filepath.Join(dir, unit.file))
			found := exposure.FindStringSubmatch(out)
			if found == nil {
				t.Fatalf("no figure in %s", tail(out, 500))
			}
			if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > 2.5 {
				t.Errorf("exposure %s, want 2.5 or less", found[1])
			}
			t.Log("exposure", found[1])
			// Unknown settings are told, and do not make it fail.
			if told := run(t, "sh", "-c", `systemd-analyze verify --recursive-errors=no "$1" 2>&1`, "sh", filepath.Join(dir, unit.file)); strings.Contains(told, unit.file+":") {
				t.Errorf("systemd says %s", told)
			}
		})
	}
}
