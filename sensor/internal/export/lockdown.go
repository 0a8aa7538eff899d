package export

import (
	"math"
	"runtime"

	"golang.org/x/sys/unix"
)

// lockDown ties the goroutine to its thread and gives up, for that thread and
// what it starts, what a plugin must not have. Errors do not matter: a sensor that
// may not drop a capability from its bounding set is not root, and what it starts
// then has none once the ambient set is empty.
func lockDown() {
	lockThread()
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	for capability := range unix.CAP_LAST_CAP + 1 {
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0)
	}
	_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

	// Go's own descriptors close on exec, those of C libraries may not; a packet
	// socket in a plugin would undo all of the above. Kernels before 5.11 do not
	// know the flag; there the openers are relied on.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}

// lockThread ties the goroutine to its thread. Nobody unlocks it: the thread ends
// with the goroutine.
func lockThread() { runtime.LockOSThread() }
