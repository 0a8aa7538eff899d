package sensor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// explainFrames is what -explain is given to list the frames not decoded.
const explainFrames = "undecoded"

// query is what -explain asks for: the flows of a name, of an address, or between
// two ends. The zero query is everything.
type query struct {
	text     string
	name     *names.Patterns // a name and all below it
	address  [16]byte        // an address of either end, where isAddress
	ends     [2]end          // both ends in any order, where isFlow
	protocol int             // likewise; -1: any

	isAddress, isFlow bool
}

// end is one end of a flow.
type end struct {
	address [16]byte
	port    int // -1: any
}

// newQuery reads NAME, IP or FLOW.
func newQuery(text string) (*query, error) {
	q := &query{text: text, protocol: -1}
	if a, ok := parseEnd(text); ok && a.port < 0 {
		q.address, q.isAddress = a.address, true
		return q, nil
	}
	rest := text
	if protocol, after, ok := strings.Cut(text, "/"); ok {
		rest = after
		for n := range 256 {
			if rows.ProtocolName(uint32(n)) == protocol || fmt.Sprint(n) == protocol {
				q.protocol = n
			}
		}
		if q.protocol < 0 {
			return nil, fmt.Errorf("%w: -explain %s: no IP protocol is called %q", ErrConfig, text, protocol)
		}
	}
	if one, other, ok := strings.Cut(rest, "-"); ok {
		a, okA := parseEnd(one)
		b, okB := parseEnd(other)
		if okA && okB {
			q.ends, q.isFlow = [2]end{a, b}, true
			return q, nil
		}
	}
	var err error
	if q.name, err = names.NewPatterns([]string{"." + text}); err != nil || q.protocol >= 0 {
		return nil, fmt.Errorf("%w: -explain %q is no domain name, IP address, flow such as tcp/10.0.0.1:5000-192.0.2.1:443, or %q",
			ErrConfig, text, explainFrames)
	}
	return q, nil
}

func parseEnd(s string) (end, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return end{ap.Addr().WithZone("").As16(), int(ap.Port())}, true
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return end{a.WithZone("").As16(), -1}, err == nil
}

// wanted returns at which addresses flows have evidence to be kept, nil for all:
// which flows have a name is known only at the end.
func (q *query) wanted() func([16]byte) bool {
	switch {
	case q.isAddress:
		return func(a [16]byte) bool { return a == q.address }
	case q.isFlow:
		return func(a [16]byte) bool { return a == q.ends[0].address || a == q.ends[1].address }
	}
	return nil
}

func (q *query) matches(f *reportFlow, name string) bool {
	switch {
	case q.isAddress:
		return f.initiator == q.address || f.responder == q.address
	case q.isFlow:
		return (q.protocol < 0 || q.protocol == int(f.protocol)) &&
			(q.ends[0].is(f.initiator, f.initiatorPort) && q.ends[1].is(f.responder, f.responderPort) ||
				q.ends[1].is(f.initiator, f.initiatorPort) && q.ends[0].is(f.responder, f.responderPort))
	case q.name != nil:
		return q.name.Match(name)
	}
	return true
}

func (e end) is(address [16]byte, port uint16) bool {
	return e.address == address && (e.port < 0 || e.port == int(port))
}

// matchesAnswer tells whether an answer is evidence of its own: one for the
// address, or one that carried the name.
func (q *query) matchesAnswer(a *answer, name, owner string) bool {
	if q.isAddress {
		return a.address == q.address
	}
	return q.name.Match(name) || owner != "" && q.name.Match(owner)
}

// explainUndecoded prints a line for each frame that no flow holds.
func explainUndecoded(ctx context.Context, out io.Writer, o ReplayOptions) error {
	file, err := capture.OpenFile(o.Path, 1, nil)
	if err != nil {
		return err
	}
	src := file.Sources()[0]
	defer src.Close()
	w := bufio.NewWriter(out)
	var h packet.Header
	found := false
	for ctx.Err() == nil {
		block, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for i := range block {
			p := &block[i]
			reason := h.Decode(packet.Link(p.Link), p.Data, p.Length)
			if reason == packet.Decoded {
				continue
			}
			found = true
			length := fmt.Sprintf("%d bytes", p.Length)
			if uint32(len(p.Data)) < p.Length {
				length += fmt.Sprintf(" (%d captured)", len(p.Data))
			}
			fmt.Fprintf(w, "frame %d at %s, link type %d, %s: %v, %s\n",
				p.Order, stamp(file, p.Time), p.Link, length, reason, packet.Explain(packet.Link(p.Link), p.Data, p.Length))
		}
	}
	if !found {
		fmt.Fprintln(w, "every frame was decoded")
	}
	logDamage(file, o)
	return w.Flush()
}

// stamp prints the time of a packet in UTC, RFC 3339 with milliseconds.
func stamp(file *capture.File, ns int64) string {
	seconds, ns := file.Unix(ns)
	return time.Unix(int64(seconds), ns).UTC().Format("2006-01-02T15:04:05.000Z")
}
