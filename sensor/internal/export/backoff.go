package export

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
	// healthyAfter is how long a process must have run for the next pause to be
	// short again.
	healthyAfter = 10 * time.Second
)

// backoff counts failures in a row.
type backoff struct{ failures int }

// next is how long to wait before the attempt after one that lasted ran: twice
// as long each time, give or take a fifth.
func (b *backoff) next(ran time.Duration) time.Duration {
	if ran >= healthyAfter {
		b.failures = 0
	}
	pause := lastPause
	if b.failures < 6 {
		pause = firstPause << b.failures
	}
	b.failures++
	return time.Duration(float64(min(pause, lastPause)) * (0.8 + 0.4*rand.Float64()))
}

func (b *backoff) reset() { b.failures = 0 }

// sleep waits for d unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
