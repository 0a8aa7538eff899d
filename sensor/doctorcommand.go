package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/doctor"
	"github.com/netmon-sensor/netmon/sensor/internal/export"
)

// Doctor looks for what stands in the way of a sensor with the configuration at path,
// "" for the default one, started by whoever asks, and prints what it finds. It
// returns whether nothing does.
func Doctor(ctx context.Context, path string, inJSON bool, out io.Writer) (well bool, err error) {
	machine := doctor.Here()
	cfg, report := diagnoseConfig(path)

	shards, rings := capture.Plan(cfg.Capture.Shards, int64(cfg.Capture.RingMemory))
	const block = 1 << 20 // that the plan is made of
	report = append(report, machine.Rings(shards, int(rings)/shards/block, block)...)
	report = append(report, machine.Memory(ceilingOf(cfg).total(), int64(cfg.Sensor.MemoryLimit)))

	names, err := capture.Match(cfg.Capture.Interfaces)
	wanted := "the default route, for there is none"
	if len(cfg.Capture.Interfaces) > 0 {
		wanted = strings.Join(cfg.Capture.Interfaces, ", ")
	}
	if err != nil {
		report = append(report, doctor.Finding{Check: "interfaces", Level: doctor.Problem, Found: err.Error(), Cure: "capture { interfaces }: `ip link` lists what there is"})
	}
	if err == nil || len(names) > 0 {
		report = append(report, machine.Interfaces(names, wanted)...)
	}

	var p privileges
	report = append(report, p.diagnose(cfg)...)
	report = append(report, doctor.StateDir(cfg.Sensor.StateDir, p.uid(), int64(cfg.Sensor.LogMaxBytes))...)
	report = append(report, diagnosePlugins(cfg)...)
	report = append(report, machine.Kernel()...)
	report = append(report, machine.ClockFinding(), diagnoseStatus(ctx, cfg.Status.Listen))
	if inJSON {
		return report.OK(), report.WriteJSON(out)
	}
	return report.OK(), report.Write(out)
}

// diagnoseConfig reads the configuration; where it has mistakes the defaults are
// looked at instead.
func diagnoseConfig(path string) (*config.Config, doctor.Report) {
	const check = "config"
	defaults := new(config.Default())
	if path == "" {
		return defaults, doctor.Report{{Check: check, Level: doctor.Fine, Found: "none was named (-config FILE): these are the defaults"}}
	}
	cfg, warnings, err := config.Load(path)
	if err != nil {
		return defaults, doctor.Report{{Check: check, Level: doctor.Problem, Found: err.Error(), Cure: "mend it; what follows is about the defaults"}}
	}
	report := doctor.Report{{Check: check, Level: doctor.Fine, Found: path + " can be read; -check-config asks the exporters, too"}}
	if warnings != "" {
		report[0] = doctor.Finding{Check: check, Level: doctor.Warning, Found: warnings}
	}
	if err := refuseWritable(path); err != nil {
		level := doctor.Warning
		if os.Geteuid() == 0 {
			level = doctor.Problem // the sensor does not start
		}
		report = append(report, doctor.Finding{Check: check, Level: level, Found: err.Error(), Cure: "who may change it says what the sensor runs: take that right away"})
	}
	return cfg, report
}

// diagnose finds out whom the sensor and its plugins would become.
func (p *privileges) diagnose(cfg *config.Config) (report doctor.Report) {
	if err := p.chooseUsers(cfg); err != nil {
		return doctor.Report{{Check: "user", Level: doctor.Problem, Found: err.Error(), Cure: "make the user, or change the configuration"}}
	}
	for _, m := range p.measures {
		f := doctor.Finding{Check: "user", Level: doctor.Fine, Found: m.note}
		switch {
		case os.Geteuid() != 0:
		case !m.on:
			f.Level, f.Cure = doctor.Warning, "give the container CAP_SETUID and CAP_SETGID beside CAP_NET_RAW, or start it as another user"
		case p.user != nil && m.kind == ownUser && cfg.Sensor.User == "" && !exists("netmon"),
			p.plugins != nil && m.kind == pluginsUser && cfg.Plugins.User == "" && !exists("netmon-plugin"):
			name := map[string]string{ownUser: "netmon", pluginsUser: "netmon-plugin"}[m.kind]
			f.Level, f.Cure = doctor.Warning, "sudo useradd --system --no-create-home --shell /usr/sbin/nologin "+name
			f.Found += ", as other programs may, too"
		}
		report = append(report, f)
	}
	return report
}

func exists(user string) bool {
	_, err := export.LookupAccount(user)
	return err == nil
}

// diagnosePlugins looks whether the exporters of the configuration can be started, and
// whether others could put one in their place. The errors say what to do.
func diagnosePlugins(cfg *config.Config) (report doctor.Report) {
	dirs := pluginDirs(cfg)
	if err := export.CheckDirectory(cfg.Plugins.Directory); err != nil && !errors.Is(err, os.ErrNotExist) {
		report = append(report, badPlugin(err))
	}
	enabled := 0
	for _, e := range cfg.Exporters {
		if !e.Enabled {
			continue
		}
		enabled++
		program, err := export.Find(e.Type, e.Command, dirs)
		if err != nil {
			report = append(report, badPlugin(err))
		} else {
			report = append(report, doctor.Finding{Check: "plugins", Level: doctor.Fine, Found: program + " can be started"})
		}
	}
	if enabled == 0 {
		report = append(report, doctor.Finding{
			Check: "plugins", Level: doctor.Warning, Found: "no exporter is configured: nobody is told what the sensor counts, but for its status listener",
			Cure: `exporter "server" {} in the configuration`,
		})
	}
	return report
}

// badPlugin parts what is wrong with a plugin from what to do, which such errors end
// with.
func badPlugin(err error) doctor.Finding {
	text := err.Error()
	for _, verb := range []string{"; install ", ": chmod ", ": chown "} {
		if at := strings.LastIndex(text, verb); at > 0 {
			return doctor.Finding{Check: "plugins", Level: doctor.Problem, Found: text[:at], Cure: text[at+2:]}
		}
	}
	return doctor.Finding{Check: "plugins", Level: doctor.Problem, Found: text, Cure: "install the program anew"}
}

// diagnoseStatus finds out who has the address of the status listener: a sensor that
// runs says itself how it is.
func diagnoseStatus(ctx context.Context, listen string) doctor.Finding {
	const check = "status"
	if listen == "" {
		return doctor.Finding{Check: check, Level: doctor.Fine, Found: "the status listener is off"}
	}
	l, err := net.Listen("tcp", listen)
	if err == nil {
		l.Close()
		return doctor.Finding{Check: check, Level: doctor.Fine, Found: listen + " is free: no sensor runs here"}
	}
	cure := "another status { listen }"
	if !errors.Is(err, syscall.EADDRINUSE) {
		return doctor.Finding{Check: check, Level: doctor.Problem, Found: err.Error(), Cure: cure}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ask := func(path string) (int, string) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+path, nil)
		if err != nil {
			return 0, ""
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, ""
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096)) // as much as there is
		return answer.StatusCode, strings.TrimSpace(string(text))
	}
	if _, text := ask("/-/healthy"); text != "healthy" {
		return doctor.Finding{Check: check, Level: doctor.Problem, Found: fmt.Sprintf("something else than a sensor has %s", listen), Cure: cure}
	}
	switch code, text := ask("/-/ready"); code {
	case http.StatusOK:
		return doctor.Finding{Check: check, Level: doctor.Fine, Found: "a sensor runs here already and is ready"}
	default:
		return doctor.Finding{Check: check, Level: doctor.Problem, Found: "the sensor that runs here is not ready:\n" + text, Cure: "its log says more; netmon_ready_reason shows for how long"}
	}
}
