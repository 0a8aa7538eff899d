package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// script is an exporter whose behaviour the test sets and whose calls it reads.
// It fails the test when two of its methods run at once.
type script struct {
	t      *testing.T
	config struct {
		Name string `netmon:"name" doc:"Name of the instance."`
	}
	start   func(*script) error
	export  func(context.Context, *netmonpb.Window) error
	install func(context.Context, *netmonpb.Snapshot) error
	log     *journal
}

// journal is what all exporters of a test were called with, in order.
type journal struct {
	mu     sync.Mutex
	inside int
	lines  []string
}

func (j *journal) add(format string, a ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, a...))
}

func (j *journal) read() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

func (e *script) only() func() {
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	if e.log.inside++; e.log.inside > 1 {
		e.t.Error("two methods of an exporter at once")
	}
	return func() {
		e.log.mu.Lock()
		defer e.log.mu.Unlock()
		e.log.inside--
	}
}

func (e *script) Config() any { return &e.config }

func (e *script) Start(_ context.Context, h Host) error {
	defer e.only()()
	e.log.add("start %s", e.config.Name)
	h.Bound("127.0.0.1:1")
	if e.start != nil {
		return e.start(e)
	}
	return nil
}

func (e *script) Export(ctx context.Context, w *netmonpb.Window) error {
	defer e.only()()
	e.log.add("%s: window %d of %d rows", e.config.Name, w.Sequence, len(w.Rows))
	if e.export != nil {
		return e.export(ctx, w)
	}
	return nil
}

func (e *script) Install(ctx context.Context, s *netmonpb.Snapshot) error {
	defer e.only()()
	e.log.add("%s: snapshot %d of %d rows", e.config.Name, s.Sequence, len(s.Rows))
	if e.install != nil {
		return e.install(ctx, s)
	}
	return nil
}

func (e *script) Stop(context.Context) error {
	defer e.only()()
	e.log.add("stop %s", e.config.Name)
	return nil
}

// connected is a script behind its service and a connection.
type connected struct {
	netmonpb.ExporterServiceClient
	service *service
	log     *journal
	aborted chan string
}

func connect(t *testing.T, set func(*script)) *connected {
	t.Helper()
	c := &connected{log: &journal{}, aborted: make(chan string, 1)}
	c.service = newService(Plugin{Type: "script", Version: "1", New: func() Exporter {
		e := &script{t: t, log: c.log}
		e.config.Name = "a"
		if set != nil {
			set(e)
		}
		return e
	}}, hclog.NewNullLogger(), func(reason string) { c.aborted <- reason })

	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(MaxMessage))
	netmonpb.RegisterExporterServiceServer(server, c.service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:pipe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c.ExporterServiceClient = netmonpb.NewExporterServiceClient(conn)
	return c
}

func (c *connected) configure(t *testing.T, config string) *netmonpb.ConfigureResponse {
	t.Helper()
	answer, err := c.Configure(t.Context(), &netmonpb.ConfigureRequest{
		Config: &netmonpb.Config{Json: []byte(config)}, LogId: make([]byte, 16),
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (c *connected) open(t *testing.T) netmonpb.ExporterService_ExportClient {
	t.Helper()
	stream, err := c.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func window(n uint64, rows int) *netmonpb.ExportRequest {
	w := &netmonpb.Window{Sequence: n}
	for range rows {
		w.Rows = append(w.Rows, &netmonpb.Row{})
	}
	return &netmonpb.ExportRequest{Item: &netmonpb.ExportRequest_Window{Window: w}}
}

func snapshot(n uint64) *netmonpb.ExportRequest {
	return &netmonpb.ExportRequest{Item: &netmonpb.ExportRequest_Snapshot{Snapshot: &netmonpb.Snapshot{Sequence: n}}}
}

func send(t *testing.T, s netmonpb.ExporterService_ExportClient, rs ...*netmonpb.ExportRequest) {
	t.Helper()
	for _, r := range rs {
		if err := s.Send(r); err != nil {
			t.Fatal(err)
		}
	}
}

func wantAnswer(t *testing.T, s netmonpb.ExporterService_ExportClient, want *netmonpb.ExportResponse) {
	t.Helper()
	got, err := s.Recv()
	if err != nil || !proto.Equal(got, want) {
		t.Fatalf("answer %v, %v; want %v", got, err, want)
	}
}

func wantLog(t *testing.T, c *connected, want ...string) {
	t.Helper()
	if got := c.log.read(); !slices.Equal(got, want) {
		t.Fatalf("calls\n%q, want\n%q", got, want)
	}
}

func TestDescribe(t *testing.T) {
	c := connect(t, nil)
	d, err := c.Describe(t.Context(), &netmonpb.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Type != "script" || !d.WantsSnapshot || len(d.Schema.Attributes) != 1 {
		t.Fatalf("%v", d)
	}
	wantLog(t, c)
}

func TestExportInOrder(t *testing.T) {
	c := connect(t, nil)
	if a := c.configure(t, `{}`); len(a.Diagnostics) > 0 || !slices.Equal(a.ListenAddresses, []string{"127.0.0.1:1"}) {
		t.Fatalf("%v", a)
	}
	s := c.open(t)
	part := window(6, 2)
	part.More = true
	send(t, s, snapshot(5), part, window(6, 3), window(7, 1))
	for n := uint64(5); n <= 7; n++ {
		wantAnswer(t, s, acknowledge(n))
	}
	_ = s.CloseSend()
	if _, err := s.Recv(); err != io.EOF {
		t.Fatalf("end of stream: %v", err)
	}
	if _, err := c.Stop(t.Context(), &netmonpb.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Stop(t.Context(), &netmonpb.StopRequest{}); err != nil {
		t.Fatalf("second stop: %v", err)
	}
	wantLog(t, c, "start a", "a: snapshot 5 of 0 rows", "a: window 6 of 5 rows", "a: window 7 of 1 rows", "stop a")
}

func TestExportTriesAgain(t *testing.T) {
	left := 2
	c := connect(t, func(e *script) {
		e.export = func(context.Context, *netmonpb.Window) error {
			if left--; left >= 0 {
				return status.Error(codes.InvalidArgument, "from a peer of the exporter")
			}
			return nil
		}
	})
	c.configure(t, `{}`)
	s := c.open(t)
	send(t, s, window(1, 0))
	wantAnswer(t, s, acknowledge(1))
	wantLog(t, c, "start a", "a: window 1 of 0 rows", "a: window 1 of 0 rows", "a: window 1 of 0 rows")
}

func TestRewindEndsTheStream(t *testing.T) {
	c := connect(t, func(e *script) {
		e.export = func(_ context.Context, w *netmonpb.Window) error {
			if w.Sequence == 8 {
				return fmt.Errorf("push: %w", &Rewind{After: 3, Cause: "the server was restored"})
			}
			return nil
		}
	})
	c.configure(t, `{}`)
	s := c.open(t)
	send(t, s, window(7, 0), window(8, 0), window(9, 0))
	wantAnswer(t, s, acknowledge(7))
	wantAnswer(t, s, &netmonpb.ExportResponse{Result: &netmonpb.ExportResponse_Rewind{Rewind: 3}})
	if _, err := s.Recv(); err != io.EOF {
		t.Fatalf("end of stream: %v", err)
	}
	s = c.open(t)
	send(t, s, window(4, 0))
	wantAnswer(t, s, acknowledge(4))
	wantLog(t, c, "start a", "a: window 7 of 0 rows", "a: window 8 of 0 rows", "a: window 4 of 0 rows")
}

func TestStopInterruptsExport(t *testing.T) {
	inside := make(chan struct{})
	c := connect(t, func(e *script) {
		e.export = func(ctx context.Context, _ *netmonpb.Window) error {
			close(inside)
			<-ctx.Done()
			return ctx.Err()
		}
	})
	c.configure(t, `{}`)
	s := c.open(t)
	send(t, s, window(1, 0))
	<-inside
	if _, err := c.Stop(t.Context(), &netmonpb.StopRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Canceled {
		t.Fatalf("stream: %v", err)
	}
	wantLog(t, c, "start a", "a: window 1 of 0 rows", "stop a")
}

func TestStuckExportEndsTheProcess(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	c := connect(t, func(e *script) {
		e.export = func(context.Context, *netmonpb.Window) error {
			<-release
			return nil
		}
	})
	c.service.calling = 20 * time.Millisecond
	c.configure(t, `{}`)
	send(t, c.open(t), window(1, 0))
	select {
	case <-c.aborted:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody noticed")
	}
}

func TestSecondStreamWaitsForTheFirst(t *testing.T) {
	inside := make(chan struct{}, 2)
	c := connect(t, func(e *script) {
		e.export = func(ctx context.Context, w *netmonpb.Window) error {
			if w.Sequence > 1 {
				return nil
			}
			inside <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
	})
	c.configure(t, `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	first, err := c.Export(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send(t, first, window(1, 0))
	<-inside
	second := c.open(t)
	send(t, second, window(2, 0))
	cancel()
	wantAnswer(t, second, acknowledge(2))
}

func TestReconfigure(t *testing.T) {
	busy := map[string]error{}
	c := connect(t, func(e *script) {
		e.start = func(e *script) error { return busy[e.config.Name] }
	})
	c.configure(t, `{"name":"a"}`)
	s := c.open(t)
	send(t, s, window(1, 0))
	wantAnswer(t, s, acknowledge(1))

	// A configuration that will not do changes nothing.
	busy["b"] = errors.Join(
		&Problem{Path: []string{"name"}, Summary: "Bad name", Detail: "No b."},
		&Problem{Summary: "Old style", Warning: true})
	a := c.configure(t, `{"name":"b"}`)
	if len(a.Diagnostics) != 2 || a.Diagnostics[0].Summary != "Bad name" || a.Diagnostics[0].Path[0] != "name" ||
		a.Diagnostics[1].Severity != netmonpb.Severity_SEVERITY_WARNING {
		t.Fatalf("%v", a.Diagnostics)
	}
	send(t, s, window(2, 0))
	wantAnswer(t, s, acknowledge(2))

	// Warnings alone are no reason to refuse; the stream of the old one ends.
	busy["c"] = &Problem{Summary: "Old style", Warning: true}
	if a := c.configure(t, `{"name":"c"}`); len(a.Diagnostics) != 1 {
		t.Fatalf("%v", a.Diagnostics)
	}
	send(t, s, window(3, 0))
	if _, err := s.Recv(); err != io.EOF {
		t.Fatalf("stream of the replaced exporter: %v", err)
	}
	s = c.open(t)
	send(t, s, window(3, 0))
	wantAnswer(t, s, acknowledge(3))

	wantLog(t, c, "start a", "a: window 1 of 0 rows", "start b", "a: window 2 of 0 rows",
		"start c", "stop a", "c: window 3 of 0 rows")
}

func TestReconfigureOnTheSameAddress(t *testing.T) {
	held, refuse := false, false
	c := connect(t, func(e *script) {
		e.start = func(e *script) error {
			switch {
			case held && e.config.Name == "b":
				held = false // the next attempt comes after the stop of a
				return &Problem{Path: []string{"listen"}, Summary: "Cannot listen", Cause: syscall.EADDRINUSE}
			case refuse && e.config.Name == "b":
				return errors.New("no")
			}
			return nil
		}
	})
	c.configure(t, `{"name":"a"}`)
	held, refuse = true, true
	if a := c.configure(t, `{"name":"b"}`); len(a.Diagnostics) != 1 || a.Diagnostics[0].Summary != "no" {
		t.Fatalf("%v", a.Diagnostics)
	}
	held, refuse = true, false
	if a := c.configure(t, `{"name":"b"}`); len(a.Diagnostics) != 0 {
		t.Fatalf("%v", a.Diagnostics)
	}
	wantLog(t, c, "start a", "start b", "stop a", "start b", "start a", // refused: a again
		"start b", "stop a", "start b")
}

func TestBadConfiguration(t *testing.T) {
	c := connect(t, nil)
	for _, config := range []string{`{"nam":"b"}`, `{"name":5}`, `{`, `[]`} {
		v, err := c.Validate(t.Context(), &netmonpb.ValidateRequest{Config: &netmonpb.Config{Json: []byte(config)}})
		if err != nil || !refused(v.Diagnostics) {
			t.Errorf("validate %s: %v, %v", config, v, err)
		}
		if a := c.configure(t, config); !refused(a.Diagnostics) {
			t.Errorf("configure %s: %v", config, a)
		}
	}
	s := c.open(t)
	send(t, s, window(1, 0))
	if _, err := s.Recv(); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("export without an exporter: %v", err)
	}
	wantLog(t, c)
}

func TestPartsThatDoNotFit(t *testing.T) {
	open := window(1, 1)
	open.More = true
	for name, rest := range map[string]*netmonpb.ExportRequest{
		"other sequence": window(2, 1), "other kind": snapshot(1), "nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, nil)
			c.configure(t, `{}`)
			s := c.open(t)
			send(t, s, open, rest)
			if _, err := s.Recv(); status.Code(err) != codes.InvalidArgument {
				t.Fatalf("%v", err)
			}
		})
	}
}

func TestIdle(t *testing.T) {
	c := connect(t, nil)
	if c.service.idle() != 0 {
		t.Fatal("idle before Configure")
	}
	c.configure(t, `{}`)
	if c.service.idle() == 0 {
		t.Fatal("not idle without a stream")
	}
	s := c.open(t)
	send(t, s, window(1, 0))
	wantAnswer(t, s, acknowledge(1))
	if c.service.idle() != 0 {
		t.Fatal("idle with a stream")
	}
	_ = s.CloseSend()
	if _, err := s.Recv(); err != io.EOF {
		t.Fatal(err)
	}
	if c.service.idle() == 0 {
		t.Fatal("not idle after the stream")
	}
}

func TestProblemIsAnError(t *testing.T) {
	p := &Problem{Summary: "Bad", Detail: "Very.", Cause: io.EOF}
	if p.Error() != "Bad: Very." || !errors.Is(p, io.EOF) {
		t.Fatal(p)
	}
	ds := diagnosticsOf(fmt.Errorf("start: %w", p))
	if len(ds) != 1 || ds[0].Summary != "start: Bad: Very." || ds[0].Detail != "" {
		t.Fatal(ds)
	}
}

func TestExplain(t *testing.T) {
	var out strings.Builder
	explain(&out, Plugin{Type: "script", Version: "1.0", Summary: "Does as it is told.", New: func() Exporter { return &script{} }})
	for _, want := range []string{"netmon-exporter-script 1.0: Does as it is told\n", "not started by hand",
		"exporter \"script\" {", "name = \"\" # Name of the instance.\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
}

func TestMainByHand(t *testing.T) {
	var got []string
	code := Main(Plugin{Type: "script", Standalone: func(args []string) int { got = args; return 7 }})
	if code != 7 || len(got) != len(os.Args)-1 {
		t.Fatalf("%d, %q", code, got)
	}
}
