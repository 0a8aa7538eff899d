package lineartest

import (
	"bytes"
	"testing"
	"time"
)

func reader(work func(b []byte)) func(n int) (int, func()) {
	return func(n int) (int, func()) {
		b := bytes.Repeat([]byte{1}, n)
		return n, func() { work(b) }
	}
}

var sink int

func sum(b []byte) {
	for _, c := range b {
		sink += int(c)
	}
}

func TestLinear(t *testing.T) {
	Run(t, "sum", 4096, 100*time.Nanosecond, reader(sum))
}

// TestFindsTheMutant wants a parser that reads from the start for every few bytes
// that come to be shown.
func TestFindsTheMutant(t *testing.T) {
	again := func(b []byte) {
		for i := 0; i < len(b); i += 64 {
			sum(b[:i])
		}
	}
	if check(256, time.Second, reader(again)) == nil {
		t.Error("quadratic work was taken for linear")
	}
	if check(4096, time.Nanosecond/2, reader(sum)) == nil {
		t.Error("no time per byte was enough")
	}
}
