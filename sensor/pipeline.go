package sensor

import (
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// pipeline is what live capture and replay share: shards that feed a join.
type pipeline struct {
	join *join
	in   chan *harvest
	wait bool

	check    *capture.Filter
	loopback func(uint16) bool
	mtu      func(uint16) int
}

func newPipeline(shards int, cfg *config.Config) (*pipeline, error) {
	filter, err := newNameFilter(cfg.Filter.OnlyDomains, cfg.Filter.IgnoreDomains)
	if err != nil {
		return nil, err
	}
	j := &join{
		pending: make([][]*harvest, shards), final: make([]bool, shards),
		flows: make([]pieces[flowName], shards), tables: make([]flow.Stats, shards),
		book:     names.NewBook(maxNames(cfg)),
		views:    view.New(view.Options{MaxRows: cfg.Views.MaxRows, IdleTimeout: cfg.Views.IdleTimeout}),
		accesses: accesses{last: map[accessKey]int64{}},
		clients:  clients{uses: map[[16]byte]use{}, max: maxClients},
		filter:   filter,
		window:   int64(cfg.Sensor.Interval),
		ifaces:   func(uint16) string { return "" },
	}
	p := &pipeline{join: j, in: make(chan *harvest, shards*harvests)}
	for range shards {
		free := make(chan *harvest, harvests)
		for range harvests {
			free <- new(harvest)
		}
		j.free = append(j.free, free)
	}
	return p, nil
}

// harvests is how many epochs a shard may be ahead of the join before its epoch
// grows.
const harvests = 2

func (p *pipeline) shard(id int, src capture.Source, sides sides, limits names.Limits, table flow.Options) *shard {
	return &shard{
		id: id, src: src, flows: flow.New(table), observer: names.NewObserver(limits), sides: sides,
		check: p.check, loopback: p.loopback, mtu: p.mtu, interval: p.join.window, free: p.join.free[id], out: p.in, wait: p.wait,
	}
}
