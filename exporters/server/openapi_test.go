package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// TestOpenAPI holds live answers of every route against docs/openapi.yaml, good
// ones and bad ones, and the list of routes against its list of paths.
func TestOpenAPI(t *testing.T) {
	text, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	c := contract{document: document, schemas: map[string]*jsonschema.Schema{}}
	var written, served []string
	for path, item := range document["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			written = append(written, strings.ToUpper(method)+" "+path)
		}
	}
	c.compile(t)
	s := testService(t, func(c *Config) { c.Auth.Tokens, c.Reload = nil, true })
	for _, r := range s.routes {
		served = append(served, r.method+" "+r.path)
	}
	slices.Sort(written)
	slices.Sort(served)
	if !slices.Equal(written, served) {
		t.Errorf("openapi.yaml lists\n%s\nthe server answers\n%s", strings.Join(written, "\n"), strings.Join(served, "\n"))
	}

	mustTake(t, s, windowRequest(oneOfEach()))
	mustTake(t, s, windowRequest(sealedDNS(next("host-2", aLog, 1, nil))))
	g := &guard{closed: true}
	for _, what := range []string{"read", "push", "write"} {
		one := Token{Sensors: "host-[12]", Secret: "0123456789-for-" + what, Allow: []string{what}}
		hash, err := one.check()
		if err != nil {
			t.Fatal(err)
		}
		g.tokens = append(g.tokens, token{one, hash})
	}
	s.policy.Store(&policy{config: s.config, guard: g})
	window := encode(t, windowRequest(next("host-1", aLog, 2, chainOf(aLog, 1))))
	gap := encode(t, windowRequest(next("host-1", aLog, 9, nil)))
	const spare = "" // no credential
	tests := []struct {
		request, credential, kind string
		body                      []byte
		status                    int
	}{
		{"GET /", "read", "", nil, 200},
		{"GET /app.js", "read", "", nil, 200},
		{"GET /chart.js", "read", "", nil, 200},
		{"GET /style.css", "read", "", nil, 200},
		{"GET /metrics", "read", "", nil, 200},
		{"GET /metrics", spare, "", nil, 401},
		{"POST /api/v1/metrics", "push", contentType, window, 200},
		{"POST /api/v1/metrics", "push", contentType, gap, 409},
		{"POST /api/v1/metrics", "push", contentType, []byte("x"), 400},
		{"POST /api/v1/metrics", "push", "text/plain", []byte("x"), 415},
		{"POST /api/v1/metrics", "push", contentType, make([]byte, 9<<20), 413},
		{"POST /api/v1/metrics", "push", jsonType, []byte(`{"hostname":"host-1","timestamp":"2023-11-14T12:00:00Z","metrics":{}}`), 200},
		{"POST /api/v1/metrics", "push", jsonType, []byte(`{"hostname":"web-1","metrics":{}}`), 403},
		{"POST /api/v1/metrics", "push", jsonType, []byte(`{"metrics":{}}`), 400},
		{"POST /api/v1/heartbeat", "push", jsonType, []byte(`{"id":"host-1","version":"1.2","start_time":"2023-11-14T12:00:00Z","interval_seconds":5,"addresses":["::1"]}`), 200},
		{"POST /api/v1/metrics/heartbeat", "push", jsonType, []byte(`{"id":"host-2","ip":"192.0.2.1"}`), 200},
		{"POST /api/v1/heartbeat", "push", jsonType, []byte(`{"id":"host-1","addresses":["x"]}`), 400},
		{"GET /api/v1/agents", "read", "", nil, 200},
		{"GET /api/v1/agents?x=1", "read", "", nil, 400},
		{"GET /api/v1/agents/host-1", "read", "", nil, 200},
		{"GET /api/v1/agents/host-9", "read", "", nil, 404},
		{"GET /api/v1/agents/host-1", "push", "", nil, 403},
		{"GET /api/v1/stats", "read", "", nil, 200},
		{"GET /api/v1/status", "read", "", nil, 200},
		{"GET /api/v1/domains", "read", "", nil, 200},
		{"GET /api/v1/domains?limit=1&sort=accesses&host=host-1&interface=eth0&direction=outbound&search=example", "read", "", nil, 200},
		{"GET /api/v1/domains?limit=0", "read", "", nil, 400},
		{"GET /api/v1/domains/www.example.com", "read", "", nil, 200},
		{"GET /api/v1/domains/absent.test", "read", "", nil, 404},
		{"GET /api/v1/domains/a%20b", "read", "", nil, 400},
		{"GET /api/v1/addresses", "read", "", nil, 200},
		{"GET /api/v1/addresses?sort=size", "read", "", nil, 400},
		{"GET /api/v1/protocols", "read", "", nil, 200},
		{"GET /api/v1/dns", "read", "", nil, 200},
		{"GET /api/v1/traffic", "read", "", nil, 200},
		{"GET /api/v1/traffic?host=host-1&limit=5", "read", "", nil, 200},
		{"HEAD /api/v1/events", "read", "", nil, 200},
		{"GET /api/v1/events?x=1", "read", "", nil, 400},
		{"POST /-/reload", "write", "", nil, 200},
		{"POST /-/reload", "read", "", nil, 403},
		{"GET /health", spare, "", nil, 200},
		{"GET /ready", spare, "", nil, 200},
		{"GET /-/healthy", spare, "", nil, 200},
		{"GET /-/ready", spare, "", nil, 200},
		{"DELETE /api/v1/agents/host-2", "write", "", nil, 200},
		{"DELETE /api/v1/agents/host-2", "write", "", nil, 404},
		{"DELETE /api/v1/agents/host-1", spare, "", nil, 401},
		{"DELETE /api/v1/agents/host-1", "read", "", nil, 403},
	}
	asked := map[string]bool{}
	for _, test := range tests {
		method, path, _ := strings.Cut(test.request, " ")
		r := httptest.NewRequest(method, "http://localhost:8080"+path, strings.NewReader(string(test.body)))
		if test.kind != "" {
			r.Header.Set("Content-Type", test.kind)
		}
		if test.credential != spare {
			r.Header.Set("Authorization", "Bearer 0123456789-for-"+test.credential)
		}
		w := httptest.NewRecorder()
		before := s.policy.Load()
		s.handler(false).ServeHTTP(w, r)
		s.policy.Store(before) // a reload took the tokens away
		if w.Code != test.status {
			t.Errorf("%s: status %d, want %d: %.300s", test.request, w.Code, test.status, w.Body)
		}
		if method == "HEAD" {
			asked["GET "+strings.SplitN(path, "?", 2)[0]] = true
			continue
		}
		var route string
		for _, one := range s.routes {
			if _, ok := match(one.path, r.URL.EscapedPath()); ok && one.method == method {
				route = one.method + " " + one.path
				asked[route] = true
			}
		}
		c.check(t, test.request, route, w.Result())
	}
	for _, one := range served {
		if !asked[one] {
			t.Errorf("no test asks %s", one)
		}
	}
}

// contract is an OpenAPI 3.1 document, whose schemas are JSON Schema 2020-12.
type contract struct {
	document map[string]any
	schemas  map[string]*jsonschema.Schema // by JSON pointer
}

const contractURL = "file:///openapi.json"

// compile finds every reference and every schema of the document, and compiles them.
func (c *contract) compile(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(c.document)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(contractURL, plain); err != nil {
		t.Fatal(err)
	}
	ids := map[any]bool{}
	var walk func(at string, node any)
	walk = func(at string, node any) {
		switch node := node.(type) {
		case []any:
			for i, child := range node {
				walk(fmt.Sprintf("%s/%d", at, i), child)
			}
		case map[string]any:
			if ref, ok := node["$ref"].(string); ok && c.find(ref) == nil {
				t.Errorf("%s: %s is nowhere", at, ref)
			}
			if id := node["operationId"]; id != nil {
				if ids[id] {
					t.Errorf("%s: operationId %v is there twice", at, id)
				}
				ids[id] = true
			}
			for key, child := range node {
				below := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
				if key != "schema" && at != "#/components/schemas" {
					walk(below, child)
					continue
				}
				schema, err := compiler.Compile(contractURL + below)
				if err != nil {
					t.Errorf("%s: %v", below, err)
				}
				c.schemas[below] = schema
			}
		}
	}
	walk("#", c.document)
}

// find returns what a reference within the document leads to, or nil.
func (c *contract) find(ref string) any {
	var node any = c.document
	for key := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		children, _ := node.(map[string]any)
		node = children[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
	}
	return node
}

// check holds an answer of a route against the document.
func (c *contract) check(t *testing.T, request, route string, answer *http.Response) {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	at := fmt.Sprintf("#/paths/%s/%s/responses/%d", strings.NewReplacer("~", "~0", "/", "~1").Replace(path), strings.ToLower(method), answer.StatusCode)
	response, _ := c.find(at).(map[string]any)
	if ref, ok := response["$ref"].(string); ok {
		at = ref
	}
	kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil {
		t.Errorf("%s: %v", request, err)
	}
	at += "/content/" + strings.ReplaceAll(kind, "/", "~1") + "/schema"
	schema := c.schemas[at]
	if schema == nil {
		t.Errorf("%s: the document does not list status %d with %s", request, answer.StatusCode, kind)
		return
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body any = string(text)
	if kind == jsonType {
		if body, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
			t.Errorf("%s: %v", request, err)
		}
	}
	if err := schema.Validate(body); err != nil {
		t.Errorf("%s: %v\n%.500s", request, err, text)
	}
}

// sealedDNS adds queries of two resolvers to a window.
func sealedDNS(w *netmonpb.Window) *netmonpb.Window {
	for i, rcode := range []uint32{0, 3, unanswered} {
		w.Rows = append(w.Rows, rowOf(&netmonpb.Key{View: netmonpb.View_VIEW_DNS, Interface: "eth0", Address: []byte{192, 0, 2, byte(53 + i/2)}, DnsType: 28, DnsRcode: rcode}, func(c *netmonpb.Counters) {
			c.DnsQueries = 10
			if rcode != unanswered {
				c.DnsResponses = 10
				c.DnsLatency = &netmonpb.Histogram{Buckets: []uint64{0, 0, 4, 6}, SumNs: 60e6}
			}
		}))
	}
	return w
}

// TestViews checks the figures of the API against a window.
func TestViews(t *testing.T) {
	s := testService(t, nil)
	w := sealedDNS(next("a", aLog, 1, nil, domainRow("a.test", 100, 50), domainRow("b.test", 1000, 7)))
	w.Rows = append(w.Rows, rowOf(&netmonpb.Key{View: netmonpb.View_VIEW_PROTOCOLS, Interface: "eth0", Protocol: 6}, func(c *netmonpb.Counters) {
		c.BytesSent, c.BytesReceived, c.PacketsSent, c.PacketsReceived, c.Connections = 1100, 57, 2, 2, 2
	}), rowOf(unnamed("dns"), func(c *netmonpb.Counters) { c.BytesSent = 1157 }))
	now := s.now()
	w.StartNs, w.EndNs = uint64(now.Add(-25*time.Second).UnixNano()), uint64(now.Add(-20*time.Second).UnixNano())
	mustTake(t, s, windowRequest(w))
	mustTake(t, s, windowRequest(next("b", aLog, 1, nil, domainRow("a.test", 1, 1))))
	for path, want := range map[string][]string{
		"/api/v1/domains?host=a&sort=bytes_received&limit=1": {`"domain":"a.test","bytes_sent":100,"bytes_received":50,"bytes":150,`, `"count":1`, `"total":3`},
		"/api/v1/domains?search=A.te":                        {`"domain":"a.test","bytes_sent":101,`, `"total":1`},
		"/api/v1/domains/A.test.":                            {`"host":"a","interface":"eth0","direction":"outbound","bytes_sent":100`, `"host":"b"`, `"sources":["sni"]`, `"sum":{"bytes_sent":101`},
		"/api/v1/stats":                                      {`"bytes_sent":1100,"bytes_received":57,"bytes":1157,`, `"accesses":3`, `"named_ratio":0.5`, `"dns_queries":30`, `"protocol":"tcp"`},
		"/api/v1/dns":                                        {`"resolver":"192.0.2.53","queries":20,"unanswered":0,"rcodes":{"noerror":10,"nxdomain":10},"latency_seconds":{"count":20,"mean":0.006,`, `"resolver":"192.0.2.54","queries":10,"unanswered":10`, `"types":{"AAAA":30}`},
		"/api/v1/traffic?host=a":                             {`"resolution_seconds":10,`, `"id":"a"`},
	} {
		answer := ask(s, "GET", path, nil, nil)
		for _, text := range want {
			if answer.Code != 200 || !strings.Contains(answer.Body.String(), text) {
				t.Errorf("%s lacks %s: %d %.600s", path, text, answer.Code, answer.Body)
			}
		}
	}
	total, each := s.recent.series(now, steps, "a")
	var sent, received float64
	for i := range total.Sent {
		sent += total.Sent[i] * resolution.Seconds()
		received += total.Received[i] * resolution.Seconds()
	}
	if fmt.Sprintf("%.3f %.3f %d", sent, received, len(each)) != "2257.000 57.000 1" {
		t.Errorf("in the last hour: %v sent, %v received, %d sensors", sent, received, len(each))
	}
}
