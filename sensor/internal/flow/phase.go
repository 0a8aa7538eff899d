package flow

import "github.com/netmon-sensor/netmon/sensor/internal/packet"

// A phase is how far a connection has come, as seen between its ends. What
// holds of the initiator stands one before what holds of the responder.
type phase uint8

const (
	unphased          phase = iota // no connection, or nothing of it seen yet
	synSent                        // nothing but the initiator's SYN
	synLate                        // the same, and it was counted as unanswered
	synReceived                    // the responder's SYN
	established                    //
	finInitiator                   // one end closes: FIN
	finResponder                   //
	finInitiatorAcked              // and the other knows
	finResponderAcked              //
	finBoth                        // both close at once
	lastInitiator                  // both close, this end began; its FIN is acknowledged, the other's is not
	lastResponder                  //
	closedInitiator                // all is acknowledged; this end began to close and waits
	closedResponder                //
	closed                         // RST, or nothing was seen for too long
	datagrams                      // UDP
	numPhases
)

// over tells whether a connection has closed.
func (p phase) over() bool { return p >= closedInitiator && p <= closed }

// waiting tells whether a SYN waits for its answer.
func (p phase) waiting() bool { return p == synSent || p == synLate }

// passing tells whether a connection is in a phase that its ends leave by
// themselves before long.
func (p phase) passing() bool {
	return p > unphased && p < established || p >= finBoth && p < closed
}

// after returns the phase that a segment leads to. from is its direction; acks
// tells whether it acknowledges all that the other end sent, or the SYN where that
// is unanswered; carries whether it has payload.
func (p phase) after(flags uint8, from phase, acks, carries bool) phase {
	end := flags&packet.FIN != 0
	switch {
	case p.waiting() && flags&packet.RST != 0 && from == 0,
		p.waiting() && flags&(packet.SYN|packet.ACK) != packet.SYN && from == 1 && !acks:
		// An end that remembers an older connection, and how it is told otherwise
		// (RFC 9293, section 3.5.1).
		return p
	case flags&packet.RST != 0:
		return closed
	case p.over():
		return p
	case flags&packet.SYN != 0:
		switch {
		case p == unphased && flags&packet.ACK == 0:
			return synSent
		case p <= synLate && (flags&packet.ACK != 0 || from == 1):
			return synReceived
		}
		return p
	case p == synReceived && from == 0 && flags&packet.ACK == 0,
		p == synReceived && from == 1 && !carries && !end:
		return p
	case p < established:
		p = established
	}
	other := 1 - from
	switch {
	case p == established && end:
		return finInitiator + from
	case p == finInitiator+other && end && acks, p == finInitiatorAcked+other && end:
		return lastInitiator + other
	case p == finInitiator+other && end:
		return finBoth
	case p == finInitiator+other && acks:
		return finInitiatorAcked + other
	case p == finBoth && acks:
		return lastInitiator + other
	case p == lastInitiator+from && acks:
		return closedInitiator + from
	}
	return p
}

// A State is one that an end of a connection is in (RFC 9293, section 3.3.2),
// as ss(8) counts them; UDP has one. A closed connection is in none, and an end
// that was only sent a SYN is not yet.
type State uint8

const (
	noState State = iota
	SynSent
	SynRecv
	Established
	FinWait1
	FinWait2
	CloseWait
	LastAck
	Closing
	TimeWait
	UDPActive
	NumStates
)

// String is PROTOCOL/STATE.
func (s State) String() string {
	switch s {
	case SynSent:
		return "tcp/syn_sent"
	case SynRecv:
		return "tcp/syn_recv"
	case Established:
		return "tcp/established"
	case FinWait1:
		return "tcp/fin_wait1"
	case FinWait2:
		return "tcp/fin_wait2"
	case CloseWait:
		return "tcp/close_wait"
	case LastAck:
		return "tcp/last_ack"
	case Closing:
		return "tcp/closing"
	case TimeWait:
		return "tcp/time_wait"
	case UDPActive:
		return "udp/active"
	}
	return "none"
}

// states are those of the initiator and of the responder.
func (p phase) states() (initiator, responder State) {
	switch p {
	case synSent, synLate:
		return SynSent, noState
	case synReceived:
		return Established, SynRecv
	case established:
		return Established, Established
	case finInitiator:
		return FinWait1, CloseWait
	case finResponder:
		return CloseWait, FinWait1
	case finInitiatorAcked:
		return FinWait2, CloseWait
	case finResponderAcked:
		return CloseWait, FinWait2
	case finBoth:
		return Closing, Closing
	case lastInitiator:
		return TimeWait, LastAck
	case lastResponder:
		return LastAck, TimeWait
	case closedInitiator:
		return TimeWait, noState
	case closedResponder:
		return noState, TimeWait
	case datagrams:
		return UDPActive, UDPActive
	}
	return noState, noState
}

// Active counts the live connections of an interface by the state of our end. Where
// no end is known to be ours it is the initiator's; where both are, both count,
// but a UDP flow counts once.
type Active [NumStates]uint32

// phases counts live flows of an interface by which ends are ours and by phase.
type phases [numEnds][numPhases]uint32

const (
	ourInitiator = iota
	ourResponder
	ourBoth
	numEnds
)

func (s Side) ends() int {
	switch s {
	case Inbound:
		return ourResponder
	case Internal:
		return ourBoth
	}
	return ourInitiator
}

// count counts a flow of an interface.
func (t *Table) count(iface uint16, side Side, p phase) {
	for int(iface) >= len(t.active) {
		t.active = append(t.active, phases{})
	}
	t.active[iface][side.ends()][p]++
}

// uncount takes back what count did.
func (t *Table) uncount(iface uint16, side Side, p phase) {
	t.active[iface][side.ends()][p]--
}

// Active appends to dst the connections of every interface, by its number, and
// returns it.
func (t *Table) Active(dst []Active) []Active {
	for i := range t.active {
		var a Active
		for p := range numPhases {
			initiator, responder := p.states()
			n := &t.active[i]
			a[initiator] += n[ourInitiator][p] + n[ourBoth][p]
			a[responder] += n[ourResponder][p]
			if p != datagrams {
				a[responder] += n[ourBoth][p]
			}
		}
		a[noState] = 0
		dst = append(dst, a)
	}
	return dst
}
