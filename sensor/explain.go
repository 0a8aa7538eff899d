package sensor

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// maxAnswersShown bounds how many answers -explain lists for one question.
const maxAnswersShown = 20

// explanation prints, for people, why flows have the names they have.
type explanation struct {
	*bufio.Writer
	evidence *evidence
	name     func(names.ID) string
	wants    question
}

// A question is what -explain is asked about: a name, an address, or the ends of
// a flow.
type question struct {
	text     string // as asked; a name in its normal form
	address  netip.Addr
	protocol string           // of a flow, "" for any
	ends     []netip.AddrPort // two, of a flow
}

// ask reads NAME, IP or FLOW ("tcp/10.0.0.1:5000-192.0.2.1:443", the protocol
// may be left out).
func ask(text string) (question, error) {
	q := question{text: strings.TrimSuffix(strings.ToLower(text), ".")}
	if a, err := netip.ParseAddr(text); err == nil {
		q.address = a
		return q, nil
	}
	flow := text
	if protocol, rest, ok := strings.Cut(text, "/"); ok {
		q.protocol, flow = strings.ToLower(protocol), rest
	}
	if from, to, ok := strings.Cut(flow, "-"); ok && (strings.Contains(from, ":") || q.protocol != "") {
		for _, end := range []string{from, to} {
			a, err := netip.ParseAddrPort(end)
			if err != nil {
				return q, fmt.Errorf("%w: -explain %q: %q is no address with a port; write 10.0.0.1:5000-192.0.2.1:443", ErrConfig, text, end)
			}
			q.ends = append(q.ends, a)
		}
	}
	return q, nil
}

func (q *question) matches(f *reportFlow, name string) bool {
	a, b := netip.AddrFrom16(f.initiator).Unmap(), netip.AddrFrom16(f.responder).Unmap()
	switch {
	case q.address.IsValid():
		return a == q.address.Unmap() || b == q.address.Unmap()
	case q.ends != nil:
		from, to := netip.AddrPortFrom(a, f.initiatorPort), netip.AddrPortFrom(b, f.responderPort)
		return (q.protocol == "" || q.protocol == protocolName(f.protocol)) &&
			(from == q.ends[0] && to == q.ends[1] || from == q.ends[1] && to == q.ends[0])
	}
	return q.below(name)
}

// below tells whether name is the one asked about, or below it.
func (q *question) below(name string) bool {
	return name == q.text || strings.HasSuffix(name, "."+q.text)
}

// explain prints a paragraph for each flow that the question means, then the
// answers that speak of its name or address.
func (p *report) explain(w io.Writer, q question, e *evidence, name func(names.ID) string) error {
	x := &explanation{bufio.NewWriter(w), e, name, q}
	flows := 0
	for _, f := range slices.SortedFunc(p.all(), func(a, b *reportFlow) int { return cmp.Compare(a.order, b.order) }) {
		if q.matches(f, name(f.name)) {
			flows++
			x.flow(f)
		}
	}
	if flows == 0 {
		fmt.Fprintf(x, "no flow matches %s\n\n", q.text)
	}
	if q.ends == nil {
		x.answers()
	}
	if e.flowsBeyond > 0 || e.answersBeyond > 0 {
		fmt.Fprintf(x, "evidence of %d flows and %d answers more was not kept\n", e.flowsBeyond, e.answersBeyond)
	}
	return x.Flush()
}

// flow prints what one flow is, what it is called, and why.
func (x *explanation) flow(f *reportFlow) {
	fmt.Fprintf(x, "%s %s -> %s, first frame %d at %s\n", protocolName(f.protocol),
		end(f.initiator, f.initiatorPort, f), end(f.responder, f.responderPort, f), f.order, stamp(f.start))
	fmt.Fprintf(x, "  sent %d bytes in %d packets, received %d in %d\n", f.sent.bytes, f.sent.packets, f.received.bytes, f.received.packets)
	c := x.evidence.flows[f.order]
	if f.name != 0 {
		fmt.Fprintf(x, "  name %s, source %s\n", x.name(f.name), sourceName(f.source))
	} else {
		fmt.Fprintf(x, "  no name, source none")
		if c != nil {
			fmt.Fprintf(x, ": %s", c.reason)
		}
		x.WriteByte('\n')
	}
	if c != nil {
		x.clues(f, c)
	}
	x.WriteByte('\n')
}

func (x *explanation) clues(f *reportFlow, c *clue) {
	if c.own != 0 {
		fmt.Fprintf(x, "  %s said %s in frame %d", ownEvidence(c.source), x.name(c.own), c.frame)
		if c.gaveWay {
			x.WriteString(", a cover name of encrypted ClientHellos: what the client looked up comes first")
		}
		x.WriteByte('\n')
	}
	if c.answer != 0 {
		a := &x.evidence.answers[c.answer-1]
		fmt.Fprintf(x, "  %s\n", x.answer(a))
		if c.own != 0 && !c.gaveWay && a.name != f.name {
			fmt.Fprintf(x, "    not %s: a name in the flow's own bytes comes first\n", x.name(a.name))
		}
	}
	for k := names.AddressLiteral; k <= names.ParserLimit; k++ {
		if c.hinted(k) && f.name == 0 {
			fmt.Fprintf(x, "  seen in its first bytes: %s\n", k)
		}
	}
	shown := 0
	for i := range x.evidence.answers {
		a := &x.evidence.answers[i]
		if a.address != f.responder || uint32(i+1) == c.answer || a.name == f.name {
			continue
		}
		if shown++; shown > maxAnswersShown {
			x.WriteString("  and more answers for its address\n")
			break
		}
		fmt.Fprintf(x, "  not %s: %s %s\n", x.name(a.name), x.answer(a), x.whyNot(f, a))
	}
}

// whyNot says why an answer for the responder's address does not name the flow.
func (x *explanation) whyNot(f *reportFlow, a *answer) string {
	switch {
	case a.order >= f.order:
		return "came after the first packet"
	case f.source == names.SNI || f.source == names.HTTPHost || f.source == names.QUICSNI:
		return "gives way to the flow's own name"
	case !a.everyone && a.client != f.initiator:
		return "was for another client"
	}
	return "is older than the one that counts"
}

// answers lists what DNS said of the name or address asked about.
func (x *explanation) answers() {
	shown, beyond := 0, 0
	for i := range x.evidence.answers {
		a := &x.evidence.answers[i]
		if x.wants.address.IsValid() && netip.AddrFrom16(a.address).Unmap() != x.wants.address.Unmap() ||
			!x.wants.address.IsValid() && !x.wants.below(x.name(a.name)) {
			continue
		}
		if shown++; shown > maxAnswersShown {
			beyond++
			continue
		}
		fmt.Fprintln(x, x.answer(a))
	}
	switch {
	case shown == 0:
		fmt.Fprintf(x, "no answer speaks of %s\n", x.wants.text)
	case beyond > 0:
		fmt.Fprintf(x, "and %d more\n", beyond)
	}
}

// answer says which answer it was, when, to whom and by which record.
func (x *explanation) answer(a *answer) string {
	record, owner, asked := "AAAA", a.name, ""
	ip := netip.AddrFrom16(a.address).Unmap()
	if ip.Is4() {
		record = "A"
	}
	if a.owner != 0 && a.owner != a.name {
		owner, asked = a.owner, fmt.Sprintf(" (asked as %s)", x.name(a.name))
	}
	to := "everyone"
	if !a.everyone {
		to = netip.AddrFrom16(a.client).Unmap().String()
	}
	return fmt.Sprintf("answer in frame %d at %s to %s: %s %s %s%s", a.order, stamp(a.time), to, x.name(owner), record, ip, asked)
}

func ownEvidence(s names.Source) string {
	switch s {
	case names.SNI:
		return "its TLS ClientHello"
	case names.HTTPHost:
		return "its HTTP Host header"
	}
	return "its QUIC Initial"
}

func end(a [16]byte, port uint16, f *reportFlow) string {
	if !packet.HasPorts(f.protocol) {
		return address(a, f.version)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), port).String()
}

func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z") }

// explainUndecoded prints a line for each frame of a capture that is no IP packet.
func explainUndecoded(w io.Writer, path string) error {
	file, err := capture.OpenFile(path, 1, nil)
	if err != nil {
		return err
	}
	src := file.Sources()[0]
	defer src.Close()
	b := bufio.NewWriter(w)
	for {
		block, err := src.Next()
		if err != nil { // the end
			return b.Flush()
		}
		for i := range block {
			var h packet.Header
			p := &block[i]
			link := packet.Link(p.Link)
			if h.Decode(link, p.Data, p.Length) != packet.Decoded {
				fmt.Fprintf(b, "frame %d at %s, link type %d, %d bytes: %s\n", p.Order, stamp(p.Time), p.Link, p.Length, packet.Explain(link, p.Data, p.Length))
			}
		}
	}
}
