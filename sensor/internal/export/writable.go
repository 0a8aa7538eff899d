package export

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Writable says who besides us could change the file at path or put another in its
// place; nil for nobody. Each directory on the way counts, and so does the way to
// the target of a link. owners are the users it all may belong to, besides root and
// us; nil for any.
func Writable(path string, owners []int) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if root, err := os.Stat("/"); err == nil && owners != nil {
		uid, _ := owner(root) // in a user namespace root has another number
		owners = append(owners, 0, os.Geteuid(), uid)
	}
	for range maxLinks {
		if err := writableWay(path, owners); err != nil {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil {
			real, err := filepath.EvalSymlinks(path) // a directory on the way may be a link
			if err != nil || real == path {
				return err
			}
			path = real
			continue
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return fmt.Errorf("%s: too many links", path)
}

const maxLinks = 40 // as in path_resolution(7)

func writableWay(path string, owners []int) error {
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		uid, gid := owner(info)
		mode := info.Mode()
		switch {
		case mode&fs.ModeSymlink != 0: // has no mode of its own
		case mode.IsDir() && mode&fs.ModeSticky != 0: // only owners rename and remove
		case mode&0o002 != 0:
			return fmt.Errorf("%s may be changed by everybody (mode %v): chmod o-w %[1]s", at, mode.Perm())
		case mode&0o020 != 0 && gid != 0 && gid != uid: // a group of that number is the user's own
			return fmt.Errorf("%s may be changed by group %d (mode %v): chmod g-w %[1]s", at, gid, mode.Perm())
		}
		if owners != nil && !slices.Contains(owners, uid) {
			return fmt.Errorf("%s belongs to user %d, who could change it: chown root %[1]s", at, uid)
		}
		if at == "/" {
			return nil
		}
	}
}

func owner(info fs.FileInfo) (uid, gid int) {
	s := info.Sys().(*syscall.Stat_t)
	return int(s.Uid), int(s.Gid)
}
