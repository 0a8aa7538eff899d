package export

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

const (
	// maxHandshake bounds the first line of standard output; with a certificate
	// in it, it has about 1 KiB.
	maxHandshake = 16 << 10
	// afterlife is how long output is still read once the process is dead: a
	// child that left the group may hold the pipes for ever.
	afterlife = 250 * time.Millisecond
)

// runner is one plugin process, in the shape go-plugin wants it (runner.Runner).
// go-plugin's own runner hands down the sensor's standard input, environment and
// capabilities, and kills only the process itself.
type runner struct {
	launcher *Launcher // starts it; nil: the runner does
	path     string
	checksum string
	env      []string
	account  *Account
	logger   hclog.Logger
	stderr   *stderrLog

	handshake *io.PipeReader // the first line of standard output, for go-plugin
	answer    *io.PipeWriter
	dir       string // private, for the socket

	done chan struct{} // closed when the process is dead and its output read

	mu     sync.Mutex // guards what follows
	pid    int        // 0 before the start and after the end: nothing to kill
	remote *launched  // the process, where the launcher started it
	id     string     // the pid for ever
	killed bool
	spoke  bool   // it printed something,
	first  string // this, where the handshake belongs
	exit   error  // valid after done
}

func newRunner(o Options, logger hclog.Logger) (*runner, error) {
	account, err := accountOf(o.User)
	if err != nil {
		return nil, err
	}
	if o.Launcher != nil {
		account = o.Launcher.account
	}
	host := os.Environ()
	if o.Memory > 0 {
		host = append(host, collectAt(o.Memory)) // the last one counts
	}
	r := &runner{
		launcher: o.Launcher,
		checksum: o.Checksum,
		path:     o.Path,
		env:      environment(host, o.Env, logger.GetLevel()),
		account:  account,
		logger:   logger,
		stderr:   &stderrLog{logger: logger, failed: o.failed},
		id:       "0",
		done:     make(chan struct{}),
	}
	r.handshake, r.answer = io.Pipe()
	return r, nil
}

// accountOf returns nil for the user that the sensor is.
func accountOf(name string) (*Account, error) {
	if name == "" {
		return nil, nil
	}
	a, err := LookupAccount(name)
	if err != nil {
		return nil, fmt.Errorf("user %q for plugins: %w", name, err)
	}
	if a.UID == os.Geteuid() {
		return nil, nil
	}
	return &a, nil
}

// Start starts the process. It returns once it runs or cannot.
func (r *runner) Start(context.Context) error {
	stdout, stdoutChild, err := os.Pipe()
	if err != nil {
		return err
	}
	stderr, stderrChild, err := os.Pipe()
	if err != nil {
		return errors.Join(err, stdout.Close(), stdoutChild.Close())
	}
	cmd := &exec.Cmd{
		Path:   r.path,
		Args:   []string{r.path},
		Env:    r.env,
		Dir:    "/",
		Stdout: stdoutChild,
		Stderr: stderrChild,
		SysProcAttr: &syscall.SysProcAttr{
			Setpgid:   true,
			Pdeathsig: syscall.SIGKILL,
		},
	}
	if r.account != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(r.account.UID), Gid: uint32(r.account.GID)}
	}
	started := make(chan error)
	go r.live(cmd, started, stdout, stderr)
	err = <-started
	_ = stdoutChild.Close()
	_ = stderrChild.Close()
	return err
}

// live starts the process and stays with it to its end, on a thread of its own:
// the child's death signal comes when that thread ends, and the privileges given
// up for the child are gone for the thread, too. It is never unlocked, so it ends
// here.
func (r *runner) live(cmd *exec.Cmd, started chan<- error, stdout, stderr *os.File) {
	defer close(r.done)
	if r.launcher == nil {
		lockDown()
	}
	if err := r.fork(cmd); err != nil {
		_ = r.answer.Close()
		_, _ = stdout.Close(), stderr.Close()
		r.exit = err
		started <- err
		return
	}
	var output sync.WaitGroup
	output.Go(func() { r.readStdout(stdout) })
	output.Go(func() { r.stderr.copy(stderr) })
	started <- nil

	// Seen dead but not yet reaped, the leader keeps the number of its group
	// from being given to another.
	if r.remote != nil {
		<-r.remote.done // the launcher has done the rest
	} else {
		awaitExit(cmd.Process.Pid)
		r.kill()
	}
	r.mu.Lock()
	r.pid = 0
	if r.remote != nil {
		r.exit = r.remote.exit
	} else {
		r.exit = cmd.Wait()
	}
	r.mu.Unlock()

	deadline := time.Now().Add(afterlife)
	_, _ = stdout.SetReadDeadline(deadline), stderr.SetReadDeadline(deadline)
	output.Wait()
	_, _ = stdout.Close(), stderr.Close()
}

func (r *runner) fork(cmd *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		return errors.New("stopped before it was started")
	}
	if r.launcher != nil {
		var err error
		r.remote, r.pid, err = r.launcher.start(r.path, r.checksum, r.env, cmd.Stdout.(*os.File), cmd.Stderr.(*os.File))
		if err != nil {
			return err
		}
	} else if err := cmd.Start(); err != nil {
		return err
	} else {
		r.pid = cmd.Process.Pid
	}
	r.id = strconv.Itoa(r.pid)
	return nil
}

// awaitExit returns when the child is dead; it stays to be reaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

// kill ends the process and all of its group, now or before it starts.
func (r *runner) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
	switch {
	case r.pid == 0:
	case r.remote != nil:
		r.remote.kill()
	default:
		_ = unix.Kill(-r.pid, unix.SIGKILL)
	}
}

// readStdout gives the first line to go-plugin, if it can be the handshake, and
// takes away whatever follows.
func (r *runner) readStdout(stdout io.Reader) {
	defer r.answer.Close()
	in := bufio.NewReaderSize(stdout, maxHandshake)
	line, _ := in.ReadSlice('\n')
	first := strings.TrimSpace(string(line))
	r.mu.Lock()
	r.spoke, r.first = len(line) > 0, first
	r.mu.Unlock()
	if isHandshake(first) {
		_, _ = r.answer.Write([]byte(first + "\n"))
	}
	_ = r.answer.Close()
	if n, _ := io.Copy(io.Discard, in); n > 0 {
		r.logger.Warn("exporter wrote to standard output, which is for the handshake alone; use standard error", "bytes", n)
	}
}

// isHandshake tells CORE|APP|NETWORK|ADDRESS|PROTOCOL|CERT from anything else.
func isHandshake(line string) bool {
	parts := strings.Split(line, "|")
	if len(parts) < 5 {
		return false
	}
	_, err := strconv.Atoi(parts[0])
	_, errApp := strconv.Atoi(parts[1])
	return err == nil && errApp == nil
}

// death says how the process ended, with its last words.
func (r *runner) death() error {
	r.mu.Lock()
	exit := "exit status 0"
	if r.exit != nil {
		exit = r.exit.Error()
	}
	r.mu.Unlock()
	if last := r.stderr.lastLine(); last != "" {
		return fmt.Errorf("the plugin ended (%s), its last words: %s", exit, last)
	}
	return fmt.Errorf("the plugin ended (%s) without a word", exit)
}

// The rest of runner.Runner.

func (r *runner) Wait(context.Context) error      { <-r.done; return r.exit }
func (r *runner) Kill(context.Context) error      { r.kill(); return nil }
func (r *runner) Stdout() io.ReadCloser           { return r.handshake }
func (r *runner) Stderr() io.ReadCloser           { return io.NopCloser(strings.NewReader("")) }
func (r *runner) Name() string                    { return r.path }
func (r *runner) Diagnose(context.Context) string { return "" }

func (r *runner) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id
}

// processID is the pid, 0 before the start and after the end.
func (r *runner) processID() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pid
}

func (r *runner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (r *runner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
