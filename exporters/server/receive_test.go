package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/prometheus/common/expfmt"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t testing.TB, b []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(b, nil)
}

// ask sends one request to the handler.
func ask(s *service, method, path string, header map[string]string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.handler(false).ServeHTTP(w, r)
	return w
}

func post(s *service, encoding string, body []byte) *httptest.ResponseRecorder {
	return ask(s, "POST", "/api/v1/metrics", map[string]string{"Content-Type": contentType, "Content-Encoding": encoding}, body)
}

func TestReceive(t *testing.T) {
	body := encode(t, windowRequest(oneOfEach()))
	for encoding, sent := range map[string][]byte{"": body, "identity": body, "gzip": zipped(t, body), "zstd": zstandard(t, body)} {
		s := testService(t, nil)
		for _, applied := range []bool{true, false} {
			w := post(s, encoding, sent)
			var held netmonpb.PushResponse
			if err := protojson.Unmarshal(w.Body.Bytes(), &held); err != nil || w.Code != 200 {
				t.Fatalf("%s: status %d: %v", encoding, w.Code, err)
			}
			if want := (&netmonpb.PushResponse{LogId: aLog, Watermark: 1, Applied: applied}); !proto.Equal(&held, want) {
				t.Errorf("%s: %v, want %v", encoding, &held, want)
			}
		}
		wantSeries(t, s, `network_bytes_sent_total{host="host-1",interface="eth0",protocol="tcp"}`, "2000")
	}
}

// refusals are bodies and headers that must change nothing.
func refusals(t testing.TB) map[string]struct {
	header map[string]string
	body   []byte
	status int
	code   code
} {
	bad := func(edit func(*netmonpb.Window)) []byte {
		w := oneOfEach()
		w.Sequence, w.PreviousChain = 2, chainOf(aLog, 1)
		edit(w)
		return encode(t, windowRequest(w))
	}
	key := func(edit func(*netmonpb.Key)) []byte {
		return bad(func(w *netmonpb.Window) { edit(w.Rows[len(w.Rows)-1].Key) })
	}
	proto := map[string]string{"Content-Type": contentType}
	with := func(encoding string) map[string]string {
		return map[string]string{"Content-Type": contentType, "Content-Encoding": encoding}
	}
	type refusal = struct {
		header map[string]string
		body   []byte
		status int
		code   code
	}
	invalid := func(body []byte) refusal { return refusal{proto, body, 400, codeInvalid} }
	return map[string]refusal{
		"no type":           {nil, bad(func(*netmonpb.Window) {}), 415, codeUnsupported},
		"text":              {map[string]string{"Content-Type": "text/plain"}, []byte("{}"), 415, codeUnsupported},
		"json of nobody":    {map[string]string{"Content-Type": "application/json"}, []byte("{}"), 400, codeMissingAgent},
		"odd encoding":      {with("br"), nil, 415, codeUnsupported},
		"broken gzip":       {with("gzip"), []byte("no gzip"), 400, codeInvalid},
		"broken zstd":       {with("zstd"), []byte("no zstd"), 400, codeInvalid},
		"zstd cut off":      {with("zstd"), zstandard(t, bad(func(*netmonpb.Window) {}))[:40], 400, codeInvalid},
		"too long":          {proto, make([]byte, 8<<20+1), 413, codeTooLarge},
		"gzip bomb":         {with("gzip"), zipped(t, make([]byte, 33<<20)), 413, codeTooLarge},
		"zstd bomb":         {with("zstd"), zstandard(t, make([]byte, 33<<20)), 413, codeTooLarge},
		"many empty rows":   {proto, encodeRaw(bytes.Repeat([]byte{0x4a, 0}, maxRequestRows+1)), 413, codeTooLarge},
		"unknown log":       {proto, bad(func(w *netmonpb.Window) { w.LogId = bytes.Repeat([]byte{9}, 16) }), 409, codeUnknownLog},
		"gap":               {proto, bad(func(w *netmonpb.Window) { w.Sequence = 17 }), 409, codeOutOfSequence},
		"conflict":          {proto, bad(func(w *netmonpb.Window) { w.PreviousChain = []byte("x") }), 409, codeConflict},
		"empty":             invalid(nil),
		"no protobuf":       invalid([]byte("hello")),
		"short log id":      invalid(bad(func(w *netmonpb.Window) { w.LogId = []byte("x") })),
		"no sensor":         invalid(bad(func(w *netmonpb.Window) { w.SensorId = "" })),
		"sensor with bell":  invalid(bad(func(w *netmonpb.Window) { w.SensorId = "a\ab" })),
		"sequence 0":        invalid(bad(func(w *netmonpb.Window) { w.Sequence = 0 })),
		"long chain":        invalid(bad(func(w *netmonpb.Window) { w.Chain = make([]byte, 65) })),
		"row without key":   invalid(bad(func(w *netmonpb.Window) { w.Rows[3].Key = nil })),
		"invalid domain":    invalid(bad(func(w *netmonpb.Window) { w.Rows[0].Key.Domain = "a b" })),
		"upper case domain": invalid(bad(func(w *netmonpb.Window) { w.Rows[0].Key.Domain = "A.test" })),
		"invented sum":      invalid(bad(func(w *netmonpb.Window) { w.Rows[0].Key.Domain = "(mine)" })),
		"address of 5":      invalid(bad(func(w *netmonpb.Window) { w.Rows[4].Key.Address = make([]byte, 5) })),
		"no address":        invalid(bad(func(w *netmonpb.Window) { w.Rows[4].Key.Address = nil })),
		"counter too big":   invalid(bad(func(w *netmonpb.Window) { w.Rows[0].Counters.BytesSent = maxDelta })),
		"unknown view":      invalid(key(func(k *netmonpb.Key) { k.View = 99 })),
		"unknown direction": invalid(key(func(k *netmonpb.Key) { k.Direction = 99 })),
		"protocol 256":      invalid(key(func(k *netmonpb.Key) { k.Protocol = 256 })),
		"our own item":      invalid(key(func(k *netmonpb.Key) { k.Item = "server_rows" })),
		"item with brace":   invalid(key(func(k *netmonpb.Key) { k.Item = "a{b" })),
		"detail with line":  invalid(key(func(k *netmonpb.Key) { k.Detail = "a\nb" })),
		"long interface":    invalid(key(func(k *netmonpb.Key) { k.Interface = strings.Repeat("x", 200) })),
		"retired in snapshot": invalid(encode(t, snapshotRequest(&netmonpb.Snapshot{LogId: aLog, SensorId: "host-1", Sequence: 7,
			Rows: []*netmonpb.Row{{Key: domainKey("a.test", 0), Retired: true}}}))),
	}
}

// encodeRaw is a PushRequest with a window of these bytes.
func encodeRaw(window []byte) []byte {
	b := []byte{0x0a}
	for n := len(window); ; n >>= 7 {
		if n < 0x80 {
			return append(append(b, byte(n)), window...)
		}
		b = append(b, byte(n)|0x80)
	}
}

func TestRefusals(t *testing.T) {
	s := testService(t, nil)
	mustTake(t, s, windowRequest(oneOfEach()))
	before := exposition(s, false)
	for name, c := range refusals(t) {
		w := ask(s, "POST", "/api/v1/metrics", c.header, c.body)
		var e envelope
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
			t.Errorf("%s: %v: %s", name, err, w.Body)
		}
		if w.Code != c.status || e.Error.Code != c.code || e.Error.Message == "" {
			t.Errorf("%s: status %d %s %q, want %d %s", name, w.Code, e.Error.Code, e.Error.Message, c.status, c.code)
		}
		if c.code == codeOutOfSequence && e.Error.Expected != 2 {
			t.Errorf("%s: expected is %d", name, e.Error.Expected)
		}
		if after := exposition(s, false); after != before {
			t.Fatalf("%s: the state has changed:\n%s", name, after)
		}
	}
}

func FuzzIngest(f *testing.F) {
	f.Add(encode(f, windowRequest(oneOfEach())))
	second := oneOfEach()
	second.Sequence, second.PreviousChain = 2, chainOf(aLog, 1)
	f.Add(encode(f, windowRequest(second)))
	f.Add(encode(f, snapshotRequest(&netmonpb.Snapshot{LogId: aLog, SensorId: "host-1", Sequence: 7, Rows: second.Rows})))
	for _, c := range refusals(f) {
		if len(c.body) < 1<<12 {
			f.Add(c.body)
		}
	}
	s := testService(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		s.store = newMemory(limits{sensors: 10, rowsPerSensor: 100, rows: 1000}, s.now)
		mustTake(t, s, windowRequest(oneOfEach()))
		before := exposition(s, false)
		w := post(s, "", body)
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("internal error: %s", w.Body)
		}
		if after := exposition(s, false); w.Code != 200 && after != before {
			t.Fatalf("status %d and the state has changed", w.Code)
		}
		if w.Code == 200 {
			parse(t, exposition(s, false), expfmt.FmtText)
		}
	})
}

// TestScrapeWhileReceiving: a scrape sees whole windows. Every window adds the
// same to two families; no scrape may show them apart.
func TestScrapeWhileReceiving(t *testing.T) {
	s := testService(t, nil)
	const windows, sensors = 60, 3
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for i := range sensors {
		writers.Go(func() {
			sensor := fmt.Sprint("h", i)
			for n := uint64(1); n <= windows; n++ {
				w := next(sensor, aLog, n, chainOf(aLog, n-1))
				for d := range 20 {
					w.Rows = append(w.Rows, domainRow(fmt.Sprintf("d%d.test", (uint64(d)+n)%40), 5, 0))
				}
				w.Rows = append(w.Rows, rowOf(&netmonpb.Key{View: netmonpb.View_VIEW_PROTOCOLS, Protocol: 6}, func(c *netmonpb.Counters) { c.BytesSent = 100 }))
				w.Rows[0].Retired = true
				if r := post(s, "", encode(t, windowRequest(w))); r.Code != 200 {
					t.Errorf("window %d: %s", n, r.Body)
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				body := ask(s, "GET", "/metrics", nil, nil).Body.String()
				families := parse(t, body, expfmt.FmtText)
				var sums [2]float64
				for i, name := range []string{"network_domain_bytes_sent_total", "network_bytes_sent_total"} {
					for _, m := range families[name].GetMetric() {
						sums[i] += m.GetCounter().GetValue()
					}
				}
				if sums[0] != sums[1] {
					t.Errorf("a scrape shows half a window: %v and %v", sums[0], sums[1])
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if got := sum(t, s, "network_bytes_sent_total"); got != windows*sensors*100 {
		t.Errorf("%d bytes in the end", got)
	}
}
