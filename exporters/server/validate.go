package server

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

const (
	maxRequestRows = 400_000 // in one window or snapshot
	maxName        = 128     // bytes of an interface, item or application
	maxText        = 256     // bytes of a sensor id or detail
	maxBuckets     = 64
	logIDSize      = 16
	maxChain       = 64

	// maxDelta bounds a counter, so that sums stay far from wrapping around.
	maxDelta = 1 << 60
)

// checkWindow looks at everything in a window before any of it is applied. What
// passes can be shown in a label, a log line and a page.
func checkWindow(w *netmonpb.Window) error {
	if err := checkHead(w.LogId, w.SensorId, w.Sequence, w.Chain); err != nil {
		return err
	}
	if len(w.PreviousChain) > maxChain {
		return fmt.Errorf("previous_chain has more than %d bytes", maxChain)
	}
	return checkRows(w.Rows)
}

func checkSnapshot(s *netmonpb.Snapshot) error {
	if err := checkHead(s.LogId, s.SensorId, s.Sequence, s.Chain); err != nil {
		return err
	}
	for i, r := range s.Rows {
		if r.GetRetired() {
			return fmt.Errorf("row %d: a snapshot has no retired rows", i)
		}
	}
	return checkRows(s.Rows)
}

func checkHead(logID []byte, sensorID string, sequence uint64, chain []byte) error {
	switch {
	case len(logID) != logIDSize:
		return fmt.Errorf("log_id has %d bytes, not %d", len(logID), logIDSize)
	case sensorID == "":
		return fmt.Errorf("sensor_id is empty")
	case !printable(sensorID, maxText):
		return fmt.Errorf("sensor_id is longer than %d bytes or not printable", maxText)
	case sequence == 0 || sequence >= 1<<53: // a store may hold it in a float
		return fmt.Errorf("sequence %d is not between 1 and 2^53", sequence)
	case len(chain) > maxChain:
		return fmt.Errorf("chain has more than %d bytes", maxChain)
	}
	return nil
}

func checkRows(all []*netmonpb.Row) error {
	if len(all) > maxRequestRows {
		return fmt.Errorf("%d rows are more than %d", len(all), maxRequestRows)
	}
	for i, r := range all {
		if err := checkKey(r.GetKey()); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		if err := checkCounters(r.Counters); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return nil
}

func checkKey(k *netmonpb.Key) error {
	if k == nil {
		return fmt.Errorf("no key")
	}
	switch {
	case !printable(k.Interface, maxName):
		return fmt.Errorf("interface is longer than %d bytes or not printable", maxName)
	case !printable(k.Application, maxName):
		return fmt.Errorf("application is longer than %d bytes or not printable", maxName)
	case !printable(k.Detail, maxText):
		return fmt.Errorf("detail is longer than %d bytes or not printable", maxText)
	case k.Domain != "" && !reservedName(k.Domain) && !validDomain(k.Domain):
		return fmt.Errorf("domain is not a valid name")
	case k.Item != "" && k.Item != rows.Retired && k.Item != otherName && !validItem(k.Item):
		return fmt.Errorf("item is not a metric name")
	case k.Protocol > 255 || k.DnsType > 65535 || k.DnsRcode > unanswered:
		return fmt.Errorf("protocol, dns_type or dns_rcode is out of range")
	case netmonpb.Direction_name[int32(k.Direction)] == "" || netmonpb.NameSource_name[int32(k.NameSource)] == "":
		return fmt.Errorf("unknown direction or name_source")
	case len(k.Address) != 0 && len(k.Address) != 4 && len(k.Address) != 16:
		return fmt.Errorf("address has %d bytes", len(k.Address))
	}
	switch k.View {
	case netmonpb.View_VIEW_DOMAINS:
		if k.Domain == "" {
			return fmt.Errorf("no domain")
		}
	case netmonpb.View_VIEW_ADDRESSES:
		if len(k.Address) == 0 && !reservedName(k.Domain) {
			return fmt.Errorf("no address")
		}
	case netmonpb.View_VIEW_PROTOCOLS, netmonpb.View_VIEW_DNS:
	case netmonpb.View_VIEW_SENSOR:
		if k.Item == "" {
			return fmt.Errorf("no item")
		}
	default:
		return fmt.Errorf("unknown view %d", k.View)
	}
	return nil
}

func checkCounters(c *netmonpb.Counters) error {
	if c == nil {
		return nil
	}
	if c.BytesSent|c.BytesReceived|c.PacketsSent|c.PacketsReceived|c.Connections|c.Accesses|c.Value|
		c.DnsQueries|c.DnsResponses|c.RetransmittedBytes|c.Resets|c.Refused|c.Unanswered >= maxDelta {
		return fmt.Errorf("a counter is not below 2^60")
	}
	for _, h := range [...]*netmonpb.Histogram{c.DnsLatency, c.Duration, c.Handshake, c.HandshakeAck} {
		if len(h.GetBuckets()) > maxBuckets || h.GetSumNs() > math.MaxInt64 || h.GetSumS() >= maxDelta {
			return fmt.Errorf("a histogram has more than %d buckets, or its sum is out of range", maxBuckets)
		}
		for _, n := range h.GetBuckets() {
			if n >= maxDelta {
				return fmt.Errorf("a bucket is not below 2^60")
			}
		}
	}
	return nil
}

// printable tells whether text can go into a label and a log line as it is.
func printable(text string, limit int) bool {
	if len(text) > limit || !utf8.ValidString(text) {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

func reservedName(name string) bool {
	switch name {
	case rows.Retired, otherName, unattributed, "(excluded)":
		return true
	}
	return false
}

// validDomain is DEFINITIONS 5.1: 1 to 253 characters in labels of 1 to 63
// characters from a-z 0-9 - _, the last of them no number.
func validDomain(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	label := 0 // where the label at hand begins
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			c := name[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
			continue
		}
		if n := i - label; n == 0 || n > 63 {
			return false
		}
		if i == len(name) {
			last := name[label:]
			return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
		}
		label = i + 1
	}
	return false
}

// validItem tells whether netmon_ITEM can be a family of a sensor. What begins
// with server_ is the server's own.
func validItem(item string) bool {
	if len(item) > maxName || item[0] < 'a' || item[0] > 'z' || strings.HasPrefix(item, "server_") {
		return false
	}
	return strings.Trim(item, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// countRows counts the rows of an encoded PushRequest, so that a small body
// cannot make many large values in memory.
func countRows(body []byte) int {
	n := 0
	fields(body, func(item protowire.Number, message []byte) {
		rowField := protowire.Number(9) // Window.rows
		if item == 2 {
			rowField = 7 // Snapshot.rows
		}
		fields(message, func(number protowire.Number, _ []byte) {
			if number == rowField {
				n++
			}
		})
	})
	return n
}

// fields calls f for every field of a message that has a length. It ends at
// what it does not understand; the real decoder refuses that.
func fields(b []byte, f func(protowire.Number, []byte)) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if kind == protowire.BytesType {
			value, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return
			}
			f(number, value)
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return
		}
		b = b[n:]
	}
}
