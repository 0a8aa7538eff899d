package sensor

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
	"github.com/netmon-sensor/netmon/sensor/internal/windowlog"
)

// ReplayOptions says what to read and what to do with it.
type ReplayOptions struct {
	Path    string
	Shards  int            // the result does not depend on it
	Config  *config.Config // its filters hold, and its exporters get the windows; nil: neither
	Flows   bool           // print every flow, not only the sums
	Explain string         // print why, not what: of a name, an address or a flow, or "undecoded"
	Version string
	Logger  hclog.Logger

	cut int // packets after which an epoch is handed over in part; 0: replayCut
}

// Replay runs a capture file through the same shards and the same join as live
// packets, and prints the result on w as JSON of the schema netmon-replay/1. It
// returns an error without printing anything when the file is no capture;
// damage further on is logged, and what stood before it is printed.
func Replay(ctx context.Context, w io.Writer, o ReplayOptions) error {
	var asked *query
	switch o.Explain {
	case "":
	case explainFrames:
		return explainUndecoded(ctx, w, o)
	default:
		var err error
		if asked, err = newQuery(o.Explain); err != nil {
			return err
		}
	}
	file, err := capture.OpenFile(o.Path, o.Shards, pick(o.Shards))
	if err != nil {
		return err
	}
	cfg := o.Config
	if cfg == nil {
		cfg = new(config.Default())
		cfg.Filter = config.Filter{}
	}
	p, err := newPipeline(o.Shards, cfg)
	if err != nil {
		return err
	}
	p.wait = true
	p.join.book, p.join.clients.max = names.NewBook(0), 0
	p.join.report = newReport(o.Shards, o.Flows || asked != nil)
	if asked != nil {
		p.join.evidence = newEvidence(asked.wanted())
	}
	if o.Config != nil {
		p.check = captureFilter(cfg)
	}
	drain, err := p.exportTo(ctx, o)
	if err != nil {
		return err
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	g, reading := errgroup.WithContext(reading)
	// What only adds up needs no flow before it ends. Several shards have no common
	// place to cut an epoch but its end.
	table := flow.Options{HoldNS: int64(holdTime), KeepIdle: true, Whole: !p.join.tells()}
	for i, src := range file.Sources() {
		sh := p.shard(i, src, sides{home: cfg.Capture.HomeNetworks}, names.ReplayLimits(), table)
		if sh.whole = table.Whole; sh.whole && o.Shards == 1 {
			sh.cut = cmp.Or(o.cut, replayCut)
		}
		g.Go(func() error { return sh.run(reading) })
	}
	err = p.join.run(p.in, stop)
	err = errors.Join(err, g.Wait(), drain())
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("replay of %s was interrupted", o.Path)
	}
	logDamage(file, o)
	if asked != nil {
		return explain(w, asked, p.join, file)
	}
	return p.join.report.write(w, p.join.book.Name, file, o.Flows)
}

func logDamage(file *capture.File, o ReplayOptions) {
	if damage := file.Damage(); damage != nil {
		o.Logger.Error("the capture is damaged; what stands before the damage was read", "file", o.Path, "error", damage)
	}
}

// exportTo sends the windows of a replay to the exporters of the config, if
// there is one and what is asked for is not an explanation. The function it returns waits until they have them all.
func (p *pipeline) exportTo(ctx context.Context, o ReplayOptions) (func() error, error) {
	if o.Config == nil || o.Explain != "" {
		return func() error { return nil }, nil
	}
	log := windowlog.NewMemory(windowlog.MemoryOptions{SensorID: o.Config.Sensor.ID})
	sinks, err := openSinks(o.Config, o.Version, o.Logger, log, pluginHost{})
	if err != nil || len(sinks) == 0 {
		return func() error { return nil }, err
	}
	var g errgroup.Group
	for _, sink := range sinks {
		if err := sink.refused(sink.Start(ctx)); err != nil {
			return nil, err
		}
		g.Go(func() error { return sink.Run(ctx) })
	}
	p.join.publish = func(start, end int64, rows []*netmonpb.Row) error {
		return log.Append(&netmonpb.Window{StartNs: uint64(start), EndNs: uint64(end), Rows: rows})
	}
	return func() error {
		log.Close()
		return g.Wait()
	}, nil
}

// pick spreads the frames of a file over shards as the kernel's fanout does: both
// directions of a flow, and all fragments of a packet, go to one shard.
func pick(shards int) func(link uint16, frame []byte, wire uint32) int {
	if shards == 1 {
		return nil
	}
	return func(link uint16, frame []byte, wire uint32) int {
		var h packet.Header
		if h.Decode(packet.Link(link), frame, wire) != packet.Decoded {
			return 0
		}
		fold := binary.LittleEndian.Uint64(h.Src[:8]) + binary.LittleEndian.Uint64(h.Dst[:8]) +
			binary.LittleEndian.Uint64(h.Src[8:]) + binary.LittleEndian.Uint64(h.Dst[8:])
		fold *= 0x9E3779B97F4A7C15
		return int(fold >> 32 % uint64(shards))
	}
}
