package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/export"
)

// PluginCommand is what the command line asks about plugins.
type PluginCommand struct {
	Config  string // whose plugins { directory } counts; "": the default one
	Version string
	Out     io.Writer
}

func (c PluginCommand) dirs() ([]string, error) {
	cfg := new(config.Default())
	if c.Config != "" {
		var err error
		if cfg, _, err = config.Load(c.Config); err != nil {
			return nil, configError{err}
		}
	}
	return pluginDirs(cfg), nil
}

// List starts every exporter that is installed and prints who it is. The error
// names those that cannot be used.
func (c PluginCommand) List(ctx context.Context) error {
	dirs, err := c.dirs()
	if err != nil {
		return err
	}
	types := export.Installed(dirs)
	if len(types) == 0 {
		return inConfig(fmt.Errorf("no exporter is installed in %s", strings.Join(dirs, ", ")))
	}
	table := tabwriter.NewWriter(c.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "TYPE\tVERSION\tPROGRAM\tWHAT IT DOES")
	var errs []error
	for _, name := range types {
		path, err := export.Find(name, "", dirs)
		if err == nil {
			said, failed := export.Describe(ctx, name, path, c.Version, hclog.NewNullLogger())
			if err = failed; err == nil {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", name, said.Version, path, said.Summary)
			}
		}
		if err != nil {
			fmt.Fprintf(table, "%s\t-\t%s\tcannot be used\n", name, path)
			errs = append(errs, inConfig(err))
		}
	}
	return errors.Join(append(errs, table.Flush())...)
}

// Docs prints every option of an exporter with its default.
func (c PluginCommand) Docs(ctx context.Context, name string) error {
	dirs, err := c.dirs()
	if err != nil {
		return err
	}
	path, err := export.Find(name, "", dirs)
	if err != nil {
		return inConfig(err)
	}
	said, err := export.Describe(ctx, name, path, c.Version, hclog.NewNullLogger())
	if err != nil {
		return inConfig(err)
	}
	text, err := config.Format("<reference>", []byte(plugins.Reference(plugins.Explain(fmt.Sprintf("exporter %q", name), said.Schema))))
	if err != nil {
		return fmt.Errorf("exporter %s describes options that make no configuration: %w", name, err)
	}
	_, err = fmt.Fprintf(c.Out, "# %s\n%s", said.Summary, text)
	return err
}

var exporterType = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Init writes the beginning of an exporter into dir, which must not exist: a
// program that compiles and prints, to be changed.
func (c PluginCommand) Init(name, dir string) error {
	if !exporterType.MatchString(name) {
		return inConfig(fmt.Errorf("%q cannot be an exporter's type: a small letter, then small letters, digits and hyphens, 32 at most", name))
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return inConfig(err)
	}
	path := filepath.Join(dir, "main.go")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(skeleton, "NAME", name)), 0o644); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Out, `%[1]s is a whole exporter. To build it:

  cd %[2]s
  go mod init netmon-exporter-%[3]s && go mod tidy
  go build -o netmon-exporter-%[3]s .

Put the program beside netmon-sensor, and into its configuration:

  exporter %[3]q {}
`, path, dir, name)
	return err
}

const skeleton = `// Netmon-exporter-NAME prints what each domain sent and received.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

func main() {
	plugins.Serve(plugins.Plugin{
		Type:    "NAME",
		Version: "0.1.0",
		Summary: "Prints the traffic of each domain.",
		New:     func() plugins.Exporter { return &exporter{Prefix: "NAME"} },
	})
}

// exporter is its own block in netmon.hcl; what New sets are the defaults.
type exporter struct {
	Prefix string ` + "`" + `netmon:"prefix" doc:"Begins every line."` + "`" + `
}

func (e *exporter) Config() any { return e }

// Start opens what the exporter needs. A *plugins.Problem as the error is shown at
// its place in the configuration.
func (e *exporter) Start(context.Context, plugins.Host) error { return nil }

// Export takes one window: counters that grew since the one before. After an error
// or a crash the same window comes again.
func (e *exporter) Export(_ context.Context, w *netmonpb.Window) error {
	for _, row := range w.Rows {
		if row.Key.GetView() == netmonpb.View_VIEW_DOMAINS {
			fmt.Fprintln(os.Stderr, e.Prefix, row.Key.Domain, row.Counters.GetBytesSent(), row.Counters.GetBytesReceived())
		}
	}
	return nil
}

func (e *exporter) Stop(context.Context) error { return nil }
`
