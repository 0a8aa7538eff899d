package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// The test binary is its own plugin: started with this variable it plays the part
// that the variable names.
const partEnv = "NETMON_TEST_PART"

func TestMain(m *testing.M) {
	if IsLauncher() {
		if err := ServeLauncher(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	switch part := os.Getenv(partEnv); part {
	case "":
		os.Exit(m.Run())
	case "exporter", "cumulative", "keeper":
		plugins.Serve(plugins.Plugin{Type: "test", Version: versionHere(), Summary: "Writes what it gets to a file.",
			New: func() plugins.Exporter { return newRecorder(part) }})
	case "garbage":
		fmt.Println("Hello, I am no plugin.")
		time.Sleep(time.Minute)
	case "version 2":
		h := plugins.Handshake()
		h.ProtocolVersion = 2
		serveRaw(h, &liar{})
	case "dies":
		fmt.Fprintln(os.Stderr, "cannot find my \x1b[31mlibrary")
		os.Exit(3)
	case "panics":
		panic("no such luck")
	case "silent":
		time.Sleep(time.Minute)
	case "liar":
		l := &liar{misdeed: os.Getenv("MISDEED")}
		if once := os.Getenv("ONCE"); once != "" && !first(once) {
			l.misdeed = ""
		}
		l.hang("handshake")
		serveRaw(plugins.Handshake(), l)
	case "host":
		hostPart()
	case "looks around":
		lookAround(os.Getenv("OUT"))
		plugins.Serve(plugins.Plugin{Type: "test", New: func() plugins.Exporter { return newRecorder("exporter") }})
	}
	os.Exit(9)
}

// recorder is an exporter that appends what it gets to a file, and fails as its
// configuration says.
type recorder struct {
	config recorderConfig
	file   *os.File
	log    hclog.Logger
}

type recorderConfig struct {
	File    string `netmon:"file" doc:"Where the lines go."`
	Once    string `netmon:"once" doc:"A file whose existence says that the failure has been."`
	Fail    string `netmon:"fail" doc:"What to do wrong."`
	At      uint64 `netmon:"at" doc:"At which window."`
	Problem string `netmon:"problem" doc:"A problem to find in the settings."`
}

// The three kinds of exporter: without state, with state of this life, with state
// that outlives it.
type (
	cumulative struct{ *recorder }
	keeper     struct{ cumulative }
)

func newRecorder(part string) plugins.Exporter {
	r := &recorder{}
	switch part {
	case "cumulative":
		return cumulative{r}
	case "keeper":
		return keeper{cumulative{r}}
	}
	return r
}

func (r *recorder) Config() any { return &r.config }

func (r *recorder) Check(string) error {
	switch r.config.Problem {
	case "":
		return nil
	case "warning":
		return &plugins.Problem{Path: []string{"problem"}, Summary: "Not nice", Warning: true}
	}
	return &plugins.Problem{Path: []string{"problem"}, Summary: r.config.Problem}
}

func (r *recorder) Start(_ context.Context, h plugins.Host) (err error) {
	r.log = h.Logger
	if r.due("configure", 0) {
		fmt.Fprintln(os.Stderr, "dying in Configure")
		os.Exit(4)
	}
	if r.due("counts", 0) {
		for _, reason := range []string{"unreachable", "unreachable", "No word!", "unreachable"} {
			h.Failed(reason)
		}
	}
	if r.due("flood", 0) {
		fmt.Println("Println goes to the log")
		fmt.Fprintln(os.Stderr, `{"@message":5,"@level":[],"@timestamp":{}}`)
		fmt.Fprintln(os.Stderr, `{"@message":"half a line`)
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 1<<20))
		for range 20000 {
			fmt.Fprintln(os.Stderr, "line after line")
		}
		_, _ = os.NewFile(1, "stdout").WriteString(strings.Repeat("y", 1<<17))
	}
	if r.config.Fail == "child" || r.config.Fail == "daemon" {
		child := exec.Command("sleep", "1000")
		if r.config.Fail == "daemon" {
			child.Stderr, child.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Setsid: true}
		}
		if err := child.Start(); err != nil {
			return err
		}
		if err := os.WriteFile(r.config.Once, []byte(strconv.Itoa(child.Process.Pid)), 0o600); err != nil {
			return err
		}
	}
	h.Bound("127.0.0.1:4711")
	r.file, err = os.OpenFile(r.config.File, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	return err
}

// due says whether to fail in this way now; where Once is set, the first time only.
func (r *recorder) due(fail string, at uint64) bool {
	if r.config.Fail != fail || r.config.At != at {
		return false
	}
	if r.config.Once == "" {
		return true
	}
	return first(r.config.Once)
}

// first makes a file and says whether it was not there.
func first(path string) bool {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	return err == nil && f.Close() == nil
}

// versionHere is in a file beside the program, if there is one.
func versionHere() string {
	if text, err := os.ReadFile(os.Args[0] + ".version"); err == nil {
		return string(text)
	}
	return "1.2.3"
}

func (r *recorder) Export(_ context.Context, w *netmonpb.Window) error {
	switch {
	case r.due("crash before", w.Sequence):
		os.Exit(5)
	case r.due("hang", w.Sequence):
		select {}
	case r.due("leak", w.Sequence):
		for kept := [][]byte{}; ; kept = append(kept, bytes.Repeat([]byte{1}, 1<<20)) {
			runtime.KeepAlive(kept)
		}
	case r.due("rewind", w.Sequence):
		return &plugins.Rewind{After: 2, Cause: "test"}
	}
	if err := r.write("window", w.Sequence, len(w.Rows)); err != nil {
		return err
	}
	if r.due("crash after", w.Sequence) {
		os.Exit(6)
	}
	return nil
}

func (r *recorder) write(what string, n uint64, rows int) error {
	_, err := fmt.Fprintf(r.file, "%s %d rows %d\n", what, n, rows)
	return err
}

func (r *recorder) Stop(context.Context) error {
	if r.config.Fail == "stop" {
		signal.Ignore()
		select {}
	}
	return errors.Join(r.write("stop", 0, 0), r.file.Close())
}

func (c cumulative) Install(_ context.Context, s *netmonpb.Snapshot) error {
	return c.write("snapshot", s.Sequence, len(s.Rows))
}

// Held reads the last line of the file.
func (k keeper) Held(context.Context, []byte) (n uint64) {
	text, err := os.ReadFile(k.config.File)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if what, rest, _ := strings.Cut(line, " "); what == "window" || what == "snapshot" {
			_, _ = fmt.Sscan(rest, &n)
		}
	}
	return n
}

// liar takes windows as an exporter does, but for one misdeed.
type liar struct {
	netmonpb.UnimplementedExporterServiceServer
	goplugin.NetRPCUnsupportedPlugin
	misdeed string
}

// hang keeps a caller waiting for ever.
func (l *liar) hang(in string) {
	if l.misdeed == "hang in "+in {
		for {
			time.Sleep(time.Hour)
		}
	}
}

// spoil makes a message giant or nonsense.
func (l *liar) spoil(call string, m proto.Message) {
	switch l.misdeed {
	case "giant " + call:
		m.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), make([]byte, 4<<20)))
	case "malformed " + call:
		m.ProtoReflect().SetUnknown([]byte{0xff, 0xff, 0xff})
	}
}

func (l *liar) Describe(context.Context, *netmonpb.DescribeRequest) (*netmonpb.DescribeResponse, error) {
	l.hang("Describe")
	// Long enough to block whoever finds no reader.
	_, err := os.NewFile(1, "stdout").WriteString(strings.Repeat("y", 1<<20))
	answer := &netmonpb.DescribeResponse{Type: "test", Schema: &netmonpb.Block{}}
	l.spoil("Describe", answer)
	return answer, err
}

func (l *liar) Validate(context.Context, *netmonpb.ValidateRequest) (*netmonpb.ValidateResponse, error) {
	l.hang("Validate")
	answer := &netmonpb.ValidateResponse{}
	l.spoil("Validate", answer)
	return answer, nil
}

func (l *liar) Configure(context.Context, *netmonpb.ConfigureRequest) (*netmonpb.ConfigureResponse, error) {
	l.hang("Configure")
	answer := &netmonpb.ConfigureResponse{}
	l.spoil("Configure", answer)
	return answer, nil
}

func (l *liar) Export(s netmonpb.ExporterService_ExportServer) error {
	for {
		r, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		l.hang("Export")
		answer := acknowledges(r.GetWindow().GetSequence())
		switch {
		case l.misdeed == "more":
			answer = acknowledges(1 << 40)
		case l.misdeed == "backwards" && r.GetWindow().GetSequence() == 3:
			answer = acknowledges(1)
		case l.misdeed == "neither":
			answer = &netmonpb.ExportResponse{}
		}
		l.spoil("Export", answer)
		if err := s.Send(answer); err != nil {
			return err
		}
	}
}

func acknowledges(n uint64) *netmonpb.ExportResponse {
	return &netmonpb.ExportResponse{Result: &netmonpb.ExportResponse_Acknowledged{Acknowledged: n}}
}

func (l *liar) Flush(context.Context, *netmonpb.FlushRequest) (*netmonpb.FlushResponse, error) {
	l.hang("Flush")
	return &netmonpb.FlushResponse{}, nil
}

func (l *liar) Stop(context.Context, *netmonpb.StopRequest) (*netmonpb.StopResponse, error) {
	l.hang("Stop")
	return &netmonpb.StopResponse{}, nil
}

func (l *liar) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	netmonpb.RegisterExporterServiceServer(s, l)
	return nil
}

func (l *liar) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

func serveRaw(h goplugin.HandshakeConfig, l *liar) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: h,
		Plugins:         goplugin.PluginSet{plugins.ServiceName: l},
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}

// surroundings is what a plugin finds when it starts.
type surroundings struct {
	Files       []string
	Environment []string
	Status      string
	Directory   string
	Group       int
}

func lookAround(out string) {
	var s surroundings
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		s.Files = append(s.Files, e.Name()+" "+target)
	}
	status, _ := os.ReadFile("/proc/self/status")
	s.Status, s.Environment = string(status), os.Environ()
	s.Directory, _ = os.Getwd()
	text, _ := json.Marshal(s)
	_ = os.WriteFile(out, text, 0o666)
}

// testSettings is a config block that was evaluated already.
type testSettings map[string]any

func (s testSettings) Evaluate(*netmonpb.Block) ([]byte, error) {
	if err, ok := s["error"].(error); ok {
		return nil, err
	}
	return json.Marshal(map[string]any(s))
}

func (s testSettings) Explain(ds []*netmonpb.Diagnostic) error {
	var all []string
	for _, d := range ds {
		all = append(all, fmt.Sprintf("%s: %s", strings.Join(d.Path, "."), d.Summary))
	}
	return errors.New("netmon.hcl: " + strings.Join(all, "; "))
}

// memory is a log of windows 1..n with rows rows each.
type memory struct {
	mu      sync.Mutex
	changed chan struct{}
	windows []*netmonpb.Window
	folded  uint64
	closed  bool
	cursors map[string]uint64
}

var errFolded = errors.New("folded")

func newMemory() *memory {
	return &memory{changed: make(chan struct{}), cursors: map[string]uint64{}}
}

func (m *memory) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) append(windows, rows int) { m.appendAt(windows, rows, "example.com") }

// appendAt appends windows with rows of hosts of a domain.
func (m *memory) appendAt(windows, rows int, domain string) {
	m.change(func() {
		for range windows {
			w := &netmonpb.Window{LogId: m.ID(), Sequence: uint64(len(m.windows)) + 1, SensorId: "test"}
			for i := range rows {
				w.Rows = append(w.Rows, &netmonpb.Row{
					Key:      &netmonpb.Key{View: netmonpb.View_VIEW_DOMAINS, Domain: fmt.Sprintf("host-%d.%s", i, domain)},
					Counters: &netmonpb.Counters{BytesSent: uint64(i), BytesReceived: 1 << 40},
				})
			}
			m.windows = append(m.windows, w)
		}
	})
}

func (m *memory) fold(n uint64) { m.change(func() { m.folded = n }) }
func (m *memory) close()        { m.change(func() { m.closed = true }) }
func (m *memory) ID() []byte    { return bytes.Repeat([]byte{7}, 16) }

func (m *memory) Next(ctx context.Context, n uint64) (*netmonpb.Window, error) {
	for {
		m.mu.Lock()
		changed := m.changed
		switch {
		case n < m.folded:
			m.mu.Unlock()
			return nil, errFolded
		case n < uint64(len(m.windows)):
			defer m.mu.Unlock()
			return m.windows[n], nil
		case m.closed:
			m.mu.Unlock()
			return nil, io.EOF
		}
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Snapshot is newer than what was folded, as the real one may be.
func (m *memory) Snapshot() *netmonpb.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.folded
	if s > 0 && s < uint64(len(m.windows)) {
		s++
	}
	return &netmonpb.Snapshot{LogId: m.ID(), Sequence: s}
}

func (m *memory) Last() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.windows))
}

func (m *memory) Cursor(name string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursors[name]
}

func (m *memory) SetCursor(name string, n uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursors[name] = n
	return nil
}

// buffer is a log output that a test may read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// bench is a sink with all it needs.
type bench struct {
	t        *testing.T
	sink     *Sink
	log      *memory
	lines    *buffer
	out      string // what the recorder writes
	settings testSettings
	options  Options
	ran      chan error
}

// newBench prepares a sink for the plugin that plays part.
func newBench(t *testing.T, part string, change ...func(*bench)) *bench {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir, whose name is too long for sockets.
	dir, err := os.MkdirTemp("", "export")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bench{t: t, log: newMemory(), lines: &buffer{}, out: filepath.Join(dir, "out"), ran: make(chan error, 1)}
	b.settings = testSettings{"file": b.out}
	b.options = Options{
		Label: "test", Type: "test", Path: self,
		Env:        map[string]string{partEnv: part},
		SensorID:   "sensor",
		Interval:   time.Second,
		RuntimeDir: filepath.Join(dir, "run"),
		IsFolded:   func(err error) bool { return errors.Is(err, errFolded) },
		Logger:     hclog.New(&hclog.LoggerOptions{Output: b.lines, Level: hclog.Debug}),
	}
	for _, f := range change {
		f(b)
	}
	b.sink = New(b.options, b.settings, b.log)
	t.Cleanup(func() {
		if t.Failed() {
			text := b.lines.String()
			t.Logf("log:\n%s", text[:min(len(text), 4000)])
		}
	})
	return b
}

func with(key string, value any) func(*bench) {
	return func(b *bench) { b.settings[key] = value }
}

// once makes the recorder fail the first time only.
func once(b *bench) { b.settings["once"] = filepath.Join(filepath.Dir(b.out), "once") }

// start starts and runs the sink; the test's end stops it.
func (b *bench) start() {
	b.t.Helper()
	if err := b.sink.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.run()
}

func (b *bench) run() (cancel func()) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.ran <- b.sink.Run(ctx)
	}()
	b.t.Cleanup(func() {
		stop()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			b.t.Error("the sink does not end")
		}
		b.left()
	})
	return stop
}

// left checks that nothing is left of the plugins.
func (b *bench) left() {
	if entries, _ := os.ReadDir(b.options.RuntimeDir); len(entries) > 0 {
		b.t.Errorf("left in the runtime directory: %v", entries)
	}
}

// finish closes the log and waits for the sink to have delivered it.
func (b *bench) finish() {
	b.t.Helper()
	b.log.close()
	select {
	case err := <-b.ran:
		if err != nil {
			b.t.Fatalf("run: %v", err)
		}
	case <-time.After(30 * time.Second):
		b.t.Fatalf("not delivered: %+v", b.sink.Status())
	}
	b.left()
}

// await polls, for other processes are on no clock of ours.
func await(t *testing.T, what string, within time.Duration, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func (b *bench) awaitAcknowledged(n uint64) {
	b.t.Helper()
	await(b.t, fmt.Sprintf("acknowledged through %d", n), 15*time.Second, func() bool { return b.log.Cursor("test") == n })
}

// awaitRunning returns the pid of a plugin other than old.
func (b *bench) awaitRunning(old int) (pid int) {
	b.t.Helper()
	await(b.t, "running", 15*time.Second, func() bool {
		pid = b.sink.Status().PID
		return pid != 0 && pid != old
	})
	return pid
}

// received is the recorder's file, without the rows where they are all alike.
func (b *bench) received() []string {
	b.t.Helper()
	text, err := os.ReadFile(b.out)
	if err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " rows")
		lines = append(lines, line)
	}
	return lines
}

func windows(from, to int) []string {
	var lines []string
	for n := from; n <= to; n++ {
		lines = append(lines, fmt.Sprintf("window %d", n))
	}
	return lines
}

func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z")
}
