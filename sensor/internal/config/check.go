package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/netmon-sensor/netmon/plugins"
)

// problem is a mistake at a path below a block.
func problem(summary, detail string, path ...string) error {
	return &plugins.Problem{Path: path, Summary: summary, Detail: detail}
}

// maxID bounds the sensor's id, in bytes: it is a label on every series.
const maxID = 253

// Check finds an id that cannot be a label.
func (s *Sensor) Check() error {
	switch {
	case s.ID == "":
		return problem("Empty value", "The sensor needs an id: write hostname(), or a name.", "id")
	case len(s.ID) > maxID:
		return problem("Value too long", fmt.Sprintf("The id has at most %d bytes.", maxID), "id")
	case !utf8.ValidString(s.ID) || strings.ContainsFunc(s.ID, func(r rune) bool { return !unicode.IsPrint(r) }):
		return problem("Invalid id", "The id has printable characters only; trimspace() takes a line's end away.", "id")
	}
	return nil
}

// Check finds names that no interface can have.
func (c *Capture) Check() error {
	var errs []error
	for i, name := range c.Interfaces {
		_, err := path.Match(name, "")
		switch {
		case err != nil:
			errs = append(errs, problem("Invalid pattern", fmt.Sprintf("%q has a bracket that is not closed.", name), "interfaces", strconv.Itoa(i)))
		case name == "" || strings.ContainsFunc(name, func(r rune) bool { return r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) }):
			errs = append(errs, problem("Invalid interface", fmt.Sprintf("%q is no name or glob of an interface.", name), "interfaces", strconv.Itoa(i)))
		case len(name) > maxInterface && !strings.ContainsAny(name, "*?["):
			errs = append(errs, problem("Invalid interface", fmt.Sprintf("%q is too long: a name has at most %d bytes.", name, maxInterface), "interfaces", strconv.Itoa(i)))
		}
	}
	return errors.Join(errs...)
}

const maxInterface = 15 // IFNAMSIZ less the NUL

// Protocols are the names that the option protocols knows, besides numbers.
func Protocols() []string {
	return []string{
		"6in4", "ah", "dccp", "dns", "eigrp", "esp", "gre", "http", "https", "icmp", "icmpv6", "igmp", "ipip",
		"l2tp", "ospf", "pim", "sctp", "tcp", "udp", "udplite", "vrrp",
	}
}

// Check finds protocols and domains that have no meaning.
func (f *Filter) Check() error {
	var errs []error
	for i, name := range f.Protocols {
		if _, err := strconv.ParseUint(name, 10, 8); err == nil || slices.Contains(Protocols(), name) {
			continue
		}
		errs = append(errs, problem("Unknown protocol",
			fmt.Sprintf("%q is no number from 0 to 255 and not one of %s.", name, strings.Join(Protocols(), ", ")), "protocols", strconv.Itoa(i)))
	}
	return errors.Join(append(errs, checkDomains("only_domains", f.OnlyDomains), checkDomains("ignore_domains", f.IgnoreDomains))...)
}

func checkDomains(option string, patterns []string) error {
	var errs []error
	for i, pattern := range patterns {
		if !validPattern(pattern) {
			errs = append(errs, problem("Invalid domain",
				fmt.Sprintf("%q is no domain: write \"example.com\" for that name, \"*.example.com\" for every name below it, or \".example.com\" for both.", pattern),
				option, strconv.Itoa(i)))
		}
	}
	return errors.Join(errs...)
}

// validPattern says whether what remains of a pattern without its "*." or "." is a
// name in or near normal form (DEFINITIONS 5.1).
func validPattern(pattern string) bool {
	name, below := strings.CutPrefix(pattern, "*.")
	if !below {
		name = strings.TrimPrefix(name, ".")
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 253 {
		return false
	}
	label := ""
	for label = range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return strings.Trim(label, "0123456789") != "" && !strings.HasPrefix(label, "0x")
}

// Check refuses a listener without TLS and login that other machines reach.
func (s *Status) Check() error {
	if s.Listen == "" || s.Insecure {
		return nil
	}
	host, _, err := net.SplitHostPort(s.Listen)
	if a, bad := netip.ParseAddr(host); err == nil && host != "localhost" && (bad != nil || !a.Unmap().IsLoopback()) {
		return problem("Open to the network", fmt.Sprintf(
			"Who reaches %s sees names, addresses and memory of the process, without TLS or login. Listen on 127.0.0.1, or say insecure = true.", s.Listen), "listen")
	}
	return nil
}

// minPluginMemory is what an exporter in Go begins with, and some room.
const minPluginMemory = 128 << 20

// Check finds a directory that would be the working one, and a limit with which no
// plugin could start.
func (p *Plugins) Check() error {
	if p.Directory == "" {
		return problem("Empty value", "Name the directory of the plugins. The sensor's own is looked into as well.", "directory")
	}
	if p.MemoryLimit > 0 && p.MemoryLimit < minPluginMemory {
		return problem("Too little memory", "A plugin needs 128MiB to begin with; 0B is no limit.", "memory_limit")
	}
	return nil
}

// PortRange is the ports First to Last, both included.
type PortRange struct{ First, Last uint16 }

// UnmarshalText reads "22" or "6000-6010".
func (r *PortRange) UnmarshalText(text []byte) error {
	first, last, isRange := strings.Cut(string(text), "-")
	if !isRange {
		last = first
	}
	a, err := parsePort(first)
	if err != nil {
		return err
	}
	b, err := parsePort(last)
	if err != nil {
		return err
	}
	if a > b {
		return fmt.Errorf("the range %s runs backwards: write \"%d-%d\"", text, b, a)
	}
	*r = PortRange{a, b}
	return nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no port: a number from 0 to 65535, or a range such as \"6000-6010\"", text)
	}
	return uint16(n), nil
}

// MarshalText writes what UnmarshalText reads.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}
