package server

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// own collects what the server says of itself and of how well it knows each
// sensor. Its names begin with netmon_server_, which no sensor may use.
type own struct {
	service *service
	sum     summary // of the same state as the rest of the scrape

	build, sensors, rows, series, ingested     *prometheus.Desc
	up, watermark, lastSeen, windowEnd, ledger *prometheus.Desc
}

func newOwn(s *service, sum summary) *own {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("netmon_server_"+name, help, labels, nil)
	}
	return &own{
		service:   s,
		sum:       sum,
		build:     desc("build_info", "1, with the version of the server.", "version", "goversion"),
		sensors:   desc("sensors", "Sensors known, by whether they were heard of lately.", "state"),
		rows:      desc("rows", "Rows kept of all sensors."),
		series:    desc("series", "Label sets kept of all sensors; most are shown by several families."),
		ingested:  desc("ingested_total", "Windows and snapshots that came in, by what became of them.", "item", "result"),
		up:        desc("sensor_up", "1 while the sensor was heard of within offline_after.", "host"),
		watermark: desc("sensor_watermark", "The server holds windows 1 to this of the sensor's newest log.", "host"),
		lastSeen:  desc("sensor_last_seen_timestamp_seconds", "When the sensor was last heard of.", "host"),
		windowEnd: desc("sensor_window_end_timestamp_seconds", "End of the newest window, in packet time.", "host"),
		ledger:    desc("sensor_ledger_difference_bytes", "Bytes by which what is held of a sensor's logs is off from what its ledger says; not 0 is a fault.", "host"),
	}
}

func (o *own) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{o.build, o.sensors, o.rows, o.series, o.ingested, o.up, o.watermark, o.lastSeen, o.windowEnd, o.ledger} {
		out <- d
	}
}

func (o *own) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(o.build, 1, o.service.version, runtime.Version())
	for item, name := range [...]string{"window", "snapshot"} {
		for result := range numOutcomes {
			out <- prometheus.MustNewConstMetric(o.ingested, prometheus.CounterValue,
				float64(o.service.counts[item][result].Load()), name, result.String())
		}
	}
	for i := range o.sum.sensors {
		s := &o.sum.sensors[i]
		up := 0.0
		if s.online {
			up = 1
		}
		gauge(o.up, up, s.id)
		gauge(o.watermark, float64(s.watermark), s.id)
		gauge(o.lastSeen, float64(s.seen.UnixNano())/1e9, s.id)
		gauge(o.windowEnd, float64(s.end)/1e9, s.id)
		gauge(o.ledger, float64(s.imbalance), s.id)
	}
	gauge(o.sensors, float64(o.sum.online), "online")
	gauge(o.sensors, float64(len(o.sum.sensors)-o.sum.online), "offline")
	gauge(o.rows, float64(o.sum.rows))
	gauge(o.series, float64(o.sum.series))
}
