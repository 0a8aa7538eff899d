package plugins

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Bytes is a size in bytes, written "64MiB" in a config file.
type Bytes int64

var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// ParseBytes reads a whole number with one of the units B, KiB, MiB, GiB, TiB
// (powers of 1024), KB, MB, GB, TB (powers of 1000).
func ParseBytes(text string) (Bytes, error) {
	for _, unit := range byteUnits {
		digits, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil {
			return 0, fmt.Errorf("%q is no whole number", digits)
		}
		if int64(n) > math.MaxInt64/unit.size {
			return 0, fmt.Errorf("%q is too large", text)
		}
		return Bytes(int64(n) * unit.size), nil
	}
	return 0, fmt.Errorf("%q has no unit: B, KiB, MiB, GiB or TiB", text)
}

// String writes b in the largest power of 1024 that divides it.
func (b Bytes) String() string {
	for _, unit := range byteUnits[:4] {
		if b != 0 && int64(b)%unit.size == 0 {
			return strconv.FormatInt(int64(b)/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalText is String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBytes.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBytes(string(text))
	return err
}

// formatDuration is d.String without the zeros at its end: "1h", not "1h0m0s".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parsePrefix reads a CIDR prefix, or a bare address as the prefix of that one.
func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no address", text)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no prefix such as 192.0.2.0/24 or 2001:db8::/32", text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits set behind the prefix: write %s for the network, or %s for the one address",
			text, p.Masked(), p.Addr())
	}
	return p, nil
}

// mistake is what is wrong with a value, to be put at its place.
type mistake struct{ summary, detail string }

func mistakef(summary, format string, args ...any) *mistake {
	return &mistake{summary, fmt.Sprintf(format, args...)}
}

// checkText holds a string against the enum, the format and the bounds of a.
func checkText(a *netmonpb.Attribute, text string) *mistake {
	if text == "" && emptyAllowed(a) {
		return nil
	}
	if text == "" && a.Required {
		return mistakef("Empty value", "%q must not be empty.", a.Name)
	}
	if a.Sensitive {
		if m := checkFilled(a, text); m != nil {
			return mistakef(m.summary, "The value of %q is not of the form it must have. It is not shown, because the option is sensitive.", a.Name)
		}
		return nil
	}
	return checkFilled(a, text)
}

// emptyAllowed says whether an empty string may stand for "off" or "none": not in a
// list or a map, and not for a choice, a duration or a size that has a default.
func emptyAllowed(a *netmonpb.Attribute) bool {
	switch {
	case a.Required || strings.HasPrefix(a.Type, "["):
		return false
	case a.DefaultJson == `""` || a.DefaultJson == "":
		return true
	}
	return len(a.EnumValues) == 0 && a.Format != netmonpb.Format_FORMAT_DURATION && a.Format != netmonpb.Format_FORMAT_BYTES
}

func checkFilled(a *netmonpb.Attribute, text string) *mistake {
	if len(a.EnumValues) > 0 && !slices.Contains(a.EnumValues, text) {
		return mistakef(fmt.Sprintf("Unknown value of %q", a.Name), "%q is not one of %s.%s",
			text, strings.Join(a.EnumValues, ", "), didYouMean(text, a.EnumValues))
	}
	switch a.Format {
	case netmonpb.Format_FORMAT_DURATION:
		return checkDuration(a, text)
	case netmonpb.Format_FORMAT_BYTES:
		return checkBytes(a, text)
	case netmonpb.Format_FORMAT_LISTEN_ADDRESS:
		return checkListenAddress(text)
	case netmonpb.Format_FORMAT_URL:
		return checkURL(text)
	case netmonpb.Format_FORMAT_PATH:
		if strings.ContainsRune(text, 0) {
			return mistakef("Invalid path", "A path has no NUL character.")
		}
	case netmonpb.Format_FORMAT_CIDR:
		if _, err := parsePrefix(text); err != nil {
			return mistakef("Invalid network", "%s.", err)
		}
	}
	return nil
}

// bareNumber is the mistake of a duration or a size without its unit, or nil where
// the format is another.
func bareNumber(a *netmonpb.Attribute, number string) *mistake {
	switch a.Format {
	case netmonpb.Format_FORMAT_DURATION:
		return mistakef("Missing unit", "%q is a duration, which has a unit: write \"%ss\" for seconds, or \"%sms\".", a.Name, number, number)
	case netmonpb.Format_FORMAT_BYTES:
		return mistakef("Missing unit", "%q is a size, which has a unit: write \"%sMiB\", or \"%sB\" for bytes.", a.Name, number, number)
	}
	return nil
}

func isBareNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil && strings.Trim(text, "0123456789.") == ""
}

func checkDuration(a *netmonpb.Attribute, text string) *mistake {
	if isBareNumber(text) {
		return bareNumber(a, text)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return mistakef("Invalid duration", "%q is no duration: write it like \"500ms\", \"5s\" or \"1h30m\".", text)
	}
	if d < 0 {
		return mistakef("Invalid duration", "%q must not be negative.", a.Name)
	}
	return checkBounds(a, d.Seconds(), formatDuration(d))
}

func checkBytes(a *netmonpb.Attribute, text string) *mistake {
	if isBareNumber(text) {
		return bareNumber(a, text)
	}
	b, err := ParseBytes(text)
	if err != nil {
		return mistakef("Invalid size", "%q is no size: write it like \"512KiB\", \"64MiB\" or \"1GiB\".", text)
	}
	return checkBounds(a, float64(b), b.String())
}

func checkNumber(a *netmonpb.Attribute, n float64) *mistake {
	return checkBounds(a, n, formatNumber(n))
}

func checkBounds(a *netmonpb.Attribute, n float64, shown string) *mistake {
	low, high := a.Minimum, a.Maximum
	if (low == nil || n >= *low) && (high == nil || n <= *high) {
		return nil
	}
	if a.Sensitive {
		shown = "what is given"
	}
	switch {
	case low == nil:
		return mistakef("Value out of range", "%q must be at most %s, not %s.", a.Name, showBound(a, *high), shown)
	case high == nil:
		return mistakef("Value out of range", "%q must be at least %s, not %s.", a.Name, showBound(a, *low), shown)
	}
	return mistakef("Value out of range", "%q must be between %s and %s, not %s.", a.Name, showBound(a, *low), showBound(a, *high), shown)
}

func showBound(a *netmonpb.Attribute, bound float64) string {
	switch a.Format {
	case netmonpb.Format_FORMAT_DURATION:
		return formatDuration(time.Duration(math.Round(bound * 1e9)))
	case netmonpb.Format_FORMAT_BYTES:
		return Bytes(bound).String()
	}
	return formatNumber(bound)
}

// formatNumber writes whole numbers of a usual size without an exponent.
func formatNumber(n float64) string {
	if n == math.Trunc(n) && math.Abs(n) < 1e15 {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return strconv.FormatFloat(n, 'g', -1, 64)
}

func checkListenAddress(text string) *mistake {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return mistakef("Invalid address", "%q is no address to listen on: write it like \"127.0.0.1:8080\", \"[::1]:8080\" or \":8080\".", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return mistakef("Invalid port", "%q is no port: a number from 0 to 65535.", port)
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return mistakef("Invalid address", "%q is no IP address or host name.", host)
	}
	return nil
}

// checkURL does not repeat the value: it may hold a password.
func checkURL(text string) *mistake {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return mistakef("Invalid URL", "This is no URL: write it like \"https://host.example:8080/path\".")
	case u.Scheme != "http" && u.Scheme != "https":
		return mistakef("Invalid URL", "The URL must begin with http:// or https://.")
	case u.Hostname() == "":
		return mistakef("Invalid URL", "The URL has no host.")
	}
	if port := u.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return mistakef("Invalid URL", "%q is no port: a number from 0 to 65535.", port)
		}
	}
	return nil
}

// nearest is the candidate that given was probably meant to be, or "".
func nearest(given string, candidates []string) string {
	best, bestDistance := "", min(len(given)/3+1, 3)+1
	for _, c := range candidates {
		if d := levenshtein.Distance(given, c, nil); d > 0 && d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

func didYouMean(given string, candidates []string) string {
	if n := nearest(given, candidates); n != "" {
		return fmt.Sprintf(" Did you mean %q?", n)
	}
	return ""
}
