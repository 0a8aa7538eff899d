package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestQuota: what a sensor sends beyond its quota is refused with the time after
// which it is taken, and takes nothing from the others.
func TestQuota(t *testing.T) {
	push := func(s *service, sensor string, sequence uint64, rows int) (status int, wait time.Duration) {
		t.Helper()
		w := next(sensor, aLog, sequence, chainOf(aLog, sequence-1))
		for i := range rows {
			w.Rows = append(w.Rows, domainRow(fmt.Sprintf("n%d.test", i), 1, 1))
		}
		if sequence == 1 {
			w.PreviousChain = nil
		}
		answer := post(s, "", encode(t, windowRequest(w)))
		seconds, err := strconv.Atoi(answer.Header().Get("Retry-After"))
		if (answer.Code == http.StatusTooManyRequests) != (err == nil) {
			t.Errorf("status %d with Retry-After %q", answer.Code, answer.Header().Get("Retry-After"))
		}
		if err == nil && !strings.Contains(answer.Body.String(), `"QUOTA_EXCEEDED"`) {
			t.Errorf("answer: %s", answer.Body)
		}
		return answer.Code, time.Duration(seconds) * time.Second
	}
	tests := []struct {
		name  string
		quota Quota
		rows  int // of each window
		fit   int // windows
		least time.Duration
	}{
		{"pushes", Quota{Pushes: 1}, 1, 10, time.Second},
		{"rows", Quota{Rows: 100}, 25, 4, 15 * time.Second},
		{"bytes", Quota{Bytes: 64 << 10}, 500, 3, 15 * time.Second},
		{"none", Quota{}, 1, 200, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := testService(t, func(c *Config) { c.Quota = test.quota })
			now := s.now()
			s.now = func() time.Time { return now }
			for _, sensor := range []string{"a", "b"} { // known ones have a quota each
				mustTake(t, s, windowRequest(next(sensor, aLog, 1, nil)))
			}
			n, status, wait := uint64(1), 200, time.Duration(0)
			for ; status == 200 && n <= 200; n++ {
				status, wait = push(s, "a", n+1, test.rows)
			}
			if test.quota == (Quota{}) {
				if status != 200 {
					t.Errorf("without a quota: %d", status)
				}
				return
			}
			if fit := int(n) - 2; fit != test.fit || wait < test.least {
				t.Fatalf("%d windows fit, want %d; then wait for %v", fit, test.fit, wait)
			}
			if status, _ := push(s, "b", 2, test.rows); status != 200 {
				t.Errorf("another sensor: %d", status)
			}
			now = now.Add(wait)
			if status, _ := push(s, "a", n, test.rows); status != 200 {
				t.Errorf("after Retry-After: %d", status)
			}
		})
	}
}

// TestStrangersShareAQuota: invented names bring no quota of their own.
func TestStrangersShareAQuota(t *testing.T) {
	s := testService(t, func(c *Config) { c.Quota, c.MaxSensors = Quota{Pushes: 1}, 1 })
	statuses := map[int]int{}
	for i := range 50 {
		statuses[post(s, "", encode(t, windowRequest(next(fmt.Sprint("x", i), aLog, 1, nil)))).Code]++
	}
	// One finds room, nine have a quota and no room.
	if statuses[200] != 1 || statuses[429] != 40 || len(s.quotas.sensors) != 1 {
		t.Errorf("%v, %d quotas", statuses, len(s.quotas.sensors))
	}
}

// TestConflictIsShown: a clone is seen in the API and in the scrape until the
// sensor goes on.
func TestConflictIsShown(t *testing.T) {
	s := testService(t, nil)
	mustTake(t, s, windowRequest(next("a", aLog, 1, nil)))
	mustTake(t, s, windowRequest(next("b", aLog, 1, nil)))
	shows := func(want bool) {
		t.Helper()
		wantSeries := fmt.Sprintf("netmon_server_sensor_conflict{host=\"a\"} %d\nnetmon_server_sensor_conflict{host=\"b\"} 0\n", int(oneIf(want)))
		if text := ask(s, "GET", "/metrics", nil, nil).Body.String(); !strings.Contains(text, wantSeries) {
			t.Errorf("the scrape lacks %s", wantSeries)
		}
		text := ask(s, "GET", "/api/v1/agents/a", nil, nil).Body.String()
		if !strings.Contains(text, fmt.Sprintf(`"conflict":%v`, want)) {
			t.Errorf("conflict is not %v: %s", want, text)
		}
	}
	shows(false)
	clone := next("a", aLog, 2, []byte("another history"))
	if status := post(s, "", encode(t, windowRequest(clone))).Code; status != 409 {
		t.Errorf("the clone: %d", status)
	}
	shows(true)
	mustTake(t, s, windowRequest(next("a", aLog, 2, chainOf(aLog, 1))))
	shows(false)
}

// TestListeners: so many may listen to events and no more; who leaves makes room.
func TestListeners(t *testing.T) {
	e, bound := begin(t, "", nil)
	mustTake(t, e.running.service, windowRequest(next("a", aLog, 1, nil)))
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	listen := func() *http.Response {
		t.Helper()
		r, err := client.Get("http://" + bound[0] + "/api/v1/events")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var open []*http.Response
	for range maxListeners {
		r := listen()
		line, err := bufio.NewReader(r.Body).ReadString('\n')
		if err != nil || line != "event: digest\n" || r.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%q %v", line, err)
		}
		open = append(open, r)
	}
	r := listen()
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", r.StatusCode)
	}
	r.Body.Close()
	open[0].Body.Close()
	eventually(t, "room after one left", func() bool {
		r := listen()
		defer r.Body.Close()
		return r.StatusCode == 200
	})
	for _, r := range open[1:] {
		r.Body.Close()
	}
	eventually(t, "all places free", func() bool { return len(e.running.service.listening) == 0 })
}

// TestDeafListener: a listener that takes nothing is cut off. The connection is a
// pipe, which has no buffer.
func TestDeafListener(t *testing.T) {
	s := testService(t, nil)
	near, far := net.Pipe()
	defer near.Close()
	one := &oneConn{conn: far, ended: make(chan struct{})}
	server := &http.Server{Handler: s.handler(false)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(one) }()
	begin := time.Now()
	if _, err := io.WriteString(near, "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it listens", func() bool { return len(s.listening) == 1 })
	eventually(t, "it is cut off", func() bool { return len(s.listening) == 0 })
	if took := time.Since(begin); took < eventDeadline {
		t.Errorf("it was cut off after %v, before %v", took, eventDeadline)
	}
	_ = server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn  net.Conn
	once  sync.Once
	ended chan struct{}
}

func (o *oneConn) Accept() (net.Conn, error) {
	if c := o.conn; c != nil {
		o.conn = nil
		return c, nil
	}
	<-o.ended
	return nil, net.ErrClosed
}

func (o *oneConn) Close() error {
	o.once.Do(func() { close(o.ended) })
	return nil
}

func (o *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// TestSlowHeaders: connections whose request never ends are closed after
// headerTimeout, and meanwhile the others are served.
func TestSlowHeaders(t *testing.T) {
	_, bound := begin(t, "", nil)
	begin := time.Now()
	var slow []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", bound[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	if status, _ := get(t, http.DefaultClient, "http://"+bound[0]+"/metrics"); status != 200 {
		t.Errorf("meanwhile: %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
	for _, c := range slow {
		_, _ = io.WriteString(c, "a") // more of it is no reason to wait longer
	}
	for i, c := range slow {
		_ = c.SetReadDeadline(begin.Add(headerTimeout + 20*time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("connection %d is open after %v", i, time.Since(begin))
		}
	}
	if took := time.Since(begin); took < headerTimeout {
		t.Errorf("closed after %v, before %v", took, headerTimeout)
	}
}

// TestLargeHeaders: a megabyte of them is refused after little of it was read.
func TestLargeHeaders(t *testing.T) {
	_, bound := begin(t, "", nil)
	for name, header := range map[string]string{
		"one":  "X-Large: " + strings.Repeat("a", 1<<20) + "\r\n",
		"many": strings.Repeat("X-Large: a\r\n", 1<<20/12),
	} {
		c, err := net.Dial("tcp", bound[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		go func() { _, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n"+header+"\r\n") }() // the server stops reading
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: status %d", name, answer.StatusCode)
		}
		answer.Body.Close()
	}
	if status, _ := get(t, http.DefaultClient, "http://"+bound[0]+"/-/healthy"); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestManyConnections: one address gets a quarter of them; what comes beyond that
// is closed and counted, others are served, and all come back.
func TestManyConnections(t *testing.T) {
	const limit, tries = 400, 2000
	e, bound := begin(t, "", func(c *Config) { c.Listen, c.MaxConnections = []string{"127.0.0.1:0", "127.0.0.2:0"}, limit })
	crowd := e.running.service.crowd
	var open []net.Conn
	for range tries {
		c, err := net.Dial("tcp", bound[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	eventually(t, "all are counted", func() bool { return crowd.refused.Load() == tries-limit/4 })
	if n := crowd.open(); n != limit/4 {
		t.Errorf("%d are open", n)
	}
	other := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
	}}
	defer other.CloseIdleConnections()
	status, body := get(t, other, "http://"+bound[1]+"/metrics")
	for _, want := range []string{
		fmt.Sprintf("netmon_server_connections %d\n", limit/4+1), fmt.Sprintf("netmon_server_connections_refused_total %d\n", tries-limit/4),
	} {
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("another address: %d, the scrape lacks %s", status, want)
		}
	}
	other.CloseIdleConnections()
	for _, c := range open {
		c.Close()
	}
	eventually(t, "all come back", func() bool { return crowd.open() == 0 })
	if status, _ := get(t, http.DefaultClient, "http://"+bound[0]+"/-/healthy"); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestSlowScraper: scrapers that do not read hold a picture each, and neither the
// windows nor other requests wait for them.
func TestSlowScraper(t *testing.T) {
	e, bound := begin(t, "", func(c *Config) { c.Quota = Quota{} })
	s := e.running.service
	fill(t, s, 20_000) // some megabytes, more than the sockets hold
	for range senders {
		c, err := net.Dial("tcp", bound[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are being sent to", func() bool { return len(s.sending.slots) == senders && len(s.scraping.slots) == 0 })
	begin := time.Now()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := uint64(2); n < 52; n++ {
		body := encode(t, windowRequest(next("host-1", aLog, n, chainOf(aLog, n-1), domainRow("a.test", 1, 1))))
		if status, code, _ := answerTo(t, client, "POST", "http://"+bound[0]+"/api/v1/metrics", "", contentType, body); status != 200 {
			t.Fatalf("window %d: %d %s", n, status, code)
		}
	}
	if status, _ := get(t, client, "http://"+bound[0]+"/api/v1/agents"); status != 200 {
		t.Errorf("the API: %d", status)
	}
	if status, code, header := answerTo(t, client, "GET", "http://"+bound[0]+"/metrics", "", "", nil); status != 503 || code != codeUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("one more scrape: %d %s", status, code)
	}
	if took := time.Since(begin); took > scrapeDeadline/2 || len(s.sending.slots) != senders {
		t.Errorf("50 windows took %v, %d scrapers still wait", took, len(s.sending.slots))
	}
}
