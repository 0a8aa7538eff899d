package sensor

import (
	"net/netip"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// sides tells which ends of a flow are ours. It is asked once per flow.
type sides struct {
	home  []netip.Prefix
	local func() localAddresses // the interfaces' addresses at this moment; nil in replay
}

type localAddresses interface{ Contains([16]byte) bool }

// of decides by the flow's first packet: the addresses of this host's
// interfaces, then home_networks. What only multicast or broadcast, or
// a source without an address, can tell comes from the kernel's packet type.
func (s *sides) of(h *packet.Header, t capture.Type, fromInitiator bool) flow.Side {
	src, dst := s.ours(h.Src), s.ours(h.Dst)
	if !src && !dst {
		switch t {
		case capture.TypeBroadcast, capture.TypeMulticast:
			dst = true
		case capture.TypeOutgoing:
			src = unspecified(h.Src)
		}
	}
	if !fromInitiator {
		src, dst = dst, src
	}
	switch {
	case src && dst:
		return flow.Internal
	case src:
		return flow.Outbound
	case dst:
		return flow.Inbound
	case s.local == nil && len(s.home) == 0:
		return flow.Unknown
	}
	return flow.Transit
}

func (s *sides) ours(a [16]byte) bool {
	if s.local != nil && s.local().Contains(a) {
		return true
	}
	if len(s.home) == 0 {
		return false
	}
	ip := netip.AddrFrom16(a).Unmap()
	for _, p := range s.home {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

func unspecified(a [16]byte) bool {
	return netip.AddrFrom16(a).Unmap().IsUnspecified()
}
