package server

import (
	"bytes"
	"fmt"
	"io"
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
	pictures sync.Pool // *picture: a big one is tens of megabytes
	outputs  sync.Pool // *output
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
	x.pictures.New = func() any { return newPicture(x.text.families) }
	x.outputs.New = func() any { return &output{} }
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
	// Whoever reads slowly holds a picture, but no place to take one.
	if err := x.service.sending.enter(r.Context()); err != nil {
		x.service.fail(w, err)
		return
	}
	defer x.service.sending.leave()
	if err := x.service.scraping.enter(r.Context()); err != nil {
		x.service.fail(w, err)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, x.accepted...)
	p := x.pictures.Get().(*picture)
	defer func() {
		p.forget()
		x.pictures.Put(p)
	}()
	p.take(x.service)
	own, err := x.own(p.sum, format)
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
	if r.Method == http.MethodHead {
		return
	}
	if !acceptsGzip(r.Header) {
		_ = x.write(w, p, own, format) // nobody is left to be told
		return
	}
	h.Set("Content-Encoding", "gzip")
	z := x.zippers.Get().(*gzip.Writer)
	defer x.zippers.Put(z)
	z.Reset(w)
	if x.write(z, p, own, format) == nil {
		_ = z.Close()
	}
}

// write writes a whole exposition.
func (x *scrape) write(w io.Writer, p *picture, own []byte, format expfmt.Format) error {
	r := &x.text
	if format.FormatType() == expfmt.TypeOpenMetrics {
		r = &x.open
	}
	o := x.outputs.Get().(*output)
	defer func() {
		o.to, o.err = nil, nil
		x.outputs.Put(o)
	}()
	o.to = w
	if err := r.render(o, p); err != nil {
		return err
	}
	_, err := w.Write(own)
	return err
}

// own renders what the server says of itself, and the end of the exposition.
func (x *scrape) own(sum summary, format expfmt.Format) ([]byte, error) {
	server := prometheus.NewRegistry()
	server.MustRegister(newOwn(x.service, sum))
	own, err := prometheus.Gatherers{x.process, server}.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather the server's own metrics: %w", err)
	}
	if format.FormatType() == expfmt.TypeOpenMetrics {
		untypeClashes(own)
	}
	var body bytes.Buffer
	encoder := expfmt.NewEncoder(&body, format)
	for _, family := range own {
		if err := encoder.Encode(family); err != nil {
			return nil, fmt.Errorf("encode %s: %w", family.GetName(), err)
		}
	}
	if closer, ok := encoder.(expfmt.Closer); ok {
		err = closer.Close() // # EOF of OpenMetrics
	}
	return body.Bytes(), err
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
