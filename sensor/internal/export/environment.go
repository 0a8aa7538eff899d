package export

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/netmon-sensor/netmon/plugins"
)

// environment is all that a plugin inherits: what its runtime cannot do without,
// and what its block in the config gives it. The sensor's own environment may hold
// secrets meant for other exporters.
func environment(host []string, block map[string]string, level hclog.Level) []string {
	env := append(keptEnv(host), plugins.LogLevelEnv+"="+level.String())
	for _, name := range slices.Sorted(maps.Keys(block)) {
		env = append(env, name+"="+block[name])
	}
	return env
}

// keptEnv is what of the sensor's own environment is nobody's secret.
func keptEnv(host []string) (env []string) {
	for _, entry := range host {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case name == "PATH", name == "TZ", name == "LANG", name == "GOMEMLIMIT",
			strings.HasPrefix(name, "SSL_CERT_"):
			env = append(env, entry)
		}
	}
	return env
}

// maxRuntimeDir leaves room, in the 107 bytes of a socket's address, for what
// go-plugin appends: /plugin-dirNNNNNNNNNN/pluginNNNNNNNNNN.
const maxRuntimeDir = 107 - 38

// limitMemory bounds what the process and each that it starts may have: heap, stacks
// and whatever else it can write to that is nobody else's. Not address space, of
// which Go reserves what it never uses. 0 changes nothing.
func limitMemory(bytes int64) error {
	if bytes == 0 {
		return nil
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &limit); err != nil {
		return err
	}
	limit.Max = min(limit.Max, uint64(bytes)) // only root gets it up again
	limit.Cur = limit.Max
	return unix.Setrlimit(unix.RLIMIT_DATA, &limit)
}

// collectAt has Go's collector work harder before memory ends at limit bytes: a heap
// grows by 64 MiB at once, and stacks and code have their part.
func collectAt(limit int64) string {
	return "GOMEMLIMIT=" + strconv.FormatInt(limit/4*3, 10)
}

// runtimeDir is where the sockets of plugins go; each has a directory of its own
// in it that nobody else may enter.
func runtimeDir(o Options) (string, error) {
	dir := o.RuntimeDir
	if dir == "" {
		return os.TempDir(), nil
	}
	if len(dir) > maxRuntimeDir {
		return "", fmt.Errorf("%s has more than %d bytes, a socket in it would have no address", dir, maxRuntimeDir)
	}
	mode := os.FileMode(0o700)
	if o.User != "" && o.Launcher == nil {
		mode = 0o711 // that user passes through
	}
	return dir, os.MkdirAll(dir, mode)
}
