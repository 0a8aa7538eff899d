// Package flow keeps the live flows of one shard and what they did since they
// were last harvested. It is pure: time arrives with the packets.
package flow

// Record is one flow's counters since its previous record, copied out of the
// table by Harvest. The sums over all records of a flow are its totals.
type Record struct {
	Initiator, Responder         [16]byte // IPv4 in mapped form
	InitiatorPort, ResponderPort uint16
	Version, Protocol            uint8
	Interface                    uint16

	// Slot and Generation name the flow within its shard. A slot is used again,
	// with another generation, after its flow ended.
	Slot, Generation uint32

	Start int64  // time of the first packet, Unix nanoseconds
	Order uint64 // of the first packet
	Last  int64  // latest time seen

	PacketsSent, PacketsReceived uint64 // sent: initiator to responder
	BytesSent, BytesReceived     uint64 // IP bytes

	// Born marks the first record of the flow. It comes in the epoch of the
	// first packet even where Held, so that names are looked up in time.
	Born bool
	// Held: the flow may still show a name of its own; its counters stay in
	// the table (and are 0 here) until it has, cannot any more, or the hold
	// time is over.
	Held bool
	// Counted: this record is the first with counters; the connection and the
	// access are counted with it.
	Counted bool
	// Ended: the flow left the table; no further record will come.
	Ended bool
	// Midstream: TCP whose first packet here was no SYN, so its beginning, where
	// names are, was not seen.
	Midstream bool

	// Over: the connection closed or its flow ended, for the first time now;
	// Duration says how long it lasted, first to last packet, in nanoseconds.
	Over     bool
	Duration int64
	// Health of TCP since the previous record.
	Health

	// OurSide is what SetSide stored at the first packet.
	OurSide Side
	// Application is what SetApplication stored: an index into names.Applications.
	Application uint8
}

// Side says which ends of a flow are ours.
type Side uint8

// Sides, as directions of netmonpb.Direction: the same numbers.
const (
	SideUnset Side = iota
	Outbound       // we began it
	Inbound
	Internal
	Transit
	Unknown
)
