package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
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

// launcherSpec is what a Launcher is told at its start.
type launcherSpec struct {
	Account    *Account
	Memory     int64
	SensorUID  int
	RuntimeDir string
}

// IsLauncher says whether this process is to be a Launcher.
func IsLauncher() bool { return os.Getenv(launcherEnv) != "" }

// ServeLauncher does what a sensor at descriptor 3 orders, until that is gone.
func ServeLauncher() error {
	var spec launcherSpec
	if err := json.Unmarshal([]byte(os.Getenv(launcherEnv)), &spec); err != nil {
		return fmt.Errorf("launcher: %w", err)
	}
	os.Unsetenv(launcherEnv)
	if err := limitMemory(spec.Memory); err != nil {
		return fmt.Errorf("launcher: limit memory to %d bytes: %w", spec.Memory, err)
	}
	unix.CloseOnExec(3)
	f := os.NewFile(3, "sensor")
	c, err := net.FileConn(f)
	if err != nil {
		return fmt.Errorf("launcher: %w", err)
	}
	f.Close()
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("launcher: descriptor 3 is no socket of a sensor")
	}
	// What a plugin starts may leave its group, and would then be init's.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("launcher: %w", err)
	}
	s := &launches{conn: conn, account: spec.Account, running: map[uint64]int{}, plugins: map[int]bool{}}
	s.serve()
	removeAs(spec.SensorUID, spec.RuntimeDir)
	return nil
}

// launches is the Launcher's side.
type launches struct {
	conn    *net.UnixConn
	account *Account
	all     sync.WaitGroup

	mu      sync.Mutex     // guards what follows, and writing
	running map[uint64]int // process groups by order
	plugins map[int]bool   // until they are reaped
}

func (s *launches) serve() {
	buffer, rights := make([]byte, maxOrder), make([]byte, unix.CmsgSpace(2*4))
	for {
		n, oob, _, _, err := s.conn.ReadMsgUnix(buffer, rights)
		if err != nil || n == 0 {
			break
		}
		files := received(rights[:oob])
		var o order
		if json.Unmarshal(buffer[:n], &o) == nil {
			s.do(o, files)
		} else {
			closeAll(files)
		}
	}
	s.mu.Lock()
	for _, pid := range s.running {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	s.mu.Unlock()
	s.all.Wait()
	s.endStrays()
}

// endStrays ends what plugins that are gone have left: such processes are the
// launcher's children by now, and no plugins.
func (s *launches) endStrays() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pid := range children() {
		if s.plugins[pid] {
			continue
		}
		_ = unix.Kill(pid, unix.SIGKILL)
		go func() { _, _ = unix.Wait4(pid, nil, 0, nil) }()
	}
}

// children lists the children of all threads of the process, where the kernel does.
func children() (pids []int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread is gone, and its children are another's
		}
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func (s *launches) do(o order, files []*os.File) {
	switch o.Do {
	case "start":
		if len(files) != 2 {
			closeAll(files)
			s.answer(answer{ID: o.ID, Error: "no output for the plugin"})
			return
		}
		s.all.Go(func() { s.run(o, files) })
		return
	case "find":
		path, err := Find(o.Type, o.Command, o.Dirs)
		s.answer(answer{ID: o.ID, Path: path, Error: message(err)})
	case "kill":
		s.mu.Lock()
		if pid := s.running[o.ID]; pid != 0 {
			_ = unix.Kill(-pid, unix.SIGKILL)
		}
		s.mu.Unlock()
	}
	closeAll(files)
}

func (s *launches) answer(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = send(s.conn, a) // a sensor that is gone wants none
}

// run is runner.live for somebody else: one plugin, to its end, on a thread of its
// own.
func (s *launches) run(o order, files []*os.File) {
	program, err := openProgram(o.Path, o.Checksum)
	if err == nil {
		defer program.Close()
		files[0], err = above(files[0], program)
	}
	if err == nil {
		cmd := &exec.Cmd{
			Path: executable(program, o.Path), Args: []string{o.Path}, Env: o.Env, Dir: "/",
			Stdout: files[0], Stderr: files[1],
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
		}
		if s.account != nil {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.account.UID), Gid: uint32(s.account.GID)}
		}
		lockDown()
		s.mu.Lock()
		if err = cmd.Start(); err == nil {
			s.running[o.ID] = cmd.Process.Pid
			s.plugins[cmd.Process.Pid] = true
		}
		s.mu.Unlock()
		closeAll(files)
		if err == nil {
			s.answer(answer{ID: o.ID, PID: cmd.Process.Pid})
			awaitExit(cmd.Process.Pid)
			s.mu.Lock()
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			delete(s.running, o.ID)
			s.mu.Unlock()
			err = cmd.Wait()
			s.mu.Lock()
			delete(s.plugins, cmd.Process.Pid)
			s.mu.Unlock()
			s.endStrays()
			s.answer(answer{ID: o.ID, Exited: true, Error: message(err)})
			return
		}
		err = fmt.Errorf("start plugin %s: %w", o.Path, unwrapPath(err))
	}
	closeAll(files)
	s.answer(answer{ID: o.ID, Error: message(err)})
}

// openProgram opens what is to be executed and checks it. It is executed by the
// descriptor, so that nothing else can take its place in between, and so that the
// user who runs it need not be able to go where it stands.
func openProgram(path, checksum string) (*os.File, error) {
	if err := inspect(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", path, unwrapPath(err))
	}
	self := descriptorPath(f)
	if err = inspectFile(path, self); err == nil {
		err = verify(path, self, checksum)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// above gives a file a number above that of another, and closes it. A child that is
// about to execute a program by its descriptor moves what it was given, and the pipe
// for its error, to the numbers above the highest that it was given: unless that is
// above the program's, the program may be what they are moved onto.
func above(f, other *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, int(other.Fd())+1)
	if err != nil {
		return nil, fmt.Errorf("output of the plugin: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func descriptorPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// executable is what to execute: the open file, or the path of a script, which its
// interpreter must open again.
func executable(f *os.File, path string) string {
	head := make([]byte, 2)
	if n, _ := f.ReadAt(head, 0); n == 2 && string(head) == "#!" {
		return path
	}
	return descriptorPath(f)
}

// removeAs removes a directory with the rights of the user whom it belongs to.
func removeAs(uid int, dir string) {
	if dir == "" {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lockThread() // never unlocked: the thread is another's from here on
		if uid != os.Geteuid() {
			_, _ = unix.SetfsuidRetUid(uid)
		}
		_ = os.RemoveAll(dir)
	}()
	<-done
}

func received(rights []byte) (files []*os.File) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	for i := range messages {
		descriptors, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range descriptors {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "plugin output"))
		}
	}
	return files
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimSpace(err.Error())
}

// unwrapPath is err without the path, which is said already.
func unwrapPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
