// Package plugintest checks that an exporter keeps the contract of the SDK. A
// third party runs it from a test of its own:
//
//	func TestContract(t *testing.T) {
//		plugintest.Run(t, func() plugins.Exporter { return newExporter(t.TempDir()) })
//	}
//
// The exporter is served in the test's process and spoken to over a connection,
// as a sensor would.
package plugintest

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// patience bounds every call of the suite: a contract that takes longer is broken.
const patience = 20 * time.Second

// Run checks an exporter that works with its default configuration. newExporter
// is called for every instance; what it writes and where it listens must not
// depend on the machine.
func Run(t *testing.T, newExporter func() plugins.Exporter) {
	Suite{New: newExporter}.Run(t)
}

// Suite is an exporter that needs more to be said.
type Suite struct {
	New func() plugins.Exporter
	// Config is a configuration that works, as JSON; "" is the defaults.
	Config string
	// Bad holds configurations, as JSON, that must be refused, by why.
	Bad map[string]string
}

// Run checks the exporter.
func (s Suite) Run(t *testing.T) {
	if s.Config == "" {
		s.Config = "{}"
	}
	for _, check := range []struct {
		name string
		run  func(*peer)
	}{
		{"describe", describe},
		{"validate", validate},
		{"bad configuration", badConfiguration},
		{"export", export},
		{"repeats", repeats},
		{"large window", largeWindow},
		{"snapshot", snapshotAndOn},
		{"configure twice", configureTwice},
		{"stop with data held", stopWithDataHeld},
		{"stop unconfigured", stopUnconfigured},
	} {
		t.Run(check.name, func(t *testing.T) {
			check.run(connect(t, s))
		})
	}
}

// peer is the sensor's side of a connection to the exporter.
type peer struct {
	netmonpb.ExporterServiceClient
	*testing.T
	ctx       context.Context
	suite     Suite
	described *netmonpb.DescribeResponse
}

func connect(t *testing.T, s Suite) *peer {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(plugins.MaxMessage))
	stop := plugins.Register(server, plugins.Plugin{Type: "test", Version: "0", Summary: "under test", New: s.New},
		hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug}))
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:exporter",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(func() {
		if err := stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		_ = conn.Close()
		server.Stop()
		cancel()
	})
	p := &peer{ExporterServiceClient: netmonpb.NewExporterServiceClient(conn), T: t, ctx: ctx, suite: s}
	if p.described, err = p.Describe(ctx, &netmonpb.DescribeRequest{}); err != nil {
		t.Fatalf("describe: %v", err)
	}
	return p
}

func describe(p *peer) {
	checkBlock(p, "", p.described.Schema)
}

func checkBlock(p *peer, path string, b *netmonpb.Block) {
	for _, a := range b.GetAttributes() {
		if a.Description == "" {
			p.Errorf("option %s%s has no description", path, a.Name)
		}
		if a.DefaultJson != "" && !json.Valid([]byte(a.DefaultJson)) {
			p.Errorf("option %s%s: its default is no JSON: %s", path, a.Name, a.DefaultJson)
		}
	}
	for _, n := range b.GetBlocks() {
		checkBlock(p, path+n.Type+".", n.Block)
	}
}

func validate(p *peer) {
	for range 2 {
		p.noErrors("validate", p.validate(p.suite.Config))
	}
}

func (p *peer) validate(config string) []*netmonpb.Diagnostic {
	p.Helper()
	answer, err := p.Validate(p.ctx, &netmonpb.ValidateRequest{Config: &netmonpb.Config{Json: []byte(config)}})
	if err != nil {
		p.Fatalf("validate: %v", err)
	}
	return answer.Diagnostics
}

func (p *peer) configure(config string) *netmonpb.ConfigureResponse {
	p.Helper()
	answer, err := p.Configure(p.ctx, &netmonpb.ConfigureRequest{
		Config:   &netmonpb.Config{Json: []byte(config), BaseDir: p.TempDir()},
		SensorId: "plugintest",
		LogId:    logID(),
		Interval: durationpb.New(5 * time.Second),
	})
	if err != nil {
		p.Fatalf("configure: %v", err)
	}
	return answer
}

func failed(ds []*netmonpb.Diagnostic) bool {
	for _, d := range ds {
		if d.Severity != netmonpb.Severity_SEVERITY_WARNING {
			return true
		}
	}
	return false
}

func (p *peer) noErrors(what string, ds []*netmonpb.Diagnostic) {
	p.Helper()
	if failed(ds) {
		p.Fatalf("%s: %v", what, ds)
	}
}

// badConfiguration is refused with the place of the mistake, and an exporter that
// runs goes on.
func badConfiguration(p *peer) {
	p.noErrors("configure", p.configure(p.suite.Config).Diagnostics)
	s := p.open()
	after := s.begin()
	bad := map[string]string{"an unknown option": `{"no_such_option_as_this": 1}`}
	for why, config := range p.suite.Bad {
		bad[why] = config
	}
	for why, config := range bad {
		for call, ds := range map[string][]*netmonpb.Diagnostic{
			"validate": p.validate(config), "configure": p.configure(config).Diagnostics,
		} {
			if !failed(ds) {
				p.Errorf("%s accepts %s: %s", call, why, config)
			}
			for _, d := range ds {
				if len(d.Path) == 0 || d.Summary == "" {
					p.Errorf("%s, %s: the problem has no place: %v", call, why, d)
				}
			}
		}
	}
	s.window(after+1, 2)
	s.acknowledged(after + 1)
}

func export(p *peer) {
	p.noErrors("configure", p.configure(p.suite.Config).Diagnostics)
	s := p.open()
	after := s.begin()
	for n := after + 1; n <= after+20; n++ {
		s.window(n, int(n)%3) // a window may be empty
		s.acknowledged(n)
	}
	s.close()
	if _, err := p.Flush(p.ctx, &netmonpb.FlushRequest{}); err != nil {
		p.Errorf("flush: %v", err)
	}
	for range 2 {
		if _, err := p.Stop(p.ctx, &netmonpb.StopRequest{}); err != nil {
			p.Errorf("stop: %v", err)
		}
	}
}

// repeats sends windows again, as a sensor does that died before it could note the
// acknowledgement.
func repeats(p *peer) {
	p.noErrors("configure", p.configure(p.suite.Config).Diagnostics)
	for range 3 {
		s := p.open()
		after := s.begin()
		for n := after + 1; n <= after+3; n++ {
			s.window(n, 2)
		}
		s.acknowledged(after + 3)
		s.close()
	}
}

func largeWindow(p *peer) {
	p.noErrors("configure", p.configure(p.suite.Config).Diagnostics)
	s := p.open()
	after := s.begin()
	for part := range 10 {
		w := window(after+1, 5000)
		s.send(&netmonpb.ExportRequest{Item: &netmonpb.ExportRequest_Window{Window: w}, More: part < 9})
	}
	s.acknowledged(after + 1)
}

// snapshotAndOn is a snapshot in the middle, for a cursor that was overtaken.
func snapshotAndOn(p *peer) {
	if !p.described.WantsSnapshot {
		p.Skip("the exporter takes no snapshots")
	}
	p.noErrors("configure", p.configure(p.suite.Config).Diagnostics)
	s := p.open()
	after := s.begin()
	s.window(after+1, 2)
	s.acknowledged(after + 1)
	s.snapshot(100)
	s.acknowledged(100)
	s.window(101, 2)
	s.acknowledged(101)
}

func configureTwice(p *peer) {
	for range 2 {
		p.noErrors("configure", p.configure(p.suite.Config).Diagnostics)
		s := p.open()
		after := s.begin()
		s.window(after+1, 2)
		s.acknowledged(after + 1)
		s.close()
	}
}

// stopWithDataHeld does not wait for acknowledgements; connect's clean-up checks
// that the exporter ends all the same.
func stopWithDataHeld(p *peer) {
	p.noErrors("configure", p.configure(p.suite.Config).Diagnostics)
	s := p.open()
	after := s.begin()
	for n := after + 1; n <= after+4; n++ {
		s.window(n, 1000)
	}
	began := time.Now()
	if _, err := p.Stop(p.ctx, &netmonpb.StopRequest{}); err != nil {
		p.Errorf("stop: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		p.Errorf("stop took %v; the sensor kills after 5s", took)
	}
}

func stopUnconfigured(p *peer) {
	if _, err := p.Stop(p.ctx, &netmonpb.StopRequest{}); err != nil {
		p.Errorf("stop: %v", err)
	}
}
