package plugins

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestVersionText(t *testing.T) {
	built := &debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "-tags", Value: "netgo"}, {Key: "CGO_ENABLED", Value: "1"}, {Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	installed := &debug.BuildInfo{}
	installed.Main.Version = "v1.2.3"
	local := &debug.BuildInfo{}
	local.Main.Version = "(devel)"
	for _, test := range []struct {
		version, revision string
		info              *debug.BuildInfo
		first, more       string
	}{
		{"1.0", "def 2026", built, "1.0", "revision: def 2026\nbuild: CGO_ENABLED=1 -tags=netgo\n"},
		{"dev", "", built, "dev", "revision: abc 2026-01-02T03:04:05Z modified\nbuild: CGO_ENABLED=1 -tags=netgo\n"},
		{"dev", "", installed, "v1.2.3", "revision: unknown\nbuild: unknown\n"},
		{"1.0", "", installed, "1.0", "revision: unknown\nbuild: unknown\n"},
		{"", "", local, "dev", "revision: unknown\nbuild: unknown\n"},
	} {
		want := fmt.Sprintf("p %s %s %s/%s\n%s", test.first, runtime.Version(), runtime.GOOS, runtime.GOARCH, test.more)
		if got := versionText("p", test.version, test.revision, test.info); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
