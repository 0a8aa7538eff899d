package plugins

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	// ProtocolVersion is the version of the ExporterService contract. What is
	// added to it without breaking a plugin does not change the version.
	ProtocolVersion = 1

	// MaxMessage is the largest gRPC message an exporter accepts, in bytes. The
	// sensor sends at most 1 MiB.
	MaxMessage = 16 << 20

	// Name of the service within go-plugin's set.
	ServiceName = "exporter"

	// LogLevelEnv carries the level from which the sensor keeps log lines.
	LogLevelEnv = "NETMON_LOG_LEVEL"
)

// Handshake is what tells a sensor's exporter from any other program. The cookie
// is no secret: it is how the program knows that a sensor started it.
func Handshake() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   "NETMON_EXPORTER",
		MagicCookieValue: "6d1b8f4e0c2a4f5a9c37e2b05d9148aa",
	}
}

// Serve runs p and ends the process. It is all that main has to do; what main
// prints to standard output before it spoils the handshake.
func Serve(p Plugin) {
	os.Exit(Main(p))
}

// Main runs p and returns the exit code: as a plugin until its sensor is done
// with it, by hand as p.Standalone, else not at all, with its version or manual where
// that was asked for, or a word why.
func Main(p Plugin) int {
	harden()
	handshake := Handshake()
	if os.Getenv(handshake.MagicCookieKey) == handshake.MagicCookieValue {
		return host(p)
	}
	if len(os.Args) == 2 && (os.Args[1] == "-man" || os.Args[1] == "--man") {
		fmt.Print(manualOf(p))
		return 0
	}
	if p.Standalone != nil {
		return p.Standalone(os.Args[1:])
	}
	if len(os.Args) == 2 && (os.Args[1] == "-version" || os.Args[1] == "--version") {
		fmt.Print(VersionText("netmon-exporter-"+p.Type, p.Version))
		return 0
	}
	explain(os.Stderr, p)
	return 2
}

// Register offers p on s, as Serve does. Tests may run an exporter with it on a
// connection of their own; the result must be called once s has stopped.
func Register(s grpc.ServiceRegistrar, p Plugin, logger hclog.Logger) (stop func(context.Context) error) {
	service := newService(p, logger, func(reason string) { logger.Error("exporter is stuck", "cause", reason) })
	netmonpb.RegisterExporterServiceServer(s, service)
	return service.shutdown
}

// explain says what the program is to somebody who started it by hand.
func explain(w io.Writer, p Plugin) {
	program := "netmon-exporter-" + p.Type
	fmt.Fprintf(w, "%s %s: %s\n\n", program, p.Version, strings.TrimSuffix(p.Summary, "."))
	fmt.Fprintf(w, "This is an exporter of netmon. It is not started by hand: netmon-sensor does it, if\n")
	fmt.Fprintf(w, "the program is called %s, stands in the directory of\n", program)
	fmt.Fprintf(w, "plugins (or next to netmon-sensor), and netmon.hcl has a block for it:\n\n")
	fmt.Fprintf(w, "    exporter %q {\n", p.Type)
	if name := filepath.Base(os.Args[0]); name != program {
		fmt.Fprintf(w, "      command = %q\n", os.Args[0])
	}
	if schema, err := Schema(p.New().Config()); err == nil {
		for _, a := range schema.Attributes {
			fmt.Fprintf(w, "      %s\n", option(a))
		}
	}
	fmt.Fprintf(w, "    }\n")
}

// option is a line of HCL for a: its default, or a comment that it is wanted.
func option(a *netmonpb.Attribute) string {
	about, _, _ := strings.Cut(a.Description, "\n")
	value := a.DefaultJson
	if value == "" {
		value = "..."
	}
	if about != "" {
		about = " # " + about
	}
	return a.Name + " = " + value + about
}

// stopTimeout bounds an exporter's Stop when nobody asked for it politely.
const stopTimeout = 5 * time.Second
