package export

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const prefix = "netmon-exporter-"

// Installed lists the exporter types that dirs have programs for, sorted.
func Installed(dirs []string) []string {
	var types []string
	for _, dir := range dirs {
		paths, _ := filepath.Glob(filepath.Join(escapeGlob(dir), prefix+"*")) // the pattern is a good one
		for _, path := range paths {
			types = append(types, strings.TrimPrefix(filepath.Base(path), prefix))
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// escapeGlob makes the name of a folder a pattern that matches only itself.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// Describe starts the plugin at path to have it say who it is and what options it
// has, and stops it again.
func Describe(ctx context.Context, exporterType, path, version string, logger hclog.Logger) (*netmonpb.DescribeResponse, error) {
	p, err := launch(ctx, Options{Label: exporterType, Type: exporterType, Path: path, Version: version}, defaultLimits(), logger)
	if err != nil {
		return nil, fmt.Errorf("exporter %s: %w", exporterType, err)
	}
	said := p.described
	said.Version, said.Summary = clean(said.Version), clean(said.Summary)
	return said, p.stop(ctx)
}
