// Package confine takes from the process what it does not need any more: its user,
// its capabilities but one, core dumps, and, where the kernel knows how, files,
// sockets and system calls. What is taken is taken from all threads, for good.
package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Possible says why the process cannot become the user uid of the groups, nil if it
// can. A child tries it, which then finds nothing to execute. Not a thread: one with
// other rights than the rest, be it about to end, is what everyThread must not meet.
func Possible(uid, gid int, groups []int) error {
	credential := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for _, g := range groups {
		credential.Groups = append(credential.Groups, uint32(g))
	}
	_, err := syscall.ForkExec("/proc/self/nothing", nil, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Credential: credential}})
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return fmt.Errorf("become user %d of group %d: %w", uid, gid, err)
}

// everyThread is a system call of all threads at once. Where they disagree the
// kernel ends the process: half a sensor as root is none.
func everyThread(trap, a1, a2, a3 uintptr) unix.Errno {
	_, _, errno := psx.Syscall3(trap, a1, a2, a3)
	return errno
}

func everyPrctl(option int, a2, a3 uintptr) error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, uintptr(option), a2, a3, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// Become makes all threads another user's, who has the groups too and keeps the
// permitted capabilities until KeepOnly. Ask Possible first.
func Become(uid, gid int, groups []int) error {
	if err := everyPrctl(unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	list := make([]uint32, len(groups)+1) // never empty, for its address
	for i, g := range groups {
		list[i] = uint32(g)
	}
	if errno := everyThread(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0); errno != 0 {
		return fmt.Errorf("set groups: %w", errno)
	}
	runtime.KeepAlive(list)
	if errno := everyThread(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return fmt.Errorf("become group %d: %w", gid, errno)
	}
	if errno := everyThread(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return fmt.Errorf("become user %d: %w", uid, errno)
	}
	return everyPrctl(unix.PR_SET_KEEPCAPS, 0, 0)
}

// Bound drops all capabilities but these from the bounding set, where the process
// may: what it executes can never have them.
func Bound(capabilities ...int) {
	if effective, err := has(unix.CAP_SETPCAP); err != nil || !effective {
		return
	}
	for c := range unix.CAP_LAST_CAP + 1 {
		if !slices.Contains(capabilities, c) {
			_ = everyPrctl(unix.PR_CAPBSET_DROP, uintptr(c), 0) // EINVAL: not one of this kernel's
		}
	}
}

// KeepOnly leaves the process those of the capabilities that it has, permitted and
// effective. Nothing stays inheritable or ambient.
func KeepOnly(capabilities ...int) error {
	header, data, err := capget()
	if err != nil {
		return err
	}
	var keep [2]uint32
	for _, c := range capabilities {
		keep[c/32] |= 1 << (c % 32)
	}
	for i := range data {
		kept := data[i].Permitted & keep[i]
		data[i] = unix.CapUserData{Permitted: kept, Effective: kept}
	}
	// The ambient set goes with the inheritable one.
	if errno := everyThread(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	runtime.KeepAlive(data)
	return nil
}

// Capabilities is the set that the process has in effect, as bits by their numbers.
func Capabilities() (uint64, error) {
	_, data, err := capget()
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), err
}

func has(capability int) (bool, error) {
	set, err := Capabilities()
	return set&(1<<capability) != 0, err
}

func capget() (header unix.CapUserHeader, data [2]unix.CapUserData, err error) {
	header.Version = unix.LINUX_CAPABILITY_VERSION_3
	if err := unix.Capget(&header, &data[0]); err != nil {
		return header, data, fmt.Errorf("read capabilities: %w", err)
	}
	return header, data, nil
}

// NoNewPrivileges keeps execve from granting any, by set-user-id or file
// capabilities.
func NoNewPrivileges() error { return everyPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0) }

// NoCore keeps memory, which holds secrets, out of core dumps and from debuggers of
// the same user.
func NoCore() error {
	return errors.Join(
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0),
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
	)
}

// Own gives what root made to another user: the file or the directory with
// all that is in it. What belongs to others stays theirs. Links are not followed, and a
// file that has another name is an error: whoever may write the directory may have put
// it there, and it may be anybody's file.
func Own(path string, uid, gid int) error { return own(unix.AT_FDCWD, path, path, uid, gid) }

// own looks at what it then changes by one descriptor: a name may lead elsewhere the
// next time.
func own(dir int, name, path string, uid, gid int) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	kind := st.Mode & unix.S_IFMT
	if int(st.Uid) == os.Geteuid() && kind != unix.S_IFLNK {
		if kind != unix.S_IFDIR && st.Nlink > 1 {
			return fmt.Errorf("%s is a hard link, and root's: remove it if it is none of the sensor's", path)
		}
		if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
			return &os.PathError{Op: "chown", Path: path, Err: err}
		}
	}
	if kind != unix.S_IFDIR {
		return nil
	}
	list, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	d := os.NewFile(uintptr(list), path)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := own(list, name, filepath.Join(path, name), uid, gid); err != nil {
			return err
		}
	}
	return nil
}
