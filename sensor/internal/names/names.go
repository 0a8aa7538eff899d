// Package names finds domain names in payloads and remembers which address they
// belong to. A shard's Observer turns DNS answers into facts and first bytes of
// flows into own names; the join's Book learns the facts and answers look-ups.
// It is pure: no clock, no logger, no errors per packet.
package names

// Source is the evidence for a name, as netmonpb.NameSource: the same numbers.
type Source uint8

// Sources, best first.
const (
	None      Source = 1
	SNI       Source = 2
	HTTPHost  Source = 3
	QUICSNI   Source = 4
	DNSClient Source = 5
	DNSAny    Source = 6
)

// Fact is one address of a DNS answer: name was given for Address to Client.
// It holds no pointer; Name is Harvest.Text[NameStart:NameEnd].
type Fact struct {
	Address [16]byte // IPv4 in mapped form
	Client  [16]byte // whom the answer was sent to; zero where Everyone
	Order   uint64   // of the frame that completed the answer
	Time    int64

	NameStart, NameEnd uint32
	// The record's owner in Text where that is another name: the end of the
	// chain of CNAMEs that begins with the name. Else both are 0.
	OwnerStart, OwnerEnd uint32
	Everyone             bool // sent to a multicast address
}

// Own is a name found in a flow's own bytes.
type Own struct {
	Slot, Generation   uint32
	NameStart, NameEnd uint32
	Order              uint64 // of the frame that completed it
	Source             Source
	// ECH: the ClientHello says that it carries another, encrypted. Its own name
	// is then a cover, or it only pretends and the name is as good as any:
	// Book.IsCover tells.
	ECH bool
}

// Cover is the public name of an ECH configuration: what a ClientHello says
// instead of the name that it hides (RFC 9849, section 4).
type Cover struct {
	NameStart, NameEnd uint32
	Order              uint64 // of the frame that completed the answer
}

// DNSCount adds up what was seen of one resolver.
type DNSCount struct {
	Resolver  [16]byte
	Interface uint16
	Type      uint16
	Rcode     uint16 // Unanswered: no response came in time
	Queries   uint64
	Responses uint64
	// Latency counts response times in LatencyBounds; one more for those above.
	Latency [len(LatencyBounds) + 1]uint64
	SumNS   uint64
}

// Unanswered stands in DNSCount.Rcode for queries without a response.
const Unanswered = 4096

// LatencyBounds are the upper bounds of DNSCount.Latency in nanoseconds.
var LatencyBounds = [...]int64{1e6, 2e6, 5e6, 10e6, 20e6, 50e6, 100e6, 200e6, 500e6, 1e9, 2e9, 5e9}

// Harvest is what an Observer found in one epoch. Its slices belong to the
// receiver until it hands the Harvest back to the Observer to be filled again.
type Harvest struct {
	Facts  []Fact  // in order
	Owns   []Own   // in order
	Covers []Cover // in order, each name once
	Hints  []Hint  // of each flow one of a kind; a later harvest may repeat it
	DNS    []DNSCount
	Text   []byte // every name of Facts, Owns and Covers
	Stats  Stats
}

// Stats counts, since the last harvest, what the observer did and refused.
type Stats struct {
	DNSQueries, DNSResponses uint64 // messages on port 53, by DEFINITIONS section 7
	DNSRcodes                [16]uint64
	DNSMalformed             uint64 // messages that ended before they said they would, or made no sense
	NamesInvalid             uint64 // names that are no valid domain name and were ignored
	HeadsOverflowed          uint64 // flows whose first bytes could not be held: too many at once
	StreamsOverflowed        uint64 // DNS streams and fragments likewise
	TransactionsOverflowed   uint64 // DNS queries counted as unanswered before their time: too many waited
	RowsOverflowed           uint64 // additions to the DNS row of all others: too many resolvers and types in one epoch
	FactsOverflowed          uint64 // answers and covers beyond the bound of one epoch
	HintsOverflowed          uint64 // hints likewise
}

// NoSlot is the Slot of a packet that belongs to no flow: a DNS message in it is
// learned from, but it can show no own name. TCP needs a flow and ignores it.
const NoSlot = ^uint32(0)

// Packet is what the Observer needs to know of a TCP or UDP packet.
type Packet struct {
	Src, Dst         [16]byte // IPv4 in mapped form
	SrcPort, DstPort uint16
	Slot, Generation uint32
	Interface        uint16
	FromInitiator    bool
	PSH              bool   // TCP, as are Seq, First and Begun
	Begun            bool   // First is known; only of the first payload after a SYN
	Seq              uint32 // of the first byte of the payload
	First            uint32 // of the first byte that this direction ever sent
	Payload          []byte // as captured
	PayloadLength    uint32 // on the wire
	Time             int64
	Order            uint64
}
