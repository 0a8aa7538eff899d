package rows

import (
	"strconv"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// DirectionName is how labels, pages and APIs call a direction.
func DirectionName(d netmonpb.Direction) string {
	switch d {
	case netmonpb.Direction_DIRECTION_OUTBOUND:
		return "outbound"
	case netmonpb.Direction_DIRECTION_INBOUND:
		return "inbound"
	case netmonpb.Direction_DIRECTION_INTERNAL:
		return "internal"
	case netmonpb.Direction_DIRECTION_TRANSIT:
		return "transit"
	}
	return "unknown"
}

// SourceName is how they call the source of a name.
func SourceName(s netmonpb.NameSource) string {
	switch s {
	case netmonpb.NameSource_NAME_SOURCE_SNI:
		return "sni"
	case netmonpb.NameSource_NAME_SOURCE_HTTP_HOST:
		return "http_host"
	case netmonpb.NameSource_NAME_SOURCE_QUIC_SNI:
		return "quic_sni"
	case netmonpb.NameSource_NAME_SOURCE_DNS_CLIENT:
		return "dns_client"
	case netmonpb.NameSource_NAME_SOURCE_DNS_ANY:
		return "dns_any"
	}
	return "none"
}

// ProtocolName is the usual short name of an IANA protocol number, else the
// number.
func ProtocolName(number uint32) string {
	switch number {
	case 0:
		return "hopopt"
	case 1:
		return "icmp"
	case 2:
		return "igmp"
	case 4:
		return "ipip"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 33:
		return "dccp"
	case 41:
		return "ipv6"
	case 47:
		return "gre"
	case 50:
		return "esp"
	case 51:
		return "ah"
	case 58:
		return "icmpv6"
	case 59:
		return "ipv6-nonxt"
	case 60:
		return "ipv6-opts"
	case 88:
		return "eigrp"
	case 89:
		return "ospf"
	case 94:
		return "ipip94"
	case 97:
		return "etherip"
	case 103:
		return "pim"
	case 112:
		return "vrrp"
	case 115:
		return "l2tp"
	case 132:
		return "sctp"
	case 136:
		return "udplite"
	}
	return strconv.FormatUint(uint64(number), 10)
}
