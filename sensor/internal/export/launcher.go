package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Account is a user to run as.
type Account struct{ UID, GID int }

// LookupAccount finds a user by name or number. A number that nobody has is its own
// group's, too.
func LookupAccount(name string) (Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	if err != nil {
		n, err := strconv.ParseUint(name, 10, 31)
		if err != nil {
			return Account{}, errors.New("no such user")
		}
		return Account{int(n), int(n)}, nil
	}
	uid, err := strconv.Atoi(u.Uid)
	gid, errGroup := strconv.Atoi(u.Gid)
	return Account{uid, gid}, errors.Join(err, errGroup)
}

// A Launcher is a process of the sensor's program that starts plugins, so that the
// sensor itself needs neither the right to become another user nor to execute
// anything. What it starts runs as one account, set when it was started, which the
// sensor cannot change; it ends, and kills all it started, when the sensor does.
type Launcher struct {
	account *Account // nil: the sensor's own
	conn    *net.UnixConn
	cmd     *exec.Cmd
	ended   chan struct{}

	mu    sync.Mutex // guards what follows
	last  uint64
	calls map[uint64]*launched
	err   error // why it takes no more calls
}

// launched is a plugin that a Launcher runs, or a question to it.
type launched struct {
	launcher *Launcher
	id       uint64
	started  chan answer   // one, with room
	done     chan struct{} // closed when the process is dead
	exit     error         // valid after done
}

// order and answer are the messages between sensor and Launcher. An order to start
// carries the descriptors of standard output and standard error.
type order struct {
	ID       uint64
	Do       string // start, kill, find
	Path     string
	Checksum string
	Env      []string
	Type     string
	Command  string
	Dirs     []string
}

type answer struct {
	ID     uint64
	PID    int
	Path   string
	Error  string
	Exited bool
}

// launcherEnv tells the program that it is to be a Launcher, and for whom: the
// plugins' account, the sensor's user and the directory to remove at the end.
const launcherEnv = "NETMON_LAUNCHER"

// maxOrder bounds a message, in bytes. What does not fit is not sent.
const maxOrder = 200 << 10

// NewLauncher starts one. Plugins run as account, nil for the sensor's own user, and
// have at most memory bytes each, 0 for no bound; sensorUID is whom runtimeDir belongs
// to, which the Launcher removes at its end.
func NewLauncher(account *Account, memory int64, sensorUID int, runtimeDir string) (*Launcher, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start launcher: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "launcher"), os.NewFile(uintptr(pair[1]), "sensor")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("start launcher: %w", err)
	}
	spec := launcherSpec{Account: account, Memory: memory, SensorUID: sensorUID, RuntimeDir: runtimeDir}
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	l := &Launcher{account: account, conn: conn.(*net.UnixConn), ended: make(chan struct{}), calls: map[uint64]*launched{}}
	l.cmd = &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{os.Args[0], "(launcher)"},
		Env:         append(keptEnv(os.Environ()), launcherEnv+"="+string(text)),
		Dir:         "/",
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true}, // a terminal signals the sensor's group
	}
	if err := l.cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start launcher: %w", err)
	}
	go l.read()
	go func() {
		defer close(l.ended)
		_ = l.cmd.Wait()
	}()
	return l, nil
}

// Alive says whether it still runs.
func (l *Launcher) Alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil
}

// Close ends the Launcher and what still runs under it.
func (l *Launcher) Close() {
	_ = l.conn.Close()
	select {
	case <-l.ended:
	case <-time.After(closeTimeout):
		_ = l.cmd.Process.Kill()
	}
}

const closeTimeout = 3 * time.Second

// Find is the function Find, with the Launcher's rights.
func (l *Launcher) Find(exporterType, command string, dirs []string) (string, error) {
	c, err := l.call(order{Do: "find", Type: exporterType, Command: command, Dirs: dirs})
	if err != nil {
		return "", err
	}
	a := <-c.started
	l.forget(c)
	return a.Path, a.err()
}

func (l *Launcher) start(path, checksum string, env []string, stdout, stderr *os.File) (c *launched, pid int, err error) {
	c, err = l.call(order{Do: "start", Path: path, Checksum: checksum, Env: env}, int(stdout.Fd()), int(stderr.Fd()))
	if err != nil {
		return nil, 0, err
	}
	select {
	case a := <-c.started:
		if err := a.err(); err != nil {
			l.forget(c)
			return nil, 0, err
		}
		return c, a.PID, nil
	case <-time.After(closeTimeout):
		c.kill()
		l.forget(c)
		return nil, 0, fmt.Errorf("%w by the launcher of plugins within %v", ErrNoAnswer, closeTimeout)
	}
}

func (c *launched) kill() { _ = c.launcher.send(order{ID: c.id, Do: "kill"}) }

func (a answer) err() error {
	if a.Error == "" {
		return nil
	}
	return errors.New(a.Error)
}

func (l *Launcher) call(o order, descriptors ...int) (*launched, error) {
	c := &launched{launcher: l, started: make(chan answer, 1), done: make(chan struct{})}
	l.mu.Lock()
	if err := l.err; err != nil {
		l.mu.Unlock()
		return nil, err
	}
	l.last++
	c.id = l.last
	l.calls[c.id] = c
	l.mu.Unlock()
	o.ID = c.id
	if err := l.send(o, descriptors...); err != nil {
		l.forget(c)
		return nil, fmt.Errorf("ask the launcher: %w", err)
	}
	return c, nil
}

func (l *Launcher) send(o order, descriptors ...int) error { return send(l.conn, o, descriptors...) }

func send(conn *net.UnixConn, message any, descriptors ...int) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(text) > maxOrder {
		return fmt.Errorf("the environment has %d bytes, more than %d", len(text), maxOrder)
	}
	var rights []byte
	if len(descriptors) > 0 {
		rights = unix.UnixRights(descriptors...)
	}
	_, _, err = conn.WriteMsgUnix(text, rights, nil)
	return err
}

func (l *Launcher) forget(c *launched) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, c.id)
}

// read takes answers until the Launcher is gone; what waits for it then is told.
func (l *Launcher) read() {
	buffer := make([]byte, maxOrder)
	for {
		n, err := l.conn.Read(buffer)
		if err != nil || n == 0 {
			break
		}
		var a answer
		if json.Unmarshal(buffer[:n], &a) != nil {
			continue
		}
		l.mu.Lock()
		c := l.calls[a.ID]
		if a.Exited {
			delete(l.calls, a.ID)
		}
		l.mu.Unlock()
		switch {
		case c == nil:
		case a.Exited:
			c.exit = a.err()
			close(c.done)
		default:
			c.started <- a
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.New("the launcher of plugins is gone")
	for id, c := range l.calls {
		delete(l.calls, id)
		select {
		case c.started <- answer{Error: l.err.Error()}:
		default:
		}
		c.exit = l.err
		close(c.done)
	}
}
