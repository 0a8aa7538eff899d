package sensor

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/confine"
	"github.com/netmon-sensor/netmon/sensor/internal/export"
	"github.com/netmon-sensor/netmon/sensor/internal/windowlog"
)

// A sink is an exporter's sink with its block in the configuration.
type sink struct {
	label string
	block *config.Exporter
	life  *life
	*export.Sink
}

// refused shows what keeps an exporter from starting, a mistake in its settings or
// in its program, at its block.
func (s sink) refused(err error) error {
	if err == nil {
		return nil
	}
	if placed := (*config.Error)(nil); !errors.As(err, &placed) {
		err = s.block.Error("The exporter does not start", err)
	}
	return configError{err}
}

// openSinks makes one sink for each exporter that is enabled.
func openSinks(cfg *config.Config, version string, logger hclog.Logger, log windowlog.Log, plugins pluginHost) ([]sink, error) {
	var sinks []sink
	for _, e := range cfg.Exporters {
		if !e.Enabled {
			continue
		}
		path, err := plugins.find(e, pluginDirs(cfg))
		if err != nil {
			return nil, configError{e.Error("No usable plugin for this exporter", err)}
		}
		sinks = append(sinks, sink{e.Label(), e, newLife(), export.New(export.Options{
			Label: e.Label(), Type: e.Type, Name: e.Name, Path: path, Checksum: e.Checksum, Env: e.Env,
			User: plugins.user(cfg), Launcher: plugins.launcher, Memory: int64(cfg.Plugins.MemoryLimit), RuntimeDir: plugins.runtimeDir, SensorID: cfg.Sensor.ID, Interval: cfg.Sensor.Interval,
			BaseDir: cfg.Dir, Version: version, Logger: logger,
			IsFolded: func(err error) bool { return errors.Is(err, windowlog.ErrFolded) },
		}, e, log)})
	}
	return sinks, nil
}

// pluginHost is how plugins are run; the zero value runs them from this process.
type pluginHost struct {
	launcher   *export.Launcher
	runtimeDir string
}

// user is whom plugins run as that this process starts itself.
func (h pluginHost) user(cfg *config.Config) string {
	if cfg.Plugins.User != "" || h.launcher != nil || os.Geteuid() != 0 {
		return cfg.Plugins.User
	}
	if a, name, err := choose("", "netmon-plugin", "nobody"); err == nil && confine.Possible(a.UID, a.GID, nil) == nil {
		return name
	}
	return ""
}

func (h pluginHost) find(e *config.Exporter, dirs []string) (string, error) {
	if h.launcher != nil {
		return h.launcher.Find(e.Type, e.Command, dirs)
	}
	return export.Find(e.Type, e.Command, dirs)
}

// pluginDirs lists where plugins are looked for: the configured folder, then the
// one of the sensor's own binary.
func pluginDirs(cfg *config.Config) []string {
	dirs := []string{cfg.Plugins.Directory}
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	return dirs
}

func checkSinks(ctx context.Context, cfg *config.Config, version string, logger hclog.Logger) ([]sink, error) {
	sinks, err := openSinks(cfg, version, logger, windowlog.NewMemory(windowlog.MemoryOptions{SensorID: cfg.Sensor.ID}), pluginHost{})
	errs := []error{err}
	for _, sink := range sinks {
		errs = append(errs, sink.refused(sink.Check(ctx)))
	}
	return sinks, errors.Join(errs...)
}
