package server

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// gate lets few in at a time and some wait; whoever comes when those are many is
// sent away.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64 // how many may wait
}

func newGate(slots, queue int) *gate {
	return &gate{slots: make(chan struct{}, slots), queue: int64(queue)}
}

func (g *gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return busy("too many such requests at a time")
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return busy("the request waited for too long")
	}
}

func (g *gate) leave() { <-g.slots }

// busy is the answer to what could be served a moment later.
func busy(why string) *refusal {
	r := refuse(codeUnavailable, "%s", why)
	r.after = time.Second
	return r
}

// ration is memory that peers take for the bodies they send. A quarter of it is
// the most for one.
type ration struct {
	limit int64

	mu    sync.Mutex // guards the rest
	total int64
	peers map[string]int64
}

func (b *ration) take(peer string, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total+n > b.limit || b.peers[peer]+n > b.limit/4 {
		return busy("too many bodies are under way")
	}
	b.total += n
	b.peers[peer] += n
	return nil
}

func (b *ration) give(peer string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total -= n
	if b.peers[peer] -= n; b.peers[peer] == 0 {
		delete(b.peers, peer)
	}
}

// quotas count what each sensor sends. Sensors that the store does not hold yet
// share one count, so that invented names make neither memory nor room.
type quotas struct {
	mu      sync.Mutex // guards sensors
	sensors map[string]*spent
}

type spent struct {
	quota  Quota
	limits [3]*rate.Limiter // pushes, rows, bytes
}

// spend takes from a sensor's quota, or tells how long it has to wait.
func (q *quotas) spend(sensor string, quota Quota, now time.Time, rows, bytes int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.sensors[sensor]
	if s == nil || s.quota != quota {
		limiter := func(n int, per, burst time.Duration) *rate.Limiter {
			if n == 0 {
				return rate.NewLimiter(rate.Inf, 0)
			}
			return rate.NewLimiter(rate.Limit(float64(n)/per.Seconds()), int(float64(n)*burst.Seconds()/per.Seconds()))
		}
		s = &spent{quota, [3]*rate.Limiter{
			limiter(quota.Pushes, time.Second, 10*time.Second),
			limiter(quota.Rows, time.Minute, time.Minute),
			limiter(int(quota.Bytes), time.Minute, time.Minute),
		}}
		q.sensors[sensor] = s
	}
	var wait time.Duration
	var what string
	var taken [3]*rate.Reservation
	for i, n := range [3]int{1, rows, bytes} {
		if s.limits[i].Limit() != rate.Inf {
			n = min(n, s.limits[i].Burst()) // what is larger than the quota waits until all of it is there
		}
		taken[i] = s.limits[i].ReserveN(now, n)
		if d := taken[i].DelayFrom(now); d > wait {
			wait, what = d, [3]string{"pushes_per_second", "rows_per_minute", "bytes_per_minute"}[i]
		}
	}
	if wait == 0 {
		return nil
	}
	for _, r := range taken {
		r.CancelAt(now)
	}
	r := refuse(codeQuota, "the sensor sends more than its quota, %s", what)
	r.after = wait
	return r
}

func (q *quotas) forget(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.sensors, id)
}

// crowd bounds the connections of all listeners together, and of each address.
type crowd struct {
	limit   int
	refused atomic.Uint64

	mu   sync.Mutex // guards the rest
	all  int
	from map[netip.Addr]int
}

func newCrowd(limit int) *crowd { return &crowd{limit: limit, from: map[netip.Addr]int{}} }

func (c *crowd) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

func (c *crowd) admit(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.limit || c.from[a] >= max(c.limit/4, 1) {
		c.refused.Add(1)
		return false
	}
	c.all++
	c.from[a]++
	return true
}

func (c *crowd) release(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.from[a]--; c.from[a] == 0 {
		delete(c.from, a)
	}
}

// doorkeeper is a listener that closes the connections beyond the bounds at once.
// Before the first one it calls begin.
type doorkeeper struct {
	net.Listener
	crowd *crowd // nil: no bounds
	once  sync.Once
	begin func()
}

func (d *doorkeeper) Accept() (net.Conn, error) {
	d.once.Do(d.begin)
	for {
		conn, err := d.Listener.Accept()
		if err != nil || d.crowd == nil {
			return conn, err
		}
		var from netip.Addr
		if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			from = tcp.AddrPort().Addr().Unmap()
		}
		if d.crowd.admit(from) {
			return &counted{Conn: conn, release: sync.OnceFunc(func() { d.crowd.release(from) })}, nil
		}
		_ = conn.Close() // we have nothing to say to it
	}
}

type counted struct {
	net.Conn
	release func()
}

func (c *counted) Close() error {
	c.release()
	return c.Conn.Close()
}
