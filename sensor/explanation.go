package sensor

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sort"

	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// explanation prints, for people, why flows have the names they have.
type explanation struct {
	*bufio.Writer
	asked     *query
	evidence  *evidence
	book      *names.Book
	file      *capture.File
	byAddress map[[16]byte][]uint32 // indexes of answers, in order
}

const (
	// maxAnswersShown is how many answers are listed for one question.
	maxAnswersShown = 20
	// maxOthers is how many flows are shown that went to an address asked about
	// under other names, and how many names that a flow does not have.
	maxOthers = 5
	// looksBack and looksAhead bound the answers for a flow's address that are
	// looked at, so that an address with many names costs little.
	looksBack, looksAhead = 64, 16
)

// explain prints a paragraph for each flow that is asked about, then the answers
// that speak of the name or address. It depends on the capture alone.
func explain(w io.Writer, q *query, j *join, file *capture.File) error {
	x := &explanation{Writer: bufio.NewWriter(w), asked: q, evidence: j.evidence, book: j.book, file: file, byAddress: map[[16]byte][]uint32{}}
	for i := range x.evidence.answers {
		a := &x.evidence.answers[i]
		x.byAddress[a.address] = append(x.byAddress[a.address], uint32(i))
	}
	flows := inOrder(j.report, func(f *reportFlow) bool { return q.matches(f, x.book.Name(f.name)) })
	for _, f := range flows {
		x.flow(f)
	}
	if len(flows) == 0 {
		fmt.Fprintf(x, "no flow matches %s\n", q.text)
	}
	if q.isAddress || q.name != nil {
		answers := x.answers()
		if len(flows) == 0 && len(answers) > 0 {
			x.others(j.report, answers)
		}
	}
	if e := x.evidence; e.answersBeyond+e.flowsBeyond > 0 {
		fmt.Fprintf(x, "evidence is kept of the first %d answers and flows: %d answers and %d flows came later\n",
			e.limit, e.answersBeyond, e.flowsBeyond)
	}
	return x.Flush()
}

// inOrder returns the flows that are wanted by their first frames.
func inOrder(p *report, wanted func(*reportFlow) bool) (fs []*reportFlow) {
	for f := range p.flows.each() {
		if wanted(f) {
			fs = append(fs, f)
		}
	}
	slices.SortFunc(fs, func(a, b *reportFlow) int { return cmp.Compare(a.order, b.order) })
	return fs
}

// answers lists what DNS said of the name or address asked about.
func (x *explanation) answers() (found []*answer) {
	type content struct {
		address, client [16]byte
		name, owner     names.ID
	}
	given := map[content][]*answer{} // the same again and again, as mDNS does
	var firsts []content
	for i := range x.evidence.answers {
		a := &x.evidence.answers[i]
		if x.asked.matchesAnswer(a, x.book.Name(a.name), x.book.Name(a.owner)) {
			c := content{a.address, a.client, a.name, a.owner}
			if given[c] == nil {
				firsts = append(firsts, c)
			}
			found, given[c] = append(found, a), append(given[c], a)
		}
	}
	if len(found) == 0 {
		fmt.Fprintf(x, "no answer speaks of %s\n", x.asked.text)
	}
	for _, c := range firsts[:min(len(firsts), maxAnswersShown)] {
		same := given[c]
		fmt.Fprint(x, x.answer(same[0]))
		if again := len(same) - 1; again > 0 {
			fmt.Fprintf(x, ", and %d times more up to frame %d", again, same[again].order)
		}
		fmt.Fprintln(x)
	}
	if more := len(firsts) - maxAnswersShown; more > 0 {
		fmt.Fprintf(x, "and %d more\n", more)
	}
	return found
}

// others shows the flows that might have used answers and did not.
func (x *explanation) others(p *report, answers []*answer) {
	of := map[[16]byte]bool{}
	for _, a := range answers {
		of[a.address] = true
	}
	fs := inOrder(p, func(f *reportFlow) bool { return of[f.responder] })
	if len(fs) == 0 {
		fmt.Fprintf(x, "no flow used them: none went to these addresses\n")
		return
	}
	fmt.Fprintf(x, "no flow used them; to these addresses went\n\n")
	for _, f := range fs[:min(len(fs), maxOthers)] {
		x.flow(f)
	}
	if more := len(fs) - maxOthers; more > 0 {
		fmt.Fprintf(x, "and %d more\n", more)
	}
}

// answer says which answer it was, when, to whom and by which record.
func (x *explanation) answer(a *answer) string {
	record, owner, asked, to := "AAAA", a.name, "", "everyone"
	if netip.AddrFrom16(a.address).Is4In6() {
		record = "A"
	}
	if a.owner != 0 {
		owner, asked = a.owner, fmt.Sprintf(" (asked as %s)", x.book.Name(a.name))
	}
	if !a.everyone {
		to = plain(a.client)
	}
	return fmt.Sprintf("answer in frame %d at %s to %s: %s %s %s%s",
		a.order, stamp(x.file, a.time), to, x.book.Name(owner), record, plain(a.address), asked)
}

// flow prints what one flow is, what it is called, and why.
func (x *explanation) flow(f *reportFlow) {
	fmt.Fprintf(x, "%s %s -> %s, first frame %d at %s\n", rows.ProtocolName(uint32(f.protocol)),
		endpoint(f, f.initiator, f.initiatorPort), endpoint(f, f.responder, f.responderPort), f.order, stamp(x.file, f.start))
	fmt.Fprintf(x, "  sent %v, received %v\n", f.sent, f.received)
	c := x.evidence.flows[f.order]
	switch {
	case f.name != 0:
		fmt.Fprintf(x, "  name %s, source %s\n", x.book.Name(f.name), sourceName(f.source))
	case c != nil:
		fmt.Fprintf(x, "  no name, source none: %v, %s\n", c.reason, x.why(f, c))
	default:
		fmt.Fprintf(x, "  no name, source none\n")
	}
	if c != nil {
		x.clues(f, c)
		x.losers(f, c)
	} else {
		fmt.Fprintf(x, "  its evidence is not kept\n")
	}
	fmt.Fprintln(x)
}

// clues prints what led to the flow's name.
func (x *explanation) clues(f *reportFlow, c *clue) {
	if c.own != 0 {
		fmt.Fprintf(x, "  %s said %s in frame %d", ownEvidence(c.source), x.book.Name(c.own), c.frame)
		switch cover := c.ech && x.book.IsCover(c.own, c.frame); {
		case c.gaveWay:
			x.WriteString(", the cover name of an encrypted ClientHello: what the client looked up comes first")
		case cover:
			x.WriteString(", the cover name of an encrypted ClientHello; the client looked up no other")
		case c.ech:
			x.WriteString(" beside an encrypted ClientHello or what pretends to be one: no configuration was seen whose cover it is")
		}
		fmt.Fprintln(x)
	}
	if c.answer == 0 {
		if f.source == names.DNSClient || f.source == names.DNSAny {
			fmt.Fprintf(x, "  the answer is not kept\n")
		}
		return
	}
	a := &x.evidence.answers[c.answer-1]
	fmt.Fprintf(x, "  %s\n", x.answer(a))
	switch {
	case c.own != 0 && !c.gaveWay && a.name != f.name:
		fmt.Fprintf(x, "    not %s: a name in the flow's own bytes comes first\n", x.book.Name(a.name))
	case f.source == names.DNSAny:
		fmt.Fprintf(x, "    %s itself had been given none for this address\n", plain(f.initiator))
	}
}

// losers says why the flow has none of the other names that its address was
// given around its beginning.
func (x *explanation) losers(f *reportFlow, c *clue) {
	all := x.byAddress[f.responder]
	first := sort.Search(len(all), func(i int) bool { return x.evidence.answers[all[i]].order >= f.order })
	told, lines := map[names.ID]bool{f.name: true}, 0
	if c.answer > 0 {
		told[x.evidence.answers[c.answer-1].name] = true
	}
	tell := func(a *answer) {
		if told[a.name] {
			return
		}
		told[a.name] = true
		if lines++; lines > maxOthers {
			return
		}
		fmt.Fprintf(x, "  not %s: %s %s\n", x.book.Name(a.name), x.answer(a), x.whyNot(f, c, a))
	}
	for i := first - 1; i >= max(first-looksBack, 0); i-- {
		tell(&x.evidence.answers[all[i]])
	}
	for i := first; i < min(first+looksAhead, len(all)); i++ {
		tell(&x.evidence.answers[all[i]])
	}
	if lines > maxOthers {
		fmt.Fprintf(x, "  nor %d others\n", lines-maxOthers)
	}
}

// whyNot says why an answer for the responder's address does not name the flow.
func (x *explanation) whyNot(f *reportFlow, c *clue, a *answer) string {
	switch {
	case a.order >= f.order:
		return "came after the first packet"
	case c.answer == 0: // of the answers not kept
		return "does not count"
	case !a.everyone && a.client != f.initiator && x.direct(f, c):
		return "was for another client"
	}
	return fmt.Sprintf("is older than the one in frame %d", x.evidence.answers[c.answer-1].order)
}

// direct tells whether the answer that DNS had for a flow was one to its initiator.
func (x *explanation) direct(f *reportFlow, c *clue) bool {
	a := &x.evidence.answers[c.answer-1]
	return a.everyone || a.client == f.initiator
}

// why puts the reason of a flow without a name into words.
func (x *explanation) why(f *reportFlow, c *clue) string {
	none := fmt.Sprintf("no answer with %s was seen before it", plain(f.responder))
	switch c.reason {
	case notTCPUDP:
		return "nothing in it can show a name, and " + none
	case dnsTraffic:
		return "it is with a resolver, whose own name nobody looked up"
	case addressLiteral:
		switch {
		case c.hinted(names.AddressLiteral):
			return "its own bytes have an address in the place of a name, and " + none
		case c.hinted(names.NameInvalid):
			return "what its own bytes have in the place of a name is not a valid one, and " + none
		}
		return "its ClientHello has no name, and " + none
	case parserLimit:
		return "what may have shown a name exceeded a bound or was cut off, and " + none
	case beganBefore:
		return "its beginning was not seen, and " + none
	case encryptedDNS:
		return fmt.Sprintf("%s asks an encrypted resolver, first in the flow of frame %d, and %s", plain(f.initiator), x.evidence.asks[f.initiator], none)
	}
	return none
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

// plain prints an address of which the IP version is not told.
func plain(a [16]byte) string { return netip.AddrFrom16(a).Unmap().String() }

func endpoint(f *reportFlow, a [16]byte, port uint16) string {
	switch s := address(a, f.version); {
	case !packet.HasPorts(f.protocol):
		return s
	case f.version == 6:
		return fmt.Sprintf("[%s]:%d", s, port)
	default:
		return fmt.Sprintf("%s:%d", s, port)
	}
}

func (t traffic) String() string {
	s := "s"
	if t.packets == 1 {
		s = ""
	}
	return fmt.Sprintf("%d bytes in %d packet%s", t.bytes, t.packets, s)
}
