package sensor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/export"
	"github.com/netmon-sensor/netmon/sensor/internal/windowlog"
)

// status is the sensor's own small listener: its metrics, its health, pprof. It
// shows what the newest window said; it never looks into a shard.
type status struct {
	listener net.Listener // nil: off
	version  string
	sensor   *Sensor
	log      windowlog.Log
	started  atomic.Bool

	privileges *privileges // nil where nothing was given up

	mu       sync.Mutex // guards what follows, but for handler
	totals   *rows.Totals
	end      int64          // of the newest window, Unix nanoseconds
	refusals map[int]uint64 // requests, by the status of the answer
	handler  http.Handler
}

// newStatus listens as configured; without an address the listener is off.
func newStatus(cfg config.Status, version string, sensor *Sensor) (*status, error) {
	s := &status{version: version, sensor: sensor, log: sensor.log, totals: new(rows.Totals), refusals: map[int]uint64{}}
	if cfg.Listen == "" {
		return s, nil
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("status { listen = %q }: %w", cfg.Listen, err)
	}
	s.listener = l
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "netmon_build_info", Help: "1, with the version of the sensor.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	reg.MustRegister(s, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "healthy") })
	mux.HandleFunc("GET /-/ready", s.serveReady)
	if cfg.Reload {
		mux.HandleFunc("POST /-/reload", s.serveReload)
	} else {
		mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "off: say status { reload = true }, or send SIGHUP", http.StatusForbidden)
		})
	}
	s.addPages(mux)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s.handler = s.counting(guard(mux, cfg.Insecure))
	return s, nil
}

// serve answers requests until the function it returns is called.
func (s *status) serve(logger hclog.Logger) func() {
	if s.listener == nil {
		return func() {}
	}
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: logger.StandardLogger(nil)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("listener ended", "error", err)
		}
	}()
	logger.Info("listening", "address", s.listener.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Shutdown(ctx)
		<-done
	}
}

// counting counts the requests that are refused, by the status of the answer.
func (s *status) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&refusing{w, s}, r)
	})
}

// refusing notes the status of an answer.
type refusing struct {
	http.ResponseWriter
	status *status
}

func (w *refusing) WriteHeader(code int) {
	if code >= http.StatusBadRequest {
		w.status.mu.Lock()
		w.status.refusals[code]++
		w.status.mu.Unlock()
	}
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (w *refusing) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ready is called once everything has been started.
func (s *status) ready() { s.started.Store(true) }

// guard keeps web pages of others from what is meant for this machine: a name of
// theirs that leads here by DNS, and forms of theirs that post here.
func guard(next http.Handler, insecure bool) http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" && !insecure {
			http.Error(w, "ask by address, or as localhost", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// Reasons why a sensor is not ready, as in netmon_ready_reason.
const (
	isStarting  = "starting"
	noInterface = "interfaces"
	noLauncher  = "launcher"
	noExporter  = "exporters"
	logGathers  = "log"
)

func readyReasons() []string {
	return []string{isStarting, noInterface, noLauncher, noExporter, logGathers}
}

// notReady says in words why the sensor is not ready, by reason. Ready means that
// packets are captured and every exporter runs.
func (s *status) notReady() map[string][]string {
	why := map[string][]string{}
	if !s.started.Load() {
		why[isStarting] = []string{"the sensor is starting"}
	}
	if s.sensor.rings != nil && len(s.sensor.rings.Names()) == 0 {
		why[noInterface] = []string{"no interface is captured: none matches capture { interfaces }"}
	}
	if s.privileges != nil && !s.privileges.launcher.Alive() {
		why[noLauncher] = []string{"the launcher of plugins is gone: start the sensor again"}
	}
	for _, sink := range s.sensor.exporters.all() {
		if st := sink.Status(); st.State != export.Running {
			why[noExporter] = append(why[noExporter], fmt.Sprintf("exporter %s is %s: %s", sink.label, st.State, st.LastError))
		}
	}
	if refused := s.log.Stats().Refused; refused != nil {
		why[logGathers] = []string{fmt.Sprintf("the log gathers in memory: %v", refused)}
	}
	return why
}

// serveReady tells the truth with reasons.
func (s *status) serveReady(w http.ResponseWriter, _ *http.Request) {
	not := s.notReady()
	if len(not) == 0 {
		fmt.Fprintln(w, "ready")
		return
	}
	var text strings.Builder
	for _, reason := range readyReasons() {
		for _, words := range not[reason] {
			fmt.Fprintf(&text, "%s: %s\n", reason, words)
		}
	}
	http.Error(w, strings.TrimSpace(text.String()), http.StatusServiceUnavailable)
}

// serveReload answers once the reload is done; a refusal has its diagnostics.
func (s *status) serveReload(w http.ResponseWriter, _ *http.Request) {
	switch err := s.sensor.Reload(); {
	case errors.Is(err, errNoReload):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	default:
		fmt.Fprintln(w, "reloaded")
	}
}

// window takes over what a new window says about the sensor.
func (s *status) window(end int64, window []*netmonpb.Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = end
	for _, r := range window {
		if r.Key.View == netmonpb.View_VIEW_SENSOR {
			s.totals.Apply([]*netmonpb.Row{r})
		}
	}
}

// Describe sends nothing: which families there are depends on the rows.
func (s *status) Describe(chan<- *prometheus.Desc) {}

// Collect turns the rows of the view `sensor`, and the sinks' states, into metrics.
func (s *status) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.totals.Rows() {
		kind, value := prometheus.GaugeValue, r.GetGauge()
		if strings.HasSuffix(r.Key.Item, "_total") {
			kind, value = prometheus.CounterValue, float64(r.Counters.GetValue())
		}
		desc := prometheus.NewDesc("netmon_"+r.Key.Item, rows.ItemHelp(r.Key.Item), []string{"interface", "shard", "detail"}, nil)
		out <- prometheus.MustNewConstMetric(desc, kind, value, r.Key.Interface, strconv.Itoa(int(r.Key.Shard)), r.Key.Detail)
	}
	gauge := func(name, help string, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, []string{"exporter"}, nil), prometheus.GaugeValue, value, labels...)
	}
	s.collectReload(out)
	s.collectReady(out)
	for _, sink := range s.sensor.exporters.all() {
		st := sink.Status()
		up := 0.0
		if st.State == export.Running {
			up = 1
		}
		gauge("netmon_exporter_up", "1 while the exporter's plugin runs and takes windows.", up, sink.label)
		gauge("netmon_exporter_behind_windows", "Windows of the log that the exporter has not acknowledged.", float64(s.log.Last()-min(st.Acknowledged, s.log.Last())), sink.label)
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("netmon_exporter_restarts_total", "How often the exporter's plugin was started again.",
			[]string{"exporter"}, nil), prometheus.CounterValue, float64(st.Restarts), sink.label)
		failures := prometheus.NewDesc("netmon_exporter_failures_total", "What failed of an exporter, and was tried again where that helps, by reason.", []string{"exporter", "reason"}, nil)
		for reason, n := range st.Failures {
			out <- prometheus.MustNewConstMetric(failures, prometheus.CounterValue, float64(n), sink.label, reason)
		}
	}
	refusals := prometheus.NewDesc("netmon_status_refusals_total", "Requests to the status listener that were refused, by the status of the answer.", []string{"code"}, nil)
	for code, n := range s.refusals {
		out <- prometheus.MustNewConstMetric(refusals, prometheus.CounterValue, float64(n), strconv.Itoa(code))
	}
	s.collectLog(out)
	if s.privileges != nil {
		confinement := prometheus.NewDesc("netmon_confinement", "1 for each measure that confines the sensor, 0 for those that it has to do without.", []string{"kind"}, nil)
		for _, m := range s.privileges.measures {
			on := 0.0
			if m.on {
				on = 1
			}
			out <- prometheus.MustNewConstMetric(confinement, prometheus.GaugeValue, on, m.kind)
		}
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("netmon_log_windows_total", "Windows appended to the log.", nil, nil),
		prometheus.CounterValue, float64(s.log.Last()))
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("netmon_window_end_timestamp_seconds", "End of the newest window, in packet time.", nil, nil),
		prometheus.GaugeValue, float64(s.end)/1e9)
}

func (s *status) collectLog(out chan<- prometheus.Metric) {
	st := s.log.Stats()
	refused := 0.0
	if st.Refused != nil {
		refused = 1
	}
	for _, m := range []struct {
		name, help string
		kind       prometheus.ValueType
		value      float64
	}{
		{"netmon_log_state", "0 while the log is written, 1 while windows gather in memory because the disk refuses.", prometheus.GaugeValue, refused},
		{"netmon_log_bytes", "Size of the log's file; in memory, of its windows.", prometheus.GaugeValue, float64(max(st.Size, st.Bytes))},
		{"netmon_log_gathered_windows", "Windows in memory that are not yet on disk.", prometheus.GaugeValue, float64(st.Gathered)},
		{"netmon_log_folded_windows", "Windows that the log has as sums only.", prometheus.GaugeValue, float64(st.Folded)},
		{"netmon_log_errors_total", "Writes of the log that failed, and damage found in it.", prometheus.CounterValue, float64(st.Errors)},
	} {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.name, m.help, nil, nil), m.kind, m.value)
	}
}
func (s *status) collectReady(out chan<- prometheus.Metric) {
	desc := prometheus.NewDesc("netmon_ready_reason", "1 for each reason why the sensor is not ready.", []string{"reason"}, nil)
	not := s.notReady()
	for _, reason := range readyReasons() {
		holds := 0.0
		if len(not[reason]) > 0 {
			holds = 1
		}
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, holds, reason)
	}
}

func (s *status) collectReload(out chan<- prometheus.Metric) {
	c := &s.sensor.reloads.count
	c.mu.Lock()
	defer c.mu.Unlock()
	successful := 1.0
	if c.refused {
		successful = 0
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("netmon_config_last_reload_successful", "1 unless the last reload was refused.", nil, nil),
		prometheus.GaugeValue, successful)
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("netmon_config_last_reload_success_timestamp_seconds", "When the configuration in use was read.", nil, nil),
		prometheus.GaugeValue, float64(c.last.UnixNano())/1e9)
	total := prometheus.NewDesc("netmon_config_reloads_total", "Reloads of the configuration.", []string{"result"}, nil)
	out <- prometheus.MustNewConstMetric(total, prometheus.CounterValue, float64(c.good), "success")
	out <- prometheus.MustNewConstMetric(total, prometheus.CounterValue, float64(c.bad), "refused")
}
