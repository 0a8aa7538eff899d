package confine

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOwn gives a directory that another user may write to a third one. What root made
// in it changes hands; what that user put there leads to nothing of root's.
func TestOwn(t *testing.T) {
	const planter, heir = 4711, 4712
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	make := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	owner := func(path string) int {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Sys().(*syscall.Stat_t).Uid)
	}
	make(outside)
	if err := os.Chown(dir, planter, planter); err != nil {
		const what = "needs root, to make files of others"
		if os.Getenv("NETMON_REQUIRE_NET") == "1" {
			t.Fatalf("%s: %v", what, err)
		}
		t.Skipf("%s: %v", what, err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	make(in("log.db"))
	make(in("theirs"))
	if err := os.Mkdir(in("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	make(in("folder/file"))
	for _, err := range []error{
		os.Chown(in("theirs"), planter, planter), os.Symlink(outside, in("link")), os.Symlink(filepath.Dir(outside), in("folder link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := Own(dir, heir, heir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		dir: planter, in("log.db"): heir, in("folder"): heir, in("folder/file"): heir,
		in("theirs"): planter, outside: 0, filepath.Dir(outside): 0,
	} {
		if got := owner(path); got != want {
			t.Errorf("%s belongs to %d, want %d", path, got, want)
		}
	}
	// Where the kernel lets them, they link root's file itself.
	if err := os.Link(outside, in("planted")); err != nil {
		t.Fatal(err)
	}
	if err := Own(dir, heir, heir); err == nil || !strings.Contains(err.Error(), "planted is a hard link") {
		t.Errorf("a hard link: %v", err)
	}
	if got := owner(outside); got != 0 {
		t.Errorf("the file behind a hard link belongs to %d", got)
	}
}
