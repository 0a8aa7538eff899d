package plugins

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// revision is the commit, and may have more words. The linker sets it; else the build
// information has it.
var revision string

// VersionText is what a program says of itself with -version: name, version, Go and
// platform in the first line, then the revision and how it was built. version is
// "dev" or empty where the linker did not set it.
func VersionText(program, version string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionText(program, version, revision, info)
}

func versionText(program, version, revision string, info *debug.BuildInfo) string {
	if version = cmp.Or(version, "dev"); version == "dev" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version // of `go install PACKAGE@VERSION`
	}
	setting := func(key string) string {
		i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == key })
		if i < 0 {
			return ""
		}
		return info.Settings[i].Value
	}
	if vcs := setting("vcs.revision"); revision == "" && vcs != "" {
		revision = strings.TrimSpace(vcs + " " + setting("vcs.time"))
		if setting("vcs.modified") == "true" {
			revision += " modified"
		}
	}
	var how []string
	for _, key := range []string{"CGO_ENABLED", "GOAMD64", "GOARM64", "-tags", "-race"} {
		if value := setting(key); value != "" {
			how = append(how, key+"="+value)
		}
	}
	return fmt.Sprintf("%s %s %s %s/%s\nrevision: %s\nbuild: %s\n", program, version, runtime.Version(), runtime.GOOS, runtime.GOARCH,
		cmp.Or(revision, "unknown"), cmp.Or(strings.Join(how, " "), "unknown"))
}
