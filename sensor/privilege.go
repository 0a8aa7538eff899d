package sensor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/confine"
	"github.com/netmon-sensor/netmon/sensor/internal/export"
)

// privileges is what a sensor gives up between opening its sockets and reading its
// first packet, and the launcher that runs plugins for it from then on.
type privileges struct {
	user       *export.Account // to become; nil: nobody else
	plugins    *export.Account // whom plugins run as; nil: the sensor's user
	runtimeDir string          // for the sockets of plugins, 0700, or 0710 for the plugins' group
	launcher   *export.Launcher
	measures   []measure
}

// measure is something that confines the process.
type measure struct {
	kind string // as in netmon_confinement
	on   bool
	note string // what it is, or why not
}

const ( // kinds of measures
	ownUser        = "user"
	pluginsUser    = "plugin_user"
	oneCapability  = "capabilities"
	noNewPrivilege = "no_new_privileges"
	noCore         = "no_core_dumps"
	fileSandbox    = "landlock"
	callSandbox    = "seccomp"
)

// sparePluginUser runs plugins where `nobody` is the sensor itself and there is no
// netmon-plugin: a number that Debian, systemd and Kubernetes give to nobody.
const sparePluginUser = "65533"

// Launcher runs the process as the launcher of plugins, if a sensor started it as
// that; else it returns false at once.
func Launcher(stderr io.Writer) (exitCode int, isLauncher bool) {
	if !export.IsLauncher() {
		return 0, false
	}
	confine.Bound()
	err := errors.Join(
		// To become the plugins' user, to end its processes, and to open programs that
		// this user may execute but not find.
		confine.KeepOnly(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL, unix.CAP_DAC_READ_SEARCH),
		confine.NoNewPrivileges(),
		confine.NoCore(),
	)
	_ = confine.Seccomp() // plugins inherit it
	if err == nil {
		err = export.ServeLauncher()
	}
	if err != nil {
		fmt.Fprintln(stderr, "netmon-sensor:", err)
		return 1, true
	}
	return 0, true
}

// startPrivileges finds out whom to become and starts the launcher, which must not
// inherit a socket: it comes before the rings.
func startPrivileges(cfg *config.Config) (*privileges, error) {
	p := &privileges{}
	if err := p.chooseUsers(cfg); err != nil {
		return nil, err
	}
	if err := p.makeRuntimeDir(); err != nil {
		return nil, err
	}
	var err error
	if p.launcher, err = export.NewLauncher(p.plugins, int64(cfg.Plugins.MemoryLimit), p.uid(), p.runtimeDir); err != nil {
		_ = os.Remove(p.runtimeDir)
		return nil, err
	}
	return p, nil
}

func (p *privileges) uid() int {
	if p.user != nil {
		return p.user.UID
	}
	return os.Geteuid()
}

func (p *privileges) note(kind string, on bool, format string, args ...any) {
	p.measures = append(p.measures, measure{kind, on, fmt.Sprintf(format, args...)})
}

func (p *privileges) chooseUsers(cfg *config.Config) error {
	name := cfg.Sensor.User
	if os.Geteuid() != 0 {
		return p.stayUser(name, cfg.Plugins.User)
	}
	user, name, err := choose(name, "netmon", "nobody")
	if err != nil {
		return fmt.Errorf("%w: sensor { user }: %w", ErrConfig, err)
	}
	plugins, pluginName, err := choose(cfg.Plugins.User, "netmon-plugin", "nobody")
	if err != nil {
		return fmt.Errorf("%w: plugins { user }: %w", ErrConfig, err)
	}
	if plugins.UID == user.UID && cfg.Plugins.User == "" {
		if plugins, pluginName, err = choose(sparePluginUser); err != nil {
			return err
		}
	}
	p.become(&p.plugins, plugins, nil, pluginsUser, "plugins run as "+pluginName)
	if cfg.Plugins.User != "" && p.plugins == nil && plugins.UID != 0 {
		return fmt.Errorf("%w: plugins { user = %q }: %s", ErrPrivilege, cfg.Plugins.User, p.measures[len(p.measures)-1].note)
	}
	p.become(&p.user, user, p.groups(), ownUser, "runs as "+name)
	if cfg.Sensor.User != "" && p.user == nil && user.UID != 0 {
		return fmt.Errorf("%w: sensor { user = %q }: %s", ErrPrivilege, cfg.Sensor.User, p.measures[len(p.measures)-1].note)
	}
	return nil
}

// become sets who to a, if the kernel lets us; a container may not.
func (p *privileges) become(who **export.Account, a export.Account, groups []int, kind, note string) {
	switch err := confine.Possible(a.UID, a.GID, groups); {
	case a.UID == 0:
		p.note(kind, false, "%s, as configured", note)
	case err != nil:
		p.note(kind, false, "stays root: %v", err)
	default:
		*who = &a
		p.note(kind, true, "%s (%d)", note, a.UID)
	}
}

// stayUser is for a sensor that was not started as root.
func (p *privileges) stayUser(user, plugins string) error {
	for _, option := range []struct{ name, value, kind string }{{"sensor", user, ownUser}, {"plugins", plugins, pluginsUser}} {
		if option.value == "" {
			continue
		}
		a, err := export.LookupAccount(option.value)
		if err == nil && a.UID != os.Geteuid() {
			err = fmt.Errorf("only root can become somebody else, and this is user %d", os.Geteuid())
		}
		if err != nil {
			return fmt.Errorf("%w: %s { user = %q }: %w", ErrConfig, option.name, option.value, err)
		}
	}
	p.note(ownUser, true, "runs as user %d, who started it", os.Geteuid())
	p.note(pluginsUser, false, "plugins run as the sensor's user: only root can become another")
	return nil
}

// choose finds the account configured, or the first of the defaults that there is.
func choose(configured string, defaults ...string) (a export.Account, name string, err error) {
	if configured != "" {
		defaults = []string{configured}
	}
	for _, name = range defaults {
		if a, err = export.LookupAccount(name); err == nil {
			return a, name, nil
		}
	}
	return a, name, fmt.Errorf("%q: %w", name, err)
}

// groups are the sensor's besides its own: the plugins', to share sockets with them.
func (p *privileges) groups() []int {
	if p.plugins == nil {
		return nil
	}
	return []int{p.plugins.GID}
}

func (p *privileges) makeRuntimeDir() error {
	base := os.Getenv("RUNTIME_DIRECTORY") // systemd's
	if base == "" {
		base = os.TempDir()
	}
	dir, err := os.MkdirTemp(base, "netmon-")
	if err != nil {
		return fmt.Errorf("directory for the sockets of plugins: %w", err)
	}
	gid := -1
	if p.plugins != nil {
		gid = p.plugins.GID
		err = os.Chmod(dir, 0o710)
	}
	if p.user != nil || gid >= 0 {
		err = errors.Join(err, os.Chown(dir, p.uid(), gid))
	}
	if err != nil {
		return fmt.Errorf("directory for the sockets of plugins: %w", err)
	}
	p.runtimeDir = dir
	return nil
}

// drop gives up what the sensor does not need once its sockets are open. own are the
// files and directories that it goes on writing. The error is one of those that must
// not be: a sensor that cannot become what it should does not run.
func (p *privileges) drop(own []string, logger hclog.Logger) error {
	if p.user != nil {
		for _, path := range own {
			if err := confine.Own(path, p.user.UID, p.user.GID); err != nil {
				return fmt.Errorf("give %s to user %d: %w", path, p.user.UID, err)
			}
		}
	}
	confine.Bound(unix.CAP_NET_RAW)
	if p.user != nil {
		if err := confine.Become(p.user.UID, p.user.GID, p.groups()); err != nil {
			return err
		}
	}
	if err := errors.Join(confine.KeepOnly(unix.CAP_NET_RAW), confine.NoNewPrivileges()); err != nil {
		return err
	}
	p.note(oneCapability, true, "CAP_NET_RAW alone")
	p.note(noNewPrivilege, true, "nothing that is executed gets more")
	p.attempt(noCore, "memory is not dumped", confine.NoCore())
	p.sandbox(own)
	var on []any
	for _, m := range p.measures {
		if m.on {
			on = append(on, m.kind, m.note)
		} else {
			logger.Warn("the sensor has to do without", m.kind, m.note)
		}
	}
	logger.Info("confined", on...)
	return nil
}

func (p *privileges) attempt(kind, note string, err error) {
	if err != nil {
		note = err.Error()
	}
	p.note(kind, err == nil, "%s", note)
}

// sandbox is what kernels and containers may lack.
func (p *privileges) sandbox(own []string) {
	dirs, files := []string{p.runtimeDir}, []string{}
	for _, path := range own {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dirs = append(dirs, path)
		} else if err == nil {
			files = append(files, path)
		}
	}
	version, err := confine.Landlock(dirs, files)
	p.attempt(fileSandbox, fmt.Sprintf("version %d: writes its own files, executes nothing, opens no TCP", version), err)
	p.attempt(callSandbox, "dangerous system calls are refused", confine.Seccomp("execve", "execveat"))
}

func (p *privileges) close() { p.launcher.Close() }

// refuseWritable finds configuration that others may write: it says what runs, and
// what root reads.
func refuseWritable(path string) error {
	paths := []string{path}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil // whoever reads it will tell
	case info.IsDir():
		if files, err := filepath.Glob(filepath.Join(path, "*.hcl")); err == nil {
			paths = append(paths, files...)
		}
	case !info.Mode().IsRegular():
		return nil // a pipe is its writer's
	}
	for _, path := range paths {
		if err := export.Writable(path, nil); err != nil {
			return fmt.Errorf("configuration %s: %w", path, err)
		}
	}
	return nil
}
