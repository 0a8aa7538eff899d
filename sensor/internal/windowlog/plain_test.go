package windowlog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlantedLinks puts links where a log has its files. They are refused in words,
// and what they lead to is neither made nor changed.
func TestPlantedLinks(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for _, name := range []string{fileName, lockName} {
		dir, target := fastDir(t), filepath.Join(outside, "made by "+name)
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(DiskOptions{Dir: dir, SensorID: "host"}); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was followed: %v", name, err)
		}
	}
	if os.Geteuid() != 0 {
		return // others may only spoil what is theirs
	}
	for _, name := range []string{fileName, lockName} {
		dir := fastDir(t)
		target := filepath.Join(dir, "a file of root's")
		if err := errors.Join(os.WriteFile(target, nil, 0o600), os.Link(target, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(DiskOptions{Dir: dir, SensorID: "host"}); err == nil || !strings.Contains(err.Error(), "hard link") {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(target); err != nil || len(text) > 0 {
			t.Errorf("%s: the file behind it has %d bytes: %v", name, len(text), err)
		}
	}
}
