package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

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
