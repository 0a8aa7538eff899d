package plugins

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	// orphanAfter is how long a configured exporter goes without a stream before
	// it takes its sensor for gone.
	orphanAfter = 10 * time.Second
	orphanCheck = time.Second
)

// host runs p under a sensor until that asks it to end, or is gone.
func host(p Plugin) int {
	stdout, err := takeStdout()
	if err != nil {
		fmt.Fprintf(os.Stderr, "take standard output for the handshake: %v\n", err)
		return 1
	}
	// A terminal or a service manager signals the whole group; it is the sensor
	// that says when its exporters end, after the last window. Not Ignore: that
	// would be inherited by what the exporter starts.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)

	stderr := os.Stderr
	logger := hclog.New(&hclog.LoggerOptions{
		Level:      hclog.LevelFromString(os.Getenv(LogLevelEnv)),
		Output:     stderr,
		JSONFormat: true,
	})
	s := newService(p, logger, func(reason string) {
		logger.Error("exporter is stuck, its process ends", "cause", reason)
		os.Exit(1)
	})
	go s.watchHost(os.Getppid())

	restore := sync.OnceFunc(func() {
		// go-plugin put pipes here that block when nobody reads the other end.
		os.Stdout, os.Stderr = stderr, stderr
		_ = stdout.Close()
	})
	os.Stdout = stdout // go-plugin prints the handshake there
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: Handshake(),
		Plugins:         goplugin.PluginSet{ServiceName: &served{service: s}},
		// go-plugin tells of its own working on every start.
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: stderr, JSONFormat: true}),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options,
				grpc.MaxRecvMsgSize(MaxMessage),
				grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					restore()
					return next(ctx, req)
				}),
				grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
					restore()
					return next(srv, stream)
				}))...)
		},
	})
	s.shutdownIn(stopTimeout)
	return 0
}

// takeStdout keeps the pipe of the handshake for go-plugin alone: from here on
// whatever is printed, by Go, C or a child process, goes to standard error. One
// line too many in that pipe would be taken for the handshake, and later ones
// would fill it until the exporter blocks.
func takeStdout() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(unix.Stdout), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.Dup3(unix.Stderr, unix.Stdout, 0); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "handshake"), nil
}

// watchHost ends the process when the sensor is gone: its parent is another, or
// no stream was open for a while. The kernel mostly is faster (the sensor asks
// for a death signal); this holds where it is not.
func (s *service) watchHost(parent int) {
	for range time.Tick(orphanCheck) {
		idle := s.idle()
		if os.Getppid() == parent && idle < orphanAfter {
			continue
		}
		s.logger.Warn("the sensor is gone, the exporter ends", "without_stream", idle)
		s.shutdownIn(stopTimeout)
		os.Exit(0)
	}
}

func (s *service) shutdownIn(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := s.shutdown(ctx); err != nil {
		s.logger.Warn("exporter did not stop well", "error", err)
	}
}

// served hands the service to go-plugin.
type served struct {
	goplugin.NetRPCUnsupportedPlugin
	service *service
}

func (p *served) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	netmonpb.RegisterExporterServiceServer(s, p.service)
	return nil
}

func (p *served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("an exporter does not host exporters")
}
