package sensor

import (
	"time"

	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// A reason says why a flow has no name: an index into rows.Reasons. Where several
// hold, the lowest counts. What the flow is comes first, then what its own bytes
// say, then what was seen around it: each explains the flow better than those
// after it.
type reason uint8

const (
	notTCPUDP      reason = iota // no TCP or UDP, or no ports: nothing in it shows a name
	dnsTraffic                   // with a resolver, whose own name nobody looks up
	addressLiteral               // says itself that it has no name: an address instead, or nothing valid
	parserLimit                  // may have shown one, but what held it was given up or cut off
	beganBefore                  // TCP whose beginning was not seen
	encryptedDNS                 // its initiator asks where we cannot see
	noLookup                     // none of these
	numReasons
)

func (r reason) String() string { return rows.Reasons()[r] }

// hinted is the reason that a hint amounts to. A client that says hello without
// a name was given an address: it must not send one of those (RFC 6066, section 3).
func hinted(k names.HintKind) reason {
	switch k {
	case names.AddressLiteral, names.NameInvalid, names.HelloWithoutName:
		return addressLiteral
	case names.ParserLimit:
		return parserLimit
	}
	return noLookup
}

// why returns the reason that a flow without a name has. It is kept with the
// flow's name: what is found out later counts only where it explains more, so that
// a flow does not lose its reason when, say, its client's is forgotten.
func (j *join) why(r *flow.Record, n *flowName) reason {
	found := noLookup
	switch {
	case r.Protocol != protoTCP && r.Protocol != protoUDP || r.InitiatorPort == 0 && r.ResponderPort == 0:
		found = notTCPUDP
	case resolves(application(r)):
		found = dnsTraffic
	case r.Midstream:
		found = beganBefore
	case j.clients.encrypted(r.Initiator, r.Start):
		found = encryptedDNS
	}
	n.reason = min(n.reason, found)
	return n.reason
}

func resolves(a names.Application) bool {
	return a == names.AppDNS || a == names.AppMDNS || a == names.AppLLMNR
}

// asksElsewhere tells whether a flow is one to an encrypted resolver.
func (n *flowName) asksElsewhere(r *flow.Record) bool {
	return n.resolver || r.ResponderPort == portDoT && packet.HasPorts(r.Protocol)
}

// clients remembers who was lately seen to ask over DoH, DoT or DoQ.
type clients struct {
	uses       map[[16]byte]use
	max        int // 0: no bound
	overflowed uint64
	swept      int64
}

// use is the time from the beginning of the first flow to a resolver to the last
// packet of the latest.
type use struct{ first, last int64 }

const (
	// maxClients bounds how many clients of encrypted DNS are remembered. Flows
	// of others have no reason but that no lookup was seen.
	maxClients = 1 << 16

	// useLasts is how long a flow to an encrypted resolver explains others: about
	// as long as what it answered is in use.
	useLasts = int64(time.Hour)

	portDoT = 853 // and DoQ (RFC 7858, section 3.1; RFC 9250, section 4.1.1)
)

// note looks whether a flow is one to an encrypted resolver.
func (c *clients) note(r *flow.Record, n *flowName) {
	if !n.asksElsewhere(r) {
		return
	}
	if r.PacketsSent+r.PacketsReceived == 0 && !r.Born {
		return // only ends, perhaps long after its last packet
	}
	u, known := c.uses[r.Initiator]
	switch {
	case known:
		u.first, u.last = min(u.first, r.Start), max(u.last, r.Last)
	case c.max > 0 && len(c.uses) >= c.max:
		if r.Counted {
			c.overflowed++
		}
		return
	default:
		u = use{r.Start, r.Last}
	}
	c.uses[r.Initiator] = u
}

// encrypted tells whether a client was known for encrypted DNS when a flow of its
// began.
func (c *clients) encrypted(client [16]byte, start int64) bool {
	u, known := c.uses[client]
	return known && u.first <= start && start-u.last <= useLasts
}

// forget drops those that were not seen at it for long.
func (c *clients) forget(now int64) {
	const often = int64(time.Minute)
	if now-c.swept < often && now >= c.swept {
		return
	}
	c.swept = now
	for k, u := range c.uses {
		if now-u.last > useLasts {
			delete(c.uses, k)
		}
	}
}
