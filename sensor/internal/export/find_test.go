package export

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	program := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	good := program("first/netmon-exporter-good", 0o755)
	program("second/netmon-exporter-good", 0o755)
	later := program("second/netmon-exporter-later", 0o700)
	program("first/netmon-exporter-group", 0o775)
	program("first/netmon-exporter-all", 0o757)
	program("first/netmon-exporter-plain", 0o644)
	program("first/netmon-exporter-other", 0o755)
	open := program("open/plugin", 0o755)
	if err := os.Chmod(filepath.Dir(open), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(first, "netmon-exporter-dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(first, "netmon-exporter-fifo"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("netmon-exporter-all", filepath.Join(first, "netmon-exporter-link")); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct{ exporter, command, path, fault string }{
		{"good", "", good, ""},
		{"later", "", later, ""},
		{"anything", good, good, ""},
		{"absent", "", "", "no program netmon-exporter-absent in " + first + ", " + second},
		{"good", "/nowhere/at/all", "", "plugin /nowhere/at/all: no such file"},
		{"../good", "", "", "no part of a file name"},
		{"", "", "", "no part of a file name"},
		{"dir", "", "", "is a directory"},
		{"fifo", "", "", "not a regular file"},
		{"plain", "", "", "not executable"},
		{"group", "", "", "may be changed by others"},
		{"all", "", "", "may be changed by others"},
		{"link", "", "", "may be changed by others"},
		{"x", open, "", "could be replaced: " + filepath.Dir(open) + " may be changed by everybody"},
	} {
		path, err := Find(c.exporter, c.command, []string{first, second})
		switch {
		case c.fault == "" && (err != nil || path != c.path):
			t.Errorf("%s %s: %s, %v", c.exporter, c.command, path, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s %s: %v, want %s", c.exporter, c.command, err, c.fault)
		}
	}

	if os.Geteuid() != 0 {
		t.Skip("whose the file is matters to root alone")
	}
	if err := os.Chown(filepath.Join(first, "netmon-exporter-other"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := Find("other", "", []string{first}); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
		t.Errorf("another's file: %v", err)
	}
}
