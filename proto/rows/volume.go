package rows

import "github.com/netmon-sensor/netmon/proto/netmonpb"

// Volume is the traffic of something, as lists in the APIs of sensor and server
// show it. Bytes is what was sent and received.
type Volume struct {
	BytesSent       uint64 `json:"bytes_sent"`
	BytesReceived   uint64 `json:"bytes_received"`
	Bytes           uint64 `json:"bytes"`
	PacketsSent     uint64 `json:"packets_sent"`
	PacketsReceived uint64 `json:"packets_received"`
	Connections     uint64 `json:"connections"`
	Accesses        uint64 `json:"accesses"`
}

// VolumeOf is what the counters of a row say of traffic.
func VolumeOf(c *netmonpb.Counters) Volume {
	return Volume{
		BytesSent: c.GetBytesSent(), BytesReceived: c.GetBytesReceived(), Bytes: c.GetBytesSent() + c.GetBytesReceived(),
		PacketsSent: c.GetPacketsSent(), PacketsReceived: c.GetPacketsReceived(),
		Connections: c.GetConnections(), Accesses: c.GetAccesses(),
	}
}

// Add sums o into v.
func (v *Volume) Add(o *Volume) {
	v.BytesSent += o.BytesSent
	v.BytesReceived += o.BytesReceived
	v.Bytes += o.Bytes
	v.PacketsSent += o.PacketsSent
	v.PacketsReceived += o.PacketsReceived
	v.Connections += o.Connections
	v.Accesses += o.Accesses
}

// VolumeOrders are what lists may be sorted by, under the names that requests use.
func VolumeOrders() map[string]func(*Volume) uint64 {
	return map[string]func(*Volume) uint64{
		"bytes":          func(v *Volume) uint64 { return v.Bytes },
		"bytes_sent":     func(v *Volume) uint64 { return v.BytesSent },
		"bytes_received": func(v *Volume) uint64 { return v.BytesReceived },
		"connections":    func(v *Volume) uint64 { return v.Connections },
		"accesses":       func(v *Volume) uint64 { return v.Accesses },
	}
}
