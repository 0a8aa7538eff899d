package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// weather is what a proxy does to pushes.
type weather string

const (
	fair  weather = "fair"
	cut   weather = "cut"   // connections end before the server has the push, or before the sensor has the answer
	late  weather = "late"  // pushes arrive when the sensor has given them up and sent them again
	twice weather = "twice" // each arrives twice at the same time, at two servers if there are
	stale weather = "stale" // after each come some that were sent before, in any order
	busy  weather = "busy"  // some are answered 503
	liar  weather = "liar"  // some windows are acknowledged and thrown away, as if the server had been set back since
)

var weathers = []weather{cut, late, twice, stale, busy, liar}

// A point is a moment of a push at which something can be made to happen.
type point string

const (
	arriving point = "a push arrives"          // the server does not have it yet
	underWay point = "the server works on it"  // or has not begun, or is done
	taken    point = "the server has taken it" // and the sensor does not know
)

const (
	keptBack = 40                      // pushes that may come again
	tooLate  = 2500 * time.Millisecond // beyond the time that push waits for an answer
)

// A proxy stands between the sensors and one server or several, each as good as the
// other.
type proxy struct {
	backends []string
	client   *http.Client

	mu      sync.Mutex // guards what follows
	random  *rand.Rand
	weather weather
	trap    *trap
	kept    []push
	counts  map[weather]int // what was done to pushes
}

// A trap runs f at a point, once.
type trap struct {
	at    point
	f     func()
	fired chan struct{}
}

type push struct {
	path   string
	header http.Header
	body   []byte
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

// newProxy listens on all addresses of a host, and forwards to others of its
// addresses.
func newProxy(t testing.TB, h *host, seed uint64, address string, backends ...string) *proxy {
	t.Helper()
	p := &proxy{backends: backends, client: h.http(), random: rand.New(rand.NewPCG(seed, 1)), weather: fair, counts: map[weather]int{}}
	var listener net.Listener
	err := h.inside(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: p}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return p
}

func (p *proxy) turn(w weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
}

// lay lays a trap in place of the one before.
func (p *proxy) lay(at point, f func()) (fired <-chan struct{}) {
	t := &trap{at, f, make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = t
	return t.fired
}

// lift takes the trap away, unless it has been sprung.
func (p *proxy) lift() (lifted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lifted = p.trap != nil
	p.trap = nil
	return lifted
}

// pass springs the trap that is laid at a point.
func (p *proxy) pass(at point) (sprung bool) {
	p.mu.Lock()
	t := p.trap
	if sprung = t != nil && t.at == at; sprung {
		p.trap = nil
	}
	p.mu.Unlock()
	if sprung {
		t.f()
		close(t.fired)
	}
	return sprung
}

// chance draws one of n under the lock, and notes what it was drawn for.
func (p *proxy) chance(w weather, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[w]++
	return p.random.IntN(n)
}

// keep puts a push among those that may come again, and draws some of these.
func (p *proxy) keep(one push) (again []push) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = append(p.kept, one)
	p.kept = p.kept[max(0, len(p.kept)-keptBack):]
	for range 3 {
		again = append(again, p.kept[p.random.IntN(len(p.kept))])
	}
	return again
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	one := push{r.URL.Path, r.Header.Clone(), body}
	p.mu.Lock()
	now := p.weather
	p.mu.Unlock()
	if one.path != "/api/v1/metrics" {
		p.answer(w, p.forward(one))
		return
	}
	again := p.keep(one)
	p.pass(arriving)
	switch now {
	case cut:
		switch p.chance(cut, 3) {
		case 0:
			panic(http.ErrAbortHandler)
		case 1:
			p.forward(one)
			panic(http.ErrAbortHandler)
		}
	case late:
		time.AfterFunc(tooLate+time.Duration(p.chance(late, 2000))*time.Millisecond, func() { p.forward(one) })
		if p.chance(late, 2) == 0 {
			panic(http.ErrAbortHandler) // at once: the one sent again is the first to arrive
		}
	case twice:
		go p.forward(one)
		p.chance(twice, 1)
	case busy:
		if p.chance(busy, 2) == 0 {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
	case liar:
		if lie, ok := acknowledgement(body); ok && p.chance(liar, 2) == 0 {
			p.answer(w, lie)
			return
		}
	}
	var got *reply
	done := make(chan struct{})
	go func() {
		defer close(done)
		got = p.forward(one)
	}()
	p.pass(underWay)
	<-done
	if got != nil && got.status == http.StatusOK && p.pass(taken) {
		panic(http.ErrAbortHandler)
	}
	if now == stale {
		for _, old := range again {
			p.chance(stale, 1)
			p.forward(old)
		}
	}
	p.answer(w, got)
}

// forward sends a push to one of the servers. Nil: it does not answer.
func (p *proxy) forward(one push) *reply {
	p.mu.Lock()
	to := p.backends[p.random.IntN(len(p.backends))]
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to+one.path, bytes.NewReader(one.body))
	if err != nil {
		return nil
	}
	r.Header = one.header.Clone()
	answer, err := p.client.Do(r)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil
	}
	return &reply{answer.StatusCode, answer.Header, text}
}

func (p *proxy) answer(w http.ResponseWriter, a *reply) {
	if a == nil {
		panic(http.ErrAbortHandler)
	}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := a.header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// acknowledgement is what a server says that holds everything through a window.
func acknowledgement(body []byte) (*reply, bool) {
	var request netmonpb.PushRequest
	if proto.Unmarshal(body, &request) != nil || request.GetWindow() == nil {
		return nil, false
	}
	w := request.GetWindow()
	text, err := protojson.Marshal(&netmonpb.PushResponse{LogId: w.LogId, Watermark: w.Sequence, Applied: true})
	return &reply{http.StatusOK, http.Header{"Content-Type": {"application/json"}}, text}, err == nil
}
