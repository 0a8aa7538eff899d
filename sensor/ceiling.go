package sensor

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// ceiling is what the sensor's memory may come to where every bound is reached at
// once, part by part. Traffic cannot make it more. Exporters are programs of their
// own and not in it.
type ceiling []part

type part struct {
	name  string
	bytes int64
}

const (
	// goBase is for the program itself: code, stacks, connections to exporters, the
	// status listener.
	goBase = 64 << 20

	// goShare is the collector's room to work in, as a part of what it looks after.
	goShare = 4
)

// ceilingOf computes it from the configuration, without opening anything.
func ceilingOf(cfg *config.Config) ceiling {
	shards, rings := capture.Plan(cfg.Capture.Shards, int64(cfg.Capture.RingMemory))
	n, flows := int64(shards), max(cfg.Capture.MaxFlows/shards, 1)
	limits := names.DefaultLimits()
	views := view.Options{MaxRows: cfg.Views.MaxRows, IdleTimeout: cfg.Views.IdleTimeout}
	rows := view.Rows(views) * view.RowBytes

	log := 4 * rows // the sums, those handed out, and the newest window with its ending rows
	if cfg.Sensor.StateDir == "" {
		log += int64(cfg.Sensor.LogMaxBytes)
	} else {
		log += rows // what waits for the disk, added up
	}
	slots := 2 * n * int64(flows)
	heap := ceiling{
		{"flow tables", n * flow.Ceiling(flows)},
		{"harvests", n * harvests * (flow.RecordsCeiling(flows) + limits.HarvestCeiling())},
		{"heads, streams, DNS transactions", n * (limits.Ceiling(4*int64(flows)) + limits.HarvestCeiling())},
		{"names", names.BookCeiling(maxNames(cfg)) + (2*slots+n*pieceLength)*int64(unsafe.Sizeof(flowName{})) +
			names.Grown((slots+mergeBound)*int64(unsafe.Sizeof(birth{}))+n*int64(limits.Facts)*int64(unsafe.Sizeof(factRef{})))},
		{"clients, accesses", names.MapBytes(maxAccesses, unsafe.Sizeof(accessKey{})+8) + names.MapBytes(maxClients, 16+unsafe.Sizeof(use{}))},
		{"views", view.Ceiling(views) + 3*rows}, // the window in the making, and its encoding
		{"log", log},
		{"status page", view.Figures(views) * view.RowBytes},
		{"Go", goBase},
	}
	heap[len(heap)-1].bytes += heap.total() / goShare
	return append(ceiling{{"rings", rings}}, heap...)
}

// maxNames bounds the addresses that the book knows names for.
func maxNames(cfg *config.Config) int { return min(max(cfg.Capture.MaxFlows, 1<<14), 1<<20) }

func (c ceiling) total() (sum int64) {
	for _, p := range c {
		sum += p.bytes
	}
	return sum
}

// print shows the parts, then their sum.
func (c ceiling) print(w io.Writer) {
	fmt.Fprintln(w, "Memory where every bound is reached, in MiB:")
	for _, p := range append(c[:len(c):len(c)], part{"in all", c.total()}) {
		fmt.Fprintf(w, "  %-34s %7.1f\n", p.name, float64(p.bytes)/(1<<20))
	}
}

// check returns an error that points at the limit which the ceiling exceeds.
func (c ceiling) check(cfg *config.Config) error {
	limit := int64(cfg.Sensor.MemoryLimit)
	if limit == 0 || c.total() <= limit {
		return nil
	}
	largest := c[0]
	for _, p := range c {
		if p.bytes > largest.bytes && p.name != "Go" {
			largest = p
		}
	}
	return configError{cfg.MemoryLimitError(fmt.Sprintf(
		"Where every bound is reached the sensor takes %d MiB, most of it (%d MiB) for %s. "+
			"Lower max_flows, max_rows, ring_memory, shards or log_max_bytes, or raise the limit; -check-config prints the parts.",
		(c.total()-1)>>20+1, largest.bytes>>20, largest.name))}
}

// apply has the collector keep what it looks after below the ceiling, so that
// garbage does not come on top. GOMEMLIMIT in the environment goes before.
func (c ceiling) apply() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(c.total() - c[0].bytes)
	}
}
