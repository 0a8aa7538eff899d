package server

import (
	"context"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// remarks is what is wrong with Redis' settings: 1 is right.
type remarks struct{ master, aof, noeviction float64 }

// inspect looks at the settings that what is acknowledged depends on.
func (r *shared) inspect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	now := remarks{1, 1, 1}
	look := func(ctx context.Context, c *redis.Client) error {
		info, err := c.Info(ctx).Result()
		if err != nil {
			return err
		}
		has := func(line string) float64 {
			if strings.Contains(info, "\n"+line+"\r\n") {
				return 1
			}
			return 0
		}
		now.master = min(now.master, has("role:master"))
		now.aof = min(now.aof, has("aof_enabled:1"))
		now.noeviction = min(now.noeviction, max(has("maxmemory_policy:noeviction"), has("maxmemory:0")))
		return nil
	}
	var one sync.Mutex
	var err error
	switch c := r.client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			one.Lock() // they are visited side by side
			defer one.Unlock()
			return look(ctx, c)
		})
	case *redis.Client:
		err = look(ctx, c)
	}
	if err != nil {
		r.failures.Add(1)
		r.logger.Debug("cannot look at Redis' settings", "error", err)
		return
	}
	before := r.remarks.Swap(&now)
	if before == nil {
		before = &remarks{1, 1, 1}
	}
	warn := func(before, now float64, text string) {
		if now < before {
			r.logger.Warn(text)
		}
	}
	warn(before.master, now.master, "Redis is a replica: it takes nothing")
	warn(before.aof, now.aof, "Redis keeps no append-only file: what it holds is lost when it ends, and sensors send it again (set appendonly yes)")
	warn(before.noeviction, now.noeviction, "Redis may evict what it holds when memory is short (set maxmemory-policy noeviction)")
}

func (r *shared) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, out) }

func (r *shared) Collect(out chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
		var names []string
		if len(labels) > 0 {
			names = []string{"check"}
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("netmon_server_store_"+name, help, names, nil), kind, v, labels...)
	}
	send(prometheus.CounterValue, "failures_total", "Times the store could not be read or written.", float64(r.failures.Load()))
	send(prometheus.CounterValue, "checkpoints_total", "Checkpoints made.", float64(r.compactions.Load()))
	send(prometheus.CounterValue, "restored_total", "Sensors that Redis had lost and this server gave back.", float64(r.restored.Load()))
	send(prometheus.GaugeValue, "withheld_sensors", "Sensors not shown, because more was shown of them before than is known now.", float64(r.withheldCount.Load()))
	if m := r.remarks.Load(); m != nil {
		const help = "1 where Redis is set up as it should be."
		send(prometheus.GaugeValue, "redis_check", help, m.master, "master")
		send(prometheus.GaugeValue, "redis_check", help, m.aof, "append_only_file")
		send(prometheus.GaugeValue, "redis_check", help, m.noeviction, "no_eviction")
	}
}
