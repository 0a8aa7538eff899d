package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// BenchmarkTops asks for lists and scrapes of a million rows of ten sensors, and tells for how long
// a window that comes meanwhile waits at most until it may be applied.
func BenchmarkTops(b *testing.B) {
	const sensors, each = 10, 100_000
	s := testService(b, func(c *Config) { c.MaxRows = 2 * sensors * each })
	for i := range sensors {
		mustTake(b, s, windowRequest(bigWindow(fmt.Sprint("s", i), 1, each)))
	}
	m := s.store.(*memory)
	for _, path := range []string{"/api/v1/domains", "/api/v1/stats", "/metrics"} {
		b.Run(path[1:], func(b *testing.B) {
			var longest time.Duration
			end := make(chan struct{})
			var ingest sync.WaitGroup
			ingest.Go(func() {
				for {
					began := time.Now()
					m.mu.Lock()
					longest = max(longest, time.Since(began))
					m.mu.Unlock()
					select {
					case <-end:
						return
					case <-time.After(time.Millisecond):
					}
				}
			})
			for b.Loop() {
				answer := &thrownAway{header: http.Header{}}
				s.handler(false).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
				if answer.code > http.StatusOK {
					b.Fatal(answer.code)
				}
			}
			close(end)
			ingest.Wait()
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest-wait")
		})
	}
}

// thrownAway is an answer of which only the code is kept; 0 is http.StatusOK.
type thrownAway struct {
	header http.Header
	code   int
}

func (t *thrownAway) Header() http.Header         { return t.header }
func (t *thrownAway) WriteHeader(code int)        { t.code = code }
func (t *thrownAway) Write(b []byte) (int, error) { return len(b), nil }
