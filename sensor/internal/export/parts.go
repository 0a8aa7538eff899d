package export

import (
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	// maxPart bounds a message to a plugin, in bytes: a quarter of what gRPC
	// accepts by default in any language.
	maxPart = 1 << 20
	// rowOverhead is a row's tag and length within its message.
	rowOverhead = 1 + 4
)

// windowParts yields w in messages of at most maxPart. They share w's rows.
func windowParts(w *netmonpb.Window) iter.Seq[*netmonpb.ExportRequest] {
	part := func(rows []*netmonpb.Row) *netmonpb.ExportRequest {
		return &netmonpb.ExportRequest{Item: &netmonpb.ExportRequest_Window{Window: &netmonpb.Window{
			LogId:         w.LogId,
			Sequence:      w.Sequence,
			SensorId:      w.SensorId,
			StartNs:       w.StartNs,
			EndNs:         w.EndNs,
			PreviousChain: w.PreviousChain,
			Chain:         w.Chain,
			Ledger:        w.Ledger,
			Rows:          rows,
		}}}
	}
	return parts(w.Rows, part)
}

// snapshotParts does the same for a snapshot.
func snapshotParts(s *netmonpb.Snapshot) iter.Seq[*netmonpb.ExportRequest] {
	part := func(rows []*netmonpb.Row) *netmonpb.ExportRequest {
		return &netmonpb.ExportRequest{Item: &netmonpb.ExportRequest_Snapshot{Snapshot: &netmonpb.Snapshot{
			LogId:     s.LogId,
			Sequence:  s.Sequence,
			SensorId:  s.SensorId,
			EndNs:     s.EndNs,
			Chain:     s.Chain,
			Ledger:    s.Ledger,
			CreatedNs: s.CreatedNs,
			Rows:      rows,
		}}}
	}
	return parts(s.Rows, part)
}

// parts yields the messages that part makes of stretches of rows, at least one.
func parts(rows []*netmonpb.Row, part func([]*netmonpb.Row) *netmonpb.ExportRequest) iter.Seq[*netmonpb.ExportRequest] {
	return func(yield func(*netmonpb.ExportRequest) bool) {
		// Lengths in front of the head, and the flag more.
		room := maxPart - proto.Size(part(nil)) - 16
		first, size := 0, 0
		for i, row := range rows {
			need := proto.Size(row) + rowOverhead
			if size+need > room && i > first {
				message := part(rows[first:i])
				message.More = true
				if !yield(message) {
					return
				}
				first, size = i, 0
			}
			size += need
		}
		yield(part(rows[first:]))
	}
}
