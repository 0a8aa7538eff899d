package server

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// bigWindow has rows rows, always of the same keys.
func bigWindow(sensor string, n uint64, rows int) *netmonpb.Window {
	w := next(sensor, aLog, n, chainOf(aLog, n-1))
	if n == 1 {
		w.PreviousChain = nil
	}
	for i := range rows {
		w.Rows = append(w.Rows, domainRow(fmt.Sprintf("host-%d.some-site-%d.example", i, i%977), n+uint64(i), 1500*n))
	}
	return w
}

// BenchmarkStores is what a window of 10,000 rows costs, until it is acknowledged.
func BenchmarkStores(b *testing.B) {
	open := map[string]func(b *testing.B) store{
		"memory": func(*testing.B) store { return newMemory(testLimits(), time.Now) },
		"disk":   func(b *testing.B) store { return diskAt(b, b.TempDir(), testLimits(), createFile) },
		"redis": func(b *testing.B) store {
			return sharedStore(b, nil, startRedis(b, "--appendonly", "yes").addr())
		},
	}
	for _, kind := range []string{"memory", "disk", "redis"} {
		b.Run(kind, func(b *testing.B) {
			st := open[kind](b)
			defer st.close()
			n := uint64(0)
			for b.Loop() {
				b.StopTimer()
				n++
				w := bigWindow("a", n, 10_000)
				b.StartTimer()
				if _, err := st.apply(b.Context(), w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRestart is how long a server takes to be ready that holds a million rows
// of ten sensors.
func BenchmarkRestart(b *testing.B) {
	const sensors, each = 10, 100_000
	l := testLimits()
	l.rows = 2 * sensors * each
	fill := func(b *testing.B, st store) {
		for i := range sensors {
			if _, err := st.apply(b.Context(), bigWindow(fmt.Sprint("s", i), 1, each)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("disk", func(b *testing.B) {
		folder := b.TempDir()
		d := diskAt(b, folder, l, createFile)
		fill(b, d)
		if err := d.close(); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			d := diskAt(b, folder, l, createFile)
			b.StopTimer()
			if d.state.rows != sensors*each {
				b.Fatalf("%d rows", d.state.rows)
			}
			b.ReportMetric(float64(d.base)/(1<<20), "checkpoint-MiB")
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
			d.die()
			b.StartTimer()
		}
	})
	b.Run("redis", func(b *testing.B) {
		r := startRedis(b)
		open := func() *shared {
			c := defaultStorage()
			c.Type, c.Addresses, c.Timeout = "redis", []string{r.addr()}, time.Minute
			st, err := openRedis(&c, nil, l, time.Now, hclog.NewNullLogger())
			if err != nil {
				b.Fatal(err)
			}
			return st
		}
		st := open()
		fill(b, st)
		defer st.close()
		for b.Loop() {
			st := open()
			b.StopTimer()
			if st.state.rows != sensors*each {
				b.Fatalf("%d rows", st.state.rows)
			}
			_ = st.close()
			b.StartTimer()
		}
		info := r.must("INFO", "memory").(string)
		var used float64
		_, rest, _ := strings.Cut(info, "used_memory:")
		fmt.Sscan(rest, &used)
		b.ReportMetric(used/(1<<20), "redis-MiB")
	})
}
