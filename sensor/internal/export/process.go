package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	goplugrunner "github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// maxAnswer bounds a message from a plugin, in bytes.
const maxAnswer = 1 << 20

// ErrNoAnswer is in the error of Start for a plugin that hangs. Another attempt may
// do better.
var ErrNoAnswer = errors.New("no answer")

// limits is how long the sensor waits for a plugin.
type limits struct {
	start         time.Duration // from exec to the answer of Describe
	validate      time.Duration
	configure     time.Duration // an exporter may look for its server
	flush         time.Duration
	stop          time.Duration
	exit          time.Duration // from the answer to Stop to the exit
	abandon       time.Duration // to stop what did not get everything in time
	healthEvery   time.Duration
	healthTimeout time.Duration
}

func defaultLimits() limits {
	return limits{
		start:         10 * time.Second,
		validate:      10 * time.Second,
		configure:     30 * time.Second,
		flush:         10 * time.Second,
		stop:          5 * time.Second,
		exit:          2 * time.Second,
		abandon:       time.Second,
		healthEvery:   10 * time.Second,
		healthTimeout: 5 * time.Second,
	}
}

// process is a running plugin. It belongs to the goroutine of its Sink, but for
// watch, which only kills.
type process struct {
	rpc       netmonpb.ExporterServiceClient
	client    *goplugin.Client
	runner    *runner
	health    grpc_health_v1.HealthClient
	described *netmonpb.DescribeResponse
	limits    limits

	ctx context.Context // ends with the process
	end context.CancelCauseFunc

	held   uint64 // what the exporter said it holds
	listen []string
	link   *link // the open Export stream

	release sync.Once
}

// link is an Export stream and the way to end it.
type link struct {
	stream netmonpb.ExporterService_ExportClient
	cancel context.CancelFunc
}

// launch starts the plugin and asks who it is. The caller must kill or stop what
// it returns.
func launch(ctx context.Context, o Options, l limits, logger hclog.Logger) (*process, error) {
	p, err := prepare(o, l, logger)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.start, fmt.Errorf("%w within %v", ErrNoAnswer, l.start))
	defer cancel()
	// go-plugin's calls take no context, and wait for what a dead process settles.
	defer context.AfterFunc(ctx, p.runner.kill)()
	if err := p.connect(ctx, o); err != nil {
		p.kill(err)
		return nil, fmt.Errorf("start plugin %s: %w", o.Path, err)
	}
	return p, nil
}

// prepare checks what can be checked before the start.
func prepare(o Options, l limits, logger hclog.Logger) (*process, error) {
	if o.Launcher == nil { // else it does so, with rights that we may not have
		if err := errors.Join(inspect(o.Path), verify(o.Path, o.Path, o.Checksum)); err != nil {
			return nil, err
		}
	}
	dir, err := runtimeDir(o)
	if err != nil {
		return nil, fmt.Errorf("directory for the socket of plugin %s: %w", o.Path, err)
	}
	r, err := newRunner(o, logger)
	if err != nil {
		return nil, err
	}
	p := &process{runner: r, limits: l}
	p.ctx, p.end = context.WithCancelCause(context.Background())
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  plugins.Handshake(),
		Plugins:          goplugin.PluginSet{plugins.ServiceName: &goplugin.NetRPCUnsupportedPlugin{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     2 * l.start, // ours comes first, and says more
		Logger:           quiet{logger},
		UnixSocketConfig: r.sockets(dir),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (goplugrunner.Runner, error) {
			r.env, r.dir = append(r.env, cmd.Env...), dir
			return r, nil
		},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		},
	})
	return p, nil
}

func (r *runner) sockets(dir string) *goplugin.UnixSocketConfig {
	c := &goplugin.UnixSocketConfig{TempDir: dir}
	if r.account != nil {
		c.Group = strconv.FormatUint(uint64(r.account.GID), 10)
	}
	return c
}

func (p *process) connect(ctx context.Context, o Options) error {
	if _, err := p.client.Start(); err != nil {
		return p.explainStart(ctx, err)
	}
	context.AfterFunc(p.ctx, p.runner.kill)
	go func() {
		<-p.runner.done
		p.end(p.runner.death())
	}()
	protocol, err := p.client.Client()
	if err != nil {
		return p.explain(ctx, err)
	}
	conn := protocol.(*goplugin.GRPCClient).Conn
	p.rpc = netmonpb.NewExporterServiceClient(conn)
	p.health = grpc_health_v1.NewHealthClient(conn)
	p.described, err = p.rpc.Describe(ctx, &netmonpb.DescribeRequest{HostVersion: o.Version})
	if err != nil {
		return p.explain(ctx, err)
	}
	if p.described.Type != o.Type {
		return fmt.Errorf("it is the exporter %q, not %q", clean(p.described.Type), o.Type)
	}
	go p.watch(o.failed)
	return nil
}

// watch kills a process that does not answer, because it is frozen or swapped
// out. An exporter that waits for its server does answer. What it says of failures is
// told on, what is new of it.
func (p *process) watch(failed func(reason string, n uint64)) {
	told := map[string]uint64{}
	tick := time.NewTicker(p.limits.healthEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(p.ctx, p.limits.healthTimeout)
		_, err := p.health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
		if err != nil {
			p.end(fmt.Errorf("the plugin does not answer health checks: %s", clean(status.Convert(err).Message())))
		}
		// One of an older SDK does not know the call.
		if counts, err := p.rpc.Failures(ctx, &netmonpb.FailuresRequest{}); err == nil && len(counts.ByReason) <= maxReasons {
			for reason, n := range counts.ByReason {
				if n > told[reason] && isReason(reason) {
					failed(reason, n-told[reason])
					told[reason] = n
				}
			}
		}
		cancel()
	}
}

// maxReasons of failures are told apart, of one exporter.
const maxReasons = 32

func isReason(text string) bool {
	return text != "" && len(text) <= 32 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// configure hands the settings to the exporter and opens the stream.
func (p *process) configure(ctx context.Context, o Options, logID, body []byte) ([]*netmonpb.Diagnostic, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.limits.configure, fmt.Errorf("%w to Configure within %v", ErrNoAnswer, p.limits.configure))
	defer cancel()
	answer, err := p.rpc.Configure(ctx, &netmonpb.ConfigureRequest{
		Config:   &netmonpb.Config{Name: o.Name, Json: body, BaseDir: o.BaseDir},
		SensorId: o.SensorID,
		LogId:    bytes.Clone(logID),
		Interval: durationpb.New(o.Interval),
	})
	if err != nil {
		return nil, p.explain(ctx, err)
	}
	p.held, p.listen = answer.Held, answer.ListenAddresses
	for i := range p.listen {
		p.listen[i] = clean(p.listen[i])
	}
	return answer.Diagnostics, nil
}

// open opens an Export stream. An exporter without one soon takes its sensor for
// gone.
func (p *process) open() error {
	ctx, cancel := context.WithCancel(p.ctx)
	stream, err := p.rpc.Export(ctx)
	if err != nil {
		cancel()
		return fmt.Errorf("open the stream of windows: %w", p.explain(p.ctx, err))
	}
	p.link = &link{stream, cancel}
	return nil
}

// stop lets the exporter end in its own way, within ctx and the bounds above, and
// then makes sure that it did.
func (p *process) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.limits.stop)
	defer cancel()
	_, err := p.rpc.Stop(ctx, &netmonpb.StopRequest{})
	if err != nil {
		err = fmt.Errorf("stop: %s", clean(status.Convert(err).Message()))
		p.kill(err)
		return err
	}
	// go-plugin asks it to exit, and waits for the answer without a limit.
	defer time.AfterFunc(p.limits.exit, p.runner.kill).Stop()
	p.cleanUp()
	p.end(errStopped)
	return nil
}

var errStopped = errors.New("stopped")

// kill ends the process and its group at once.
func (p *process) kill(cause error) {
	p.end(cause)
	p.runner.kill()
	p.cleanUp()
}

// cleanUp waits for the process to be gone and frees what it had. A process that
// the kernel cannot kill, because it waits for a dead disk, is left to itself.
func (p *process) cleanUp() {
	freed := make(chan struct{})
	p.release.Do(func() {
		go func() {
			defer close(freed)
			p.client.Kill()
			if p.runner.dir != "" {
				_ = os.RemoveAll(p.runner.dir)
			}
		}()
		select {
		case <-freed:
		case <-time.After(p.limits.stop):
		}
	})
}

// quiet is a logger for go-plugin, whose every warning is said better by us.
type quiet struct{ hclog.Logger }

func (q quiet) Debug(msg string, args ...any) { q.Trace(msg, args...) }
func (q quiet) Info(msg string, args ...any)  { q.Trace(msg, args...) }
func (q quiet) Warn(msg string, args ...any)  { q.Trace(msg, args...) }
func (q quiet) Error(msg string, args ...any) { q.Trace(msg, args...) }

func (q quiet) Named(name string) hclog.Logger   { return quiet{q.Logger.Named(name)} }
func (q quiet) With(args ...any) hclog.Logger    { return quiet{q.Logger.With(args...)} }
func (q quiet) ResetNamed(s string) hclog.Logger { return quiet{q.Logger.ResetNamed(s)} }
