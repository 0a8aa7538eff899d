package plugintest

import (
	"context"
	"fmt"
	"testing"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// counter is an exporter with state that is strict about what it is sent.
type counter struct {
	Step uint64 `netmon:"step,min=1,max=1" doc:"How far one window goes."`
	Name string `netmon:"name,enum=a|b" doc:"What it is called."`
	at   uint64
	rows int
}

func (c *counter) Config() any { return c }

func (c *counter) Start(_ context.Context, h plugins.Host) error {
	if len(h.LogID) != 16 || h.SensorID == "" || h.Interval == 0 || h.BaseDir == "" {
		return fmt.Errorf("host %+v", h)
	}
	return nil
}

func (c *counter) Install(_ context.Context, s *netmonpb.Snapshot) error {
	c.at, c.rows = s.Sequence, len(s.Rows)
	return nil
}

func (c *counter) Export(_ context.Context, w *netmonpb.Window) error {
	if w.Sequence > c.at+c.Step {
		return &plugins.Rewind{After: c.at, Cause: "a gap"}
	}
	c.at = max(c.at, w.Sequence)
	c.rows += len(w.Rows)
	return nil
}

func (c *counter) Stop(context.Context) error { return nil }

func TestRun(t *testing.T) {
	Suite{
		New:    func() plugins.Exporter { return &counter{Step: 1, Name: "a"} },
		Config: `{"name":"b"}`,
		Bad:    map[string]string{"a name that is a number": `{"name":5}`},
	}.Run(t)
}
