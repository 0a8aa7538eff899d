// Command netmon is the first process of the container image: it picks the program
// of a role, by the command or by COMPONENT, and becomes it. There is no shell in
// the image that could.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Exit codes, as the programs themselves have them.
const (
	exitRuntime = 1
	exitUsage   = 2
)

// serverUser is whom the server runs as where the container was started as root.
const serverUser = 65532

const usage = `Usage: netmon ROLE [flags of the role's program]

  sensor, agent   netmon-sensor; needs --network host and --cap-add NET_RAW
  server          netmon-exporter-server
  health [ROLE [PAGE]]
                  ask the role that runs here for its page /-/ready, or for PAGE
  version         the versions of both

Without ROLE the variable COMPONENT names it.
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "netmon: %v\n", err)
		var bad usageError
		if errors.As(err, &bad) {
			os.Exit(exitUsage)
		}
		os.Exit(exitRuntime)
	}
}

// usageError is a mistake in the command or in the environment.
type usageError struct{ error }

func misuse(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

// run returns only where no program took the place of this one.
func run(args []string) error {
	var role string
	if len(args) > 0 {
		role, args = args[0], args[1:]
	} else if role = os.Getenv("COMPONENT"); role == "" {
		return misuse("no role\n\n%s", usage)
	}
	unsetEmpty()
	switch role {
	case awaitRedis:
		return await(redisAddress(), os.Getppid())
	case "health":
		return health(args)
	case "version":
		return version(os.Stdout)
	case "-h", "-help", "--help", "help":
		fmt.Print(usage)
		return nil
	}
	if role == "server" {
		if os.Geteuid() == 0 {
			dropRoot()
		}
		if os.Getenv("STORAGE_TYPE") == storageAuto {
			if err := chooseStorage(); err != nil {
				return err
			}
		}
	}
	argv, err := command(role, args, storages(), os.Getenv)
	if err != nil {
		return err
	}
	for _, warning := range idle(os.LookupEnv) {
		fmt.Fprintln(os.Stderr, "netmon: "+warning)
	}
	if role == "server" && os.Getenv("INSECURE") == "" && os.Getenv("WEB_CONFIG_FILE") == "" && os.Getenv("CONFIG_FILE") == "" {
		fmt.Fprintln(os.Stderr, "netmon: whoever reaches the server's port may push and read, in the clear: set WEB_CONFIG_FILE, or INSECURE=true where that is meant, or INSECURE=false to refuse")
	}
	path := sibling(argv[0])
	return fmt.Errorf("start %s: %w", path, syscall.Exec(path, argv, os.Environ()))
}

// configDir holds netmon.hcl and a server-KIND.hcl for every kind of storage: what
// follows the word storage is a label, which cannot come from a variable.
const configDir = "/etc/netmon"

// storages lists the kinds of storage that there is a configuration for.
func storages() []string {
	var kinds []string
	files, _ := filepath.Glob(configDir + "/server-*.hcl") // the pattern is well-formed
	for _, file := range files {
		kinds = append(kinds, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "server-"), ".hcl"))
	}
	return kinds
}

const (
	sensorProgram = "netmon-sensor"
	serverProgram = "netmon-exporter-server"
)

// command is the program of a role with its arguments. Settings that select a
// program, a file or a flag are read here; all others are read by the
// configuration files themselves, with env().
func command(role string, args, storages []string, getenv func(string) string) ([]string, error) {
	var argv []string
	var config string
	switch role {
	case "sensor", "agent", "agent-ebpf":
		argv, config = []string{sensorProgram}, "netmon.hcl"
	case "server":
		storage := getenv("STORAGE_TYPE")
		if storage == "" {
			storage = "memory"
		}
		if !slices.Contains(storages, storage) {
			return nil, misuse("STORAGE_TYPE %q is not one of %s", storage, strings.Join(storages, ", "))
		}
		if yes(getenv("ENABLE_TLS")) {
			return nil, misuse("ENABLE_TLS is not supported, and the server will not start without TLS instead: set WEB_CONFIG_FILE to a web configuration file that names certificate and key")
		}
		argv, config = []string{serverProgram}, "server-"+storage+".hcl"
	default:
		return nil, misuse("role %q is not sensor, agent or server\n\n%s", role, usage)
	}
	config = filepath.Join(configDir, config)
	if file := getenv("CONFIG_FILE"); file != "" {
		config = file
	}
	if !slices.ContainsFunc(args, func(a string) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		return strings.HasPrefix(a, "-") && slices.Contains([]string{"c", "config", "pcap", "version", "h", "help"}, name)
	}) && (len(args) == 0 || strings.HasPrefix(args[0], "-")) { // not a subcommand, which has flags of its own
		argv = append(argv, "-config", config)
		if yes(getenv("DEBUG_MODE")) {
			argv = append(argv, "-debug")
		}
	}
	return append(argv, args...), nil
}

func yes(value string) bool {
	return slices.Contains([]string{"1", "true", "yes", "on"}, strings.ToLower(value))
}

// withoutEffect lists variables that the predecessor's image took and for which
// there is nothing left to set, with the reason.
var withoutEffect = []struct{ name, why string }{
	{"RETRY_COUNT", "a window is sent until the server has it"},
	{"BATCH_SIZE", "windows are sent as they are"},
	{"READ_TIMEOUT", "the server's timeouts are fixed"},
	{"WRITE_TIMEOUT", "the server's timeouts are fixed"},
	{"METRICS_PATH", "metrics are at /metrics"},
	{"METRICS_ENABLED", "metrics are always served"},
	{"METRICS_INTERVAL", "metrics are computed when they are scraped"},
	{"TEST_MODE", "there is no mode without real packets"},
	{"DEV_MODE", "there is no mode without real packets"},
}

// idle says which variables are set in vain.
func idle(lookup func(string) (string, bool)) []string {
	var warnings []string
	for _, v := range withoutEffect {
		if _, set := lookup(v.name); set {
			warnings = append(warnings, v.name+" has no effect: "+v.why)
		}
	}
	return warnings
}

// unsetEmpty makes a variable that is set to nothing one that is not set, as the
// predecessor's shell had it and compose files count on. Nothing here has a use
// for an empty value.
func unsetEmpty() {
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); value == "" {
			_ = os.Unsetenv(name)
		}
	}
}

// dropRoot becomes serverUser. A container that was started as root without
// CAP_SETUID cannot, and has no privilege to lose either.
func dropRoot() {
	err := syscall.Setgroups(nil)
	if err == nil {
		err = syscall.Setgid(serverUser)
	}
	if err == nil {
		err = syscall.Setuid(serverUser)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "netmon: the server runs as root, since user %d is out of reach (%v); start the container as that user\n", serverUser, err)
	}
}

// sibling is the path of a program beside this one.
func sibling(program string) string {
	self, err := os.Executable()
	if err != nil {
		self = "/netmon"
	}
	return filepath.Join(filepath.Dir(self), program)
}

func version(out io.Writer) error {
	for _, program := range []string{sensorProgram, serverProgram} {
		cmd := exec.Command(sibling(program), "-version")
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
	}
	return nil
}
