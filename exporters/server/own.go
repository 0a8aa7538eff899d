package server

import (
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// own collects what the server says of itself and of how well it knows each
// sensor. Its names begin with netmon_server_, which no sensor may use.
type own struct {
	service *service
	sum     summary // of the same state as the rest of the scrape

	descs map[string]*prometheus.Desc
}

func newOwn(s *service, sum summary) *own {
	o := &own{service: s, sum: sum, descs: map[string]*prometheus.Desc{}}
	desc := func(name, help string, labels ...string) {
		o.descs[name] = prometheus.NewDesc("netmon_server_"+name, help, labels, nil)
	}
	desc("build_info", "1, with the version of the server.", "version", "goversion")
	desc("sensors", "Sensors known, by whether they were heard of lately.", "state")
	desc("rows", "Rows kept of all sensors.")
	desc("series", "Label sets kept of all sensors; most are shown by several families.")
	desc("rows_overflowed_total", "Rows that were added to a row (other), because max_rows_per_sensor or max_rows was reached.")
	desc("series_given_up_total", "Series of names whose rows are gone that gave their value to (retired), because a sensor had twice as many as max_rows_per_sensor.")
	desc("ingested_total", "Windows and snapshots that came in, by what became of them; a report is a snapshot.", "item", "result")
	desc("report_fields_unmapped_total", "Entries of reports as JSON that have no place here, by field.", "field")
	desc("sensor_up", "1 while the sensor was heard of within offline_after.", "host")
	desc("sensor_info", "1, with what the sensor's last heartbeat says of it.", "host", "version")
	desc("sensor_start_timestamp_seconds", "When the sensor's process began, as its last heartbeat says.", "host")
	desc("sensor_watermark", "The server holds windows 1 to this of the sensor's newest log.", "host")
	desc("sensor_last_seen_timestamp_seconds", "When the sensor was last heard of.", "host")
	desc("sensor_window_end_timestamp_seconds", "End of the newest window, in packet time.", "host")
	desc("sensor_ledger_difference_bytes", "Bytes by which what is held of a sensor's logs is off from what its ledger says; not 0 is a fault.", "host")
	desc("sensor_conflict", "1 while what comes under the sensor's identity contradicts what is held: a clone, or a disk that was set back.", "host")
	desc("sensor_pushes_total", "Windows and snapshots of a sensor that came to this server, by what became of them.", "host", "result")
	desc("requests_total", "Requests answered, by route (empty: none) and status.", "route", "status")
	desc("refusals_total", "Requests refused, by the code of the answer.", "code")
	desc("connections", "Connections open now.")
	desc("connections_refused_total", "Connections closed at once because max_connections was reached, or a quarter of it from one address.")
	desc("certificate_not_after_timestamp_seconds", "When the server's certificate expires.")
	desc("config_last_reload_successful", "1 if the last reload was taken, or there was none.")
	desc("config_last_reload_success_timestamp_seconds", "When the configuration in use was read.")
	desc("config_reloads_total", "Reloads, by what became of them.", "result")
	return o
}

func (o *own) Describe(out chan<- *prometheus.Desc) {
	for _, d := range o.descs {
		out <- d
	}
	if c, ok := o.service.store.(prometheus.Collector); ok {
		c.Describe(out)
	}
}

func (o *own) Collect(out chan<- prometheus.Metric) {
	if c, ok := o.service.store.(prometheus.Collector); ok {
		c.Collect(out)
	}
	emit := func(kind prometheus.ValueType, name string, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(o.descs[name], kind, v, labels...)
	}
	gauge := func(name string, v float64, labels ...string) { emit(prometheus.GaugeValue, name, v, labels...) }
	counter := func(name string, v uint64, labels ...string) {
		emit(prometheus.CounterValue, name, float64(v), labels...)
	}
	s := o.service
	gauge("build_info", 1, s.version, runtime.Version())
	for item, name := range [...]string{"window", "snapshot"} {
		for result := range numOutcomes {
			counter("ingested_total", s.counts[item][result].Load(), name, result.String())
		}
	}
	s.unmapped.each(func(field string, n uint64) { counter("report_fields_unmapped_total", n, field) })
	s.requests.each(func(k tallied, n uint64) { counter("requests_total", n, k.what, strconv.Itoa(k.status)) })
	s.refusals.each(func(k tallied, n uint64) { counter("refusals_total", n, k.what) })
	gauge("connections", float64(s.crowd.open()))
	counter("connections_refused_total", s.crowd.refused.Load())
	if end := s.certificateEnd(); !end.IsZero() {
		gauge("certificate_not_after_timestamp_seconds", float64(end.Unix()))
	}
	s.loaded.each(func(ok, failed uint64, good bool, at time.Time) {
		gauge("config_last_reload_successful", oneIf(good))
		gauge("config_last_reload_success_timestamp_seconds", float64(at.Unix()))
		counter("config_reloads_total", ok, "success")
		counter("config_reloads_total", failed, "refused")
	})
	for i := range o.sum.sensors {
		o.collect(&o.sum.sensors[i], gauge, counter)
	}
	gauge("sensors", float64(o.sum.online), "online")
	gauge("sensors", float64(len(o.sum.sensors)-o.sum.online), "offline")
	gauge("rows", float64(o.sum.rows))
	gauge("series", float64(o.sum.series))
	counter("rows_overflowed_total", o.sum.overflowed)
	counter("series_given_up_total", o.sum.buried)
}

// collect tells of one sensor.
func (o *own) collect(s *sensorSummary, gauge func(string, float64, ...string), counter func(string, uint64, ...string)) {
	gauge("sensor_up", oneIf(s.online), s.id)
	gauge("sensor_watermark", float64(s.watermark), s.id)
	gauge("sensor_last_seen_timestamp_seconds", float64(s.seen.UnixNano())/1e9, s.id)
	gauge("sensor_window_end_timestamp_seconds", float64(s.end)/1e9, s.id)
	gauge("sensor_ledger_difference_bytes", float64(s.imbalance), s.id)
	gauge("sensor_conflict", oneIf(s.conflicting), s.id)
	if s.about.Version != "" {
		gauge("sensor_info", 1, s.id, s.about.Version)
	}
	if !s.about.StartTime.IsZero() {
		gauge("sensor_start_timestamp_seconds", float64(s.about.StartTime.Unix()), s.id)
	}
	if n, known := o.service.pushed.of(s.id); known {
		for result := range numOutcomes {
			counter("sensor_pushes_total", n[result], s.id, result.String())
		}
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
