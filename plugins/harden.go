package plugins

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// harden keeps what the process knows, certificates and passwords among it, out of
// core dumps and from debuggers of the same user, and what it executes from getting
// privileges. Where one of these cannot be had the exporter works without.
func harden() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	// Not in a program with cgo, which has to be built so.
	_, _, _ = syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
}
