package view

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// names is how many a budget is tried with: `make soak` sets NETMON_SLOW=1.
func names() int {
	if os.Getenv("NETMON_SLOW") == "1" {
		return 10_000_000
	}
	return 500_000
}

// Ten million names, in the order of real traffic and in those that are worst for
// a budget: every window sums to the byte, no view holds more than its bound, and a
// heavy name that comes late has its row by its second window.
func TestTenMillionNames(t *testing.T) {
	const windows = 20
	n := names()
	rng := rand.New(rand.NewPCG(3, 9))
	zipf := rand.NewZipf(rng, 1.1, 10, uint64(n-1))
	orders := map[string]func(i int) (name int, bytes uint64){
		"zipf":    func(int) (int, uint64) { return int(zipf.Uint64()), 1200 },
		"new":     func(i int) (int, uint64) { return i, 1200 },                 // none comes twice
		"rising":  func(i int) (int, uint64) { return i, uint64(i)/16 + 64 },    // each displaces another
		"falling": func(i int) (int, uint64) { return i, uint64(n-i)/16 + 64 },  // the first stay
		"rounds":  func(i int) (int, uint64) { return i % (n / windows), 1200 }, // all alike heavy, in every window
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCheck(t, Options{MaxRows: n / 1000, IdleTimeout: 5 * time.Second})
			heavy := flowTo(1<<24-1, uint64(n)*100)
			first := 0
			for w := range windows {
				var last []*Flow
				if w >= windows/2 {
					last = append(last, heavy)
				}
				out := c.windowOf(int64(w)*second, n/windows, func(i int) *Flow {
					name, bytes := order(w*(n/windows) + i)
					return flowTo(name, bytes)
				}, last)
				if r := find(out, heavy.Domain); r != nil && first == 0 {
					first = w
				}
			}
			if first < windows/2 || first > windows/2+1 {
				t.Errorf("the heavy name came in window %d and has a row from %d on", windows/2, first)
			}
			if s := c.set.Stats()[0]; s.View != netmonpb.View_VIEW_DOMAINS || s.Overflowed == 0 {
				t.Errorf("no name overflowed: %+v", s)
			}
		})
	}
}
