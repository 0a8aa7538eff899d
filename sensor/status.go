package sensor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
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
	"github.com/netmon-sensor/netmon/sensor/internal/export"
	"github.com/netmon-sensor/netmon/sensor/internal/windowlog"
)

// status is the sensor's own small listener: its metrics, its health, pprof. It
// shows what the newest window said; it never looks into a shard.
type status struct {
	listener net.Listener // nil: off
	log      windowlog.Log
	sinks    []sink
	started  atomic.Bool

	privileges *privileges // nil where nothing was given up

	mu      sync.Mutex // guards totals and end
	totals  *rows.Totals
	end     int64 // of the newest window, Unix nanoseconds
	handler http.Handler
}

// newStatus listens on address; "" leaves the listener off.
func newStatus(address, version string, log windowlog.Log, sinks []sink) (*status, error) {
	s := &status{log: log, sinks: sinks, totals: new(rows.Totals)}
	if address == "" {
		return s, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("status { listen = %q }: %w", address, err)
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
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s.handler = mux
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

// ready is called once everything has been started.
func (s *status) ready() { s.started.Store(true) }

// serveReady tells the truth with reasons: ready means that packets are
// captured and every exporter runs.
func (s *status) serveReady(w http.ResponseWriter, _ *http.Request) {
	var not []string
	if !s.started.Load() {
		not = append(not, "starting")
	}
	if s.privileges != nil && !s.privileges.launcher.Alive() {
		not = append(not, "the launcher of plugins is gone: start the sensor again")
	}
	for _, sink := range s.sinks {
		if st := sink.Status(); st.State != export.Running {
			not = append(not, fmt.Sprintf("exporter %s is %s: %s", sink.label, st.State, st.LastError))
		}
	}
	if why := s.log.Stats().Refused; why != nil {
		not = append(not, fmt.Sprintf("the log gathers in memory: %v", why))
	}
	if len(not) > 0 {
		http.Error(w, strings.Join(not, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
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
	for _, sink := range s.sinks {
		st := sink.Status()
		up := 0.0
		if st.State == export.Running {
			up = 1
		}
		gauge("netmon_exporter_up", "1 while the exporter's plugin runs and takes windows.", up, sink.label)
		gauge("netmon_exporter_behind_windows", "Windows of the log that the exporter has not acknowledged.", float64(s.log.Last()-min(st.Acknowledged, s.log.Last())), sink.label)
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("netmon_exporter_restarts_total", "How often the exporter's plugin was started again.",
			[]string{"exporter"}, nil), prometheus.CounterValue, float64(st.Restarts), sink.label)
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
