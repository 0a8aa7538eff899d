package confine

import (
	"errors"
	"fmt"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Landlock leaves the process what the kernel's version of Landlock can keep: it may
// read files, write below dirs and into files, and neither execute anything, nor
// bind or connect TCP ports, nor signal processes outside. It returns the version
// used, and an error where there is none.
func Landlock(dirs, files []string) (version int, err error) {
	version, err = ll.LandlockGetABIVersion()
	if err != nil || version < 1 {
		return 0, fmt.Errorf("the kernel has no Landlock: %w", err)
	}
	read := landlock.AccessFSSet(ll.AccessFSReadFile | ll.AccessFSReadDir)
	rules := []landlock.Rule{landlock.PathAccess(read, "/")}
	for _, dir := range dirs {
		rules = append(rules, landlock.RWDirs(dir).WithRefer().WithResolveUnix())
	}
	if len(files) > 0 {
		rules = append(rules, landlock.RWFiles(files...).IgnoreIfMissing())
	}
	return version, landlock.V9.BestEffort().Restrict(rules...)
}

// Calls that neither the sensor nor an exporter has a use for, and attackers have.
func refused() []string {
	return []string{
		"acct", "add_key", "bpf", "chroot", "delete_module", "finit_module", "init_module", "io_uring_enter",
		"io_uring_register", "io_uring_setup", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "mount",
		"move_mount", "name_to_handle_at", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root",
		"process_vm_readv", "process_vm_writev", "ptrace", "quotactl", "reboot", "request_key", "setns", "settimeofday",
		"swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd", "vhangup",
	}
}

// Seccomp makes all threads, and what they execute, get EPERM for system calls
// without an honest use here; also are more names of such calls.
func Seccomp(also ...string) error {
	if !seccomp.Supported() {
		return errors.New("the kernel has no seccomp")
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(append(refused(), also...), func(name string) bool {
		_, known := info.SyscallNames[name]
		return !known
	})
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls:      []seccomp.SyscallGroup{{Action: seccomp.ActionErrno | seccomp.Action(unix.EPERM), Names: names}},
		},
	})
}
