package sensor

import "github.com/netmon-sensor/netmon/sensor/internal/packet"

// ordinary is the length up to which an IP packet is taken for one on the wire
// without a look: what Ethernet carries.
const ordinary = 1500

// extra estimates how many packets on the wire there are in a long one beyond
// itself.
func (s *shard) extra(h *packet.Header, iface uint16, slot uint32) uint64 {
	mtu := ordinary
	if s.mtu != nil {
		if m := s.mtu(iface); m > 0 {
			mtu = m
		}
	}
	return uint64(h.WirePackets(s.flows.MSS(slot), uint32(mtu)) - 1)
}
