package measure

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestRunCountsChildren(t *testing.T) {
	// A child of the shell does the work: its time must be in the sum.
	busy := `n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done`
	got, err := Run(t.Context(), exec.Command("sh", "-c", `sh -c '`+busy+`'; true`), "", time.Minute, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got.CPU < 10*time.Millisecond || got.MaxRSS == 0 {
		t.Errorf("a busy child used %v and %d bytes", got.CPU, got.MaxRSS)
	}
}

func TestRunEnds(t *testing.T) {
	if _, err := Run(t.Context(), exec.Command("sleep", "60"), "", 200*time.Millisecond, 0); !errors.Is(err, ErrTimeout) {
		t.Errorf("past its limit: %v", err)
	}
	if _, err := Run(t.Context(), exec.Command("sleep", "60"), "", time.Minute, 200*time.Millisecond); err != nil {
		t.Errorf("idle: %v", err)
	}
	unread := exec.Command("sleep", "60")
	unread.Stdin = open(t, "measure.go")
	if _, err := Run(t.Context(), unread, "measure.go", time.Second, 200*time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("idle before the end of its file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, exec.Command("sleep", "60"), "", time.Minute, 0); !errors.Is(err, ErrTimeout) {
		t.Errorf("cancelled: %v", err)
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSeries(t *testing.T) {
	for _, c := range []struct {
		s    Series
		want string
	}{
		{nil, "-"},
		{Series{300, 100, 200}, "200 (100-300)"},
		{Series{1, 2}, "1.5 (1.0-2.0)"},
	} {
		if got := c.s.String(); got != c.want {
			t.Errorf("%v is %q, want %q", []float64(c.s), got, c.want)
		}
	}
}
