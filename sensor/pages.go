package sensor

import (
	"context"
	"encoding/json"
	"html/template"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// page is what a page shows, and what it says with format=json.
type page struct {
	Title  string  `json:"title"`
	Note   string  `json:"note,omitempty"`
	Search string  `json:"-"` // what the form has; only with Form
	Form   bool    `json:"-"`
	Tables []table `json:"tables"`
}

type table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

const pageStyle = `body { font: 14px/1.4 sans-serif; margin: 1em 2em; color: #222; background: #fff }
nav a { margin-right: 1em }
table { border-collapse: collapse; margin: 1em 0 }
caption { text-align: left; font-weight: bold }
th, td { text-align: left; padding: 2px 12px 2px 0; border-bottom: 1px solid #ddd; white-space: nowrap }
`

const pageText = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}} - netmon</title><link rel="stylesheet" href="/style.css"></head><body>
<nav><a href="/">netmon</a><a href="/flows">flows</a><a href="/names">names</a><a href="/cursors">cursors</a><a href="/ledger">ledger</a></nav>
<h1>{{.Title}}</h1>
{{with .Note}}<p>{{.}}</p>{{end}}
{{if .Form}}<form action="/names"><input name="q" value="{{.Search}}" aria-label="address or part of a name"> <button>look up</button></form>{{end}}
{{range .Tables}}<table><caption>{{.Name}}</caption><tr>{{range .Columns}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table>{{end}}
</body></html>
`

// addPages has the pages and the API served.
func (s *status) addPages(mux *http.ServeMux) {
	shown := template.Must(template.New("page").Parse(pageText))
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, _ *http.Request) {
		secure(w, "text/css; charset=utf-8")
		_, _ = w.Write([]byte(pageStyle))
	})
	for path, make := range map[string]func(*http.Request) (*page, error){
		"/{$}": s.overview, "/flows": s.flowsPage, "/names": s.namesPage, "/cursors": s.cursorsPage, "/ledger": s.ledgerPage,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			p, err := make(r)
			switch {
			case err != nil:
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			case r.URL.Query().Get("format") == "json":
				secure(w, "application/json")
				_ = json.NewEncoder(w).Encode(p)
			default:
				secure(w, "text/html; charset=utf-8")
				_ = shown.Execute(w, p)
			}
		})
	}
	for path, group := range tops() {
		mux.HandleFunc("GET /api/v1/"+path, func(w http.ResponseWriter, r *http.Request) { s.serveTop(w, r, path, group) })
	}
}

func secure(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

func (s *status) overview(*http.Request) (*page, error) {
	ready := table{Name: "Readiness", Columns: []string{"reason", "in words"}}
	not := s.notReady()
	for _, reason := range readyReasons() {
		for _, words := range not[reason] {
			ready.Rows = append(ready.Rows, []any{reason, words})
		}
	}
	if len(not) == 0 {
		ready.Rows = append(ready.Rows, []any{"", "ready"})
	}
	return &page{Title: "netmon-sensor " + s.version, Tables: []table{ready, {"Elsewhere", []string{"path", "what"}, [][]any{
		{"/metrics", "the sensor's own metrics"}, {"/-/ready, /-/healthy", "probes"}, {"/debug/pprof/", "profiles"},
		{"/api/v1/domains, /api/v1/addresses, /api/v1/protocols", "totals as JSON"},
		{"?format=json", "each of these pages as JSON"},
	}}}}, nil
}

func (s *status) flowsPage(*http.Request) (*page, error) {
	t := table{Name: "Flows", Columns: []string{
		"interface", "direction", "protocol", "application", "initiator", "responder", "domain", "source", "bytes_sent", "bytes_received", "packets",
	}, Rows: [][]any{}}
	note := "no window yet"
	if w := s.sensor.join.newest.window.Load(); w != nil {
		note = "of the window that ended " + timeText(w.end) + ", most bytes first; sent is from the initiator"
		for i := range w.flows {
			f := &w.flows[i]
			r := &f.record
			t.Rows = append(t.Rows, []any{
				f.iface, rows.DirectionName(netmonpb.Direction(r.OurSide)), rows.ProtocolName(uint32(r.Protocol)), application(r).String(),
				endText(r.Initiator, r.InitiatorPort), endText(r.Responder, r.ResponderPort), f.domain, sourceName(f.source),
				r.BytesSent, r.BytesReceived, r.PacketsSent + r.PacketsReceived,
			})
		}
	}
	return &page{Title: "Flows", Note: note, Tables: []table{t}}, nil
}

func (s *status) namesPage(r *http.Request) (*page, error) {
	q := strings.ToLower(strings.TrimSpace(r.URL.Query().Get("q")))
	answers := table{Name: "Newest answers", Columns: []string{"time", "client", "name", "address"}, Rows: [][]any{}}
	p := &page{Title: "Names", Form: true, Search: q}
	asked, err := netip.ParseAddr(q)
	if err == nil {
		known := table{Name: "In the book", Columns: []string{"address", "name"}, Rows: [][]any{}}
		if !s.sensor.ask(r.Context(), func(j *join) {
			if id, _ := j.book.Lookup([16]byte{}, asked.As16()); id != 0 {
				known.Rows = append(known.Rows, []any{asked.String(), j.book.Name(id)})
			}
		}) {
			return nil, errNoReload
		}
		p.Tables = append(p.Tables, known)
	}
	if w := s.sensor.join.newest.window.Load(); w != nil {
		for _, a := range w.answers {
			if q != "" && !strings.Contains(a.name, q) && (!asked.IsValid() || a.address != asked.As16()) {
				continue
			}
			answers.Rows = append(answers.Rows, []any{timeText(a.time), addressText(a.client), a.name, addressText(a.address)})
		}
	}
	p.Tables = append(p.Tables, answers)
	return p, nil
}

// ask has the join's goroutine answer, between two harvests. It returns false where
// that takes too long.
func (s *Sensor) ask(ctx context.Context, question func(*join)) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	done := make(chan struct{})
	select {
	case s.join.changes <- func() { question(s.join); close(done) }:
		<-done
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *status) cursorsPage(*http.Request) (*page, error) {
	last, st := s.log.Last(), s.log.Stats()
	exporters := table{Name: "Exporters", Columns: []string{
		"exporter", "state", "since", "pid", "version", "cursor", "behind", "restarts", "snapshots", "listen", "last_error",
	}, Rows: [][]any{}}
	for _, k := range s.sensor.exporters.all() {
		e := k.Status()
		exporters.Rows = append(exporters.Rows, []any{
			k.label, string(e.State), e.Since.UTC().Format(time.RFC3339), e.PID, e.Version, e.Acknowledged, last - min(last, e.Acknowledged),
			e.Restarts, e.Snapshots, strings.Join(e.Listen, " "), e.LastError,
		})
	}
	state := "fine"
	if st.Refused != nil {
		state = "gathers in memory: " + st.Refused.Error()
	}
	return &page{Title: "Cursors", Tables: []table{exporters, {
		"Log", []string{"state", "last", "windows", "folded", "gathered", "bytes", "rows", "errors"},
		[][]any{{state, last, st.Windows, st.Folded, st.Gathered, max(st.Size, st.Bytes), st.Rows, st.Errors}},
	}}}, nil
}

func (s *status) ledgerPage(*http.Request) (*page, error) {
	t := table{Name: "Ledger", Columns: []string{"metric", "interface", "shard", "detail", "value"}, Rows: [][]any{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.totals.Rows() {
		var value any = r.GetGauge()
		if strings.HasSuffix(r.Key.Item, "_total") {
			value = r.Counters.GetValue()
		}
		t.Rows = append(t.Rows, []any{"netmon_" + r.Key.Item, r.Key.Interface, r.Key.Shard, r.Key.Detail, value})
	}
	return &page{Title: "Ledger", Note: "through the window that ended " + timeText(s.end), Tables: []table{t}}, nil
}

func timeText(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.000 UTC") }

func addressText(a [16]byte) string {
	if a == [16]byte{} {
		return "everyone"
	}
	return netip.AddrFrom16(a).Unmap().String()
}

func endText(a [16]byte, port uint16) string {
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), port).String()
}
