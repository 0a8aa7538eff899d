package server

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// scrape answers GET /metrics: the sensors' families from the renderer, then the
// server's own from a client_golang registry, in one body.
type scrape struct {
	service  *service
	text     renderer
	open     renderer
	process  *prometheus.Registry // what any Go process says of itself
	accepted []expfmt.Format
	buffers  sync.Pool // *bytes.Buffer: the body of a big scrape is tens of megabytes
	zippers  sync.Pool // *gzip.Writer
}

func newScrape(s *service) *scrape {
	x := &scrape{
		service:  s,
		text:     renderer{families: families()},
		open:     renderer{families: families(), openMetrics: true},
		process:  prometheus.NewRegistry(),
		accepted: []expfmt.Format{expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1, expfmt.FmtText},
	}
	x.buffers.New = func() any { return &bytes.Buffer{} }
	x.zippers.New = func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // errs on a level that does not exist
		return z
	}
	x.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return x
}

// scrapeDeadline is for a scraper to take the body, once it is rendered.
const scrapeDeadline = 30 * time.Second

func (x *scrape) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Whoever reads slowly holds a whole body in memory, but no place to render in.
	if err := x.service.sending.enter(r.Context()); err != nil {
		x.service.fail(w, err)
		return
	}
	defer x.service.sending.leave()
	if err := x.service.scraping.enter(r.Context()); err != nil {
		x.service.fail(w, err)
		return
	}
	body := x.buffers.Get().(*bytes.Buffer)
	body.Reset()
	defer x.buffers.Put(body)
	format := expfmt.NegotiateAccept(r.Header, x.accepted...)
	err := x.render(body, format)
	x.service.scraping.leave()
	if err != nil {
		x.service.fail(w, err)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(scrapeDeadline)) // tests without a connection have none
	h := w.Header()
	h.Set("Content-Type", string(format))
	h.Set("Vary", "Accept, Accept-Encoding")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodHead || !acceptsGzip(r.Header) {
		h.Set("Content-Length", strconv.Itoa(body.Len()))
		_, _ = w.Write(body.Bytes()) // nobody is left to be told
		return
	}
	h.Set("Content-Encoding", "gzip")
	z := x.zippers.Get().(*gzip.Writer)
	defer x.zippers.Put(z)
	z.Reset(w)
	if _, err := z.Write(body.Bytes()); err == nil {
		_ = z.Close()
	}
}

// render writes a whole exposition of one consistent state.
func (x *scrape) render(body *bytes.Buffer, format expfmt.Format) error {
	r := &x.text
	if format.FormatType() == expfmt.TypeOpenMetrics {
		r = &x.open
	}
	var sum summary
	x.service.store.read(func(s *state) {
		body.Write(r.append(body.AvailableBuffer(), s))
		sum = x.service.summarize(s)
	})
	server := prometheus.NewRegistry()
	server.MustRegister(newOwn(x.service, sum))
	own, err := prometheus.Gatherers{x.process, server}.Gather()
	if err != nil {
		return fmt.Errorf("gather the server's own metrics: %w", err)
	}
	if r.openMetrics {
		untypeClashes(own)
	}
	encoder := expfmt.NewEncoder(body, format)
	for _, family := range own {
		if err := encoder.Encode(family); err != nil {
			return fmt.Errorf("encode %s: %w", family.GetName(), err)
		}
	}
	if closer, ok := encoder.(expfmt.Closer); ok {
		return closer.Close() // # EOF of OpenMetrics
	}
	return nil
}

// untypeClashes changes counters whose name without _total is taken by another
// family, as go_memstats_alloc_bytes is: OpenMetrics would give both one name.
func untypeClashes(families []*dto.MetricFamily) {
	taken := map[string]bool{}
	for _, f := range families {
		taken[f.GetName()] = true
	}
	for _, f := range families {
		if f.GetType() != dto.MetricType_COUNTER || !taken[strings.TrimSuffix(f.GetName(), "_total")] {
			continue
		}
		f.Type = dto.MetricType_UNTYPED.Enum()
		for _, m := range f.Metric {
			m.Untyped = &dto.Untyped{Value: m.Counter.Value}
			m.Counter = nil
		}
	}
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3).
func acceptsGzip(h http.Header) bool {
	for _, line := range h.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			name, parameters, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				q, found := strings.CutPrefix(strings.TrimSpace(parameters), "q=")
				weight, err := strconv.ParseFloat(q, 64)
				return !found || err == nil && weight > 0
			}
		}
	}
	return false
}
