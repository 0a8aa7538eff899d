package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/sys/unix"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// A sensor that never stops inventing names costs the server its budget and no
// more, and every scrape sums to what the windows say, to the byte. `make soak`
// sets NETMON_SLOW=1 for ten million names.
func TestBudgetHoldsAgainstNewNames(t *testing.T) {
	total := 60_000
	if os.Getenv("NETMON_SLOW") == "1" {
		total = 10_000_000
	}
	const windows, budget = 20, 1000
	rng := rand.New(rand.NewPCG(5, 8))
	zipf := rand.NewZipf(rng, 1.1, 10, uint64(total-1))
	orders := map[string]func(i int) int{
		"zipf":   func(int) int { return int(zipf.Uint64()) },
		"new":    func(i int) int { return i },
		"rounds": func(i int) int { return i % (total / windows) },
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			s := testService(t, func(c *Config) { c.MaxRowsPerSensor, c.MaxRows = budget, 10*budget })
			var ledger netmonpb.Ledger
			var chain []byte
			before := ""
			for w := range uint64(windows) {
				win := next("host-1", aLog, w+1, chain)
				chain = win.Chain
				seen := map[int]*netmonpb.Row{}
				for i := range total / windows {
					n := order(int(w)*(total/windows) + i)
					if r := seen[n]; r != nil {
						r.Counters.BytesSent += 600
					} else {
						seen[n] = domainRow(fmt.Sprintf("n%d.example.com", n), 600, 0)
						// A sensor retires what it has no row for any more.
						seen[n].Retired = rng.IntN(2) == 0
						win.Rows = append(win.Rows, seen[n])
					}
					ledger.Bytes += 600
				}
				win.Ledger = &netmonpb.Ledger{Bytes: ledger.Bytes}
				mustTake(t, s, windowRequest(win))
				if got := sum(t, s, "network_domain_bytes_sent_total"); got != ledger.Bytes {
					t.Fatalf("window %d: the series sum to %d, not %d", w+1, got, ledger.Bytes)
				}
				now := exposition(s, false)
				neverDown(t, before, now)
				before = now
				s.store.read(func(st *state) {
					if st.rows > budget+spareRows {
						t.Fatalf("window %d: %d rows, the budget is %d", w+1, st.rows, budget)
					}
				})
			}
			if _, ok := shown(s, `network_domain_bytes_sent_total{host="host-1",interface="eth0",domain="(other)",direction="outbound"}`); !ok {
				t.Error("nothing overflowed")
			}
		})
	}
}

// A scrape of 100,000 series costs at most a twentieth of the CPU time of
// client_golang's constant metrics, and next to no memory.
func TestScrapeIsCheap(t *testing.T) {
	s := testService(t, nil)
	fill(t, s, 25_000) // four families
	var body bytes.Buffer
	scrape := sensors(s, &body, false)
	ours := func() {
		body.Reset()
		scrape()
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(constMetrics{s})
	theirs := func() {
		body.Reset()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		encoder := expfmt.NewEncoder(&body, expfmt.FmtText)
		for _, f := range families {
			if err := encoder.Encode(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	ours() // makes the buffer
	our, their := cpuTime(10, ours), cpuTime(2, theirs)
	t.Logf("%v against %v: 1/%.0f", our, their, float64(their)/float64(our))
	if our > their/20 {
		t.Errorf("a scrape costs %v of CPU time, more than a twentieth of %v", our, their)
	}
	if n := testing.AllocsPerRun(3, ours); n > 10 {
		t.Errorf("a scrape makes %v allocations", n)
	}
}

// cpuTime is what the process spends on one f, the collector included.
func cpuTime(n int, f func()) time.Duration {
	now := func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
			panic(err) // only for a clock that is none
		}
		return time.Duration(t.Nano())
	}
	begin := now()
	for range n {
		f()
	}
	return (now() - begin) / time.Duration(n)
}
