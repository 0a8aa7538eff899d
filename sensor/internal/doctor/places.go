package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Interfaces looks at the interfaces that the configuration selects; none is not
// an error of it where it has globs, or goes by the default route.
func (m *Machine) Interfaces(names []string, wanted string) Report {
	if len(names) == 0 {
		return Report{warn("interfaces", "capture { interfaces }: `ip link` lists what there is", "nothing matches %s: the sensor waits for one to come", wanted)}
	}
	var out Report
	for _, name := range names {
		i, err := net.InterfaceByName(name)
		switch {
		case err != nil:
			out = append(out, warn("interface", "", "%s is gone again: %v", name, err))
			continue
		case i.Flags&net.FlagUp == 0:
			out = append(out, warn("interface", "ip link set "+name+" up", "%s is down", name))
			continue
		}
		carrier, err := m.read(filepath.Join("sys/class/net", name, "carrier"))
		if err == nil && carrier == "0" {
			out = append(out, warn("interface", "look at the cable, or at the other end of the link", "%s is up and has no carrier", name))
			continue
		}
		out = append(out, m.offloads(name))
	}
	return out
}

func (m *Machine) offloads(name string) Finding {
	o, err := m.Offloads(name)
	if err != nil {
		return warn("interface", "ethtool -k "+name, "%s is up; whether segments are joined before capture is not known: %v", name, err)
	}
	var on []string
	for _, one := range []struct {
		name string
		on   bool
	}{{"GRO", o.GRO}, {"LRO", o.LRO}, {"TSO", o.TSO}, {"GSO", o.GSO}} {
		if one.on {
			on = append(on, one.name)
		}
	}
	switch {
	case o.LRO:
		return warn("interface", "ethtool -K "+name+" lro off", "%s joins segments in the card (LRO), which loses their sizes: bytes are exact, packets are estimated, and a host that forwards must not have it", name)
	case len(on) > 0:
		return fine("interface", "%s is up; joined or split beside the wire by %s: bytes are exact, packets are counted as on the wire", name, strings.Join(on, ", "))
	}
	return fine("interface", "%s is up; nothing is joined or split beside the wire", name)
}

// StateDir looks at where the log will be, of at most so many bytes, written by a
// user. Root gives what it made to that user at the start.
func StateDir(dir string, uid int, bytes int64) Report {
	const check = "state_dir"
	if dir == "" {
		return Report{warn(check, `sensor { state_dir = "/var/lib/netmon" }`, "the log is in memory: what exporters have not been sent is lost with the sensor")}
	}
	info, err := os.Stat(dir)
	place := dir
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for place = filepath.Dir(place); place != "/"; place = filepath.Dir(place) {
			if _, err := os.Stat(place); err == nil {
				break
			}
		}
		if err := unix.Access(place, unix.W_OK|unix.X_OK); err != nil {
			return Report{fail(check, fmt.Sprintf("sudo install -d -m 700 -o %d %s, or another sensor { state_dir }", uid, dir),
				"%s is not there, and %s, where it would be made, cannot be written: %v", dir, place, err)}
		}
	case err != nil:
		return Report{fail(check, "another sensor { state_dir }, or the right to go there", "%v", err)}
	case !info.IsDir():
		return Report{fail(check, "another sensor { state_dir }", "%s is no directory", dir)}
	default:
		if problem := unwritable(dir, uid); problem != nil {
			return append(Report{*problem}, room(place, bytes)...)
		}
	}
	return append(Report{fine(check, "%s can be written by user %d", dir, uid)}, room(place, bytes)...)
}

// unwritable says why a user cannot write a directory and the files in it.
func unwritable(dir string, uid int) *Finding {
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		paths = nil
	}
	for _, path := range append([]string{dir}, paths...) {
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		given := os.Geteuid() == 0 && owner == 0 // to the user, at the start
		writes := owner == uid && info.Mode().Perm()&0o200 != 0 || uid == 0
		if os.Geteuid() == uid && !writes {
			writes = unix.Access(path, unix.W_OK) == nil // a group, an access list
		}
		if !given && !writes {
			f := fail("state_dir", fmt.Sprintf("sudo chown -R %d %s && sudo chmod 700 %[2]s", uid, dir), "%s (of user %d, mode %v) cannot be written by user %d", path, owner, info.Mode().Perm(), uid)
			return &f
		}
	}
	return nil
}

// room is whether the log fits on the disk.
func room(dir string, bytes int64) Report {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return Report{warn("disk", "df "+dir, "%s: %v", dir, err)}
	}
	if disk.Flags&unix.ST_RDONLY != 0 {
		return Report{fail("disk", "mount it for writing, or another sensor { state_dir }", "%s is mounted read-only", dir)}
	}
	free := int64(disk.Bavail) * disk.Bsize
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err == nil {
		for _, path := range files {
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
				bytes -= info.Size() // it is part of the log already
			}
		}
	}
	if free < bytes {
		return Report{warn("disk", "make room, or lower sensor { log_max_bytes }",
			"%d MiB are free in %s, and the log may grow by %d MiB: where the disk refuses, windows add up in memory", free/mib, dir, bytes/mib)}
	}
	return Report{fine("disk", "%d MiB are free in %s, the log may grow by %d MiB", free/mib, dir, max(bytes, 0)/mib)}
}
