package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/lineartest"
)

// TestFilesAreLinear reads files whose reading costs much. The bound is for a busy
// machine and the race detector.
func TestFilesAreLinear(t *testing.T) {
	order := binary.LittleEndian
	ng := slices.Concat(ngStart(order), ngDescribe(order, 1, 0))
	option := ngOption(order, 2, 'a')
	for _, c := range []struct {
		kind         string
		begin, again []byte
	}{
		{"empty records", pcapFile(order, 0xa1b2c3d4, 1), pcapRecord(order, 1, 0, 0, "", 0)},
		{"long records", pcapFile(order, 0xa1b2c3d4, 1), pcapRecord(order, 1, 0, 0, strings.Repeat("a", 30_000), 0)},
		{"sections", nil, ng},
		{"interfaces", ng, ngDescribe(order, 1, 0, option, option)},
		{"blocks of no interest", ng, ngBlock(order, 99)},
		{"packets", ng, ngPacket(order, 0, 1<<63, 1, "a")},
	} {
		fileIsLinear(t, c.kind, func(n int) []byte {
			return append(slices.Clone(c.begin), bytes.Repeat(c.again, max(n/len(c.again), 1))...)
		})
	}
	fileIsLinear(t, "one interface", func(n int) []byte {
		return append(ngStart(order), ngDescribe(order, 1, 0, bytes.Repeat(option, n/len(option)))...)
	})
	fileIsLinear(t, "one record", func(n int) []byte {
		return pcapFile(order, 0xa1b2c3d4, 1, pcapRecord(order, 1, 0, 0, strings.Repeat("a", n), 0))
	})
}

func fileIsLinear(t *testing.T, kind string, data func(n int) []byte) {
	lineartest.Run(t, kind, 1<<16, time.Microsecond, func(n int) (int, func()) {
		path := filepath.Join(t.TempDir(), "capture")
		b := data(n)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return len(b), func() {
			f, err := OpenFile(path, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			s := f.Sources()[0]
			for err == nil {
				_, err = s.Next()
			}
			if err != io.EOF || f.Damage() != nil {
				t.Fatal(err, f.Damage())
			}
			s.Close()
		}
	})
}
