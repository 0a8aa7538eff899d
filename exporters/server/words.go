package server

import (
	"slices"
	"strconv"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// The values of labels. They are part of what users see; none is made of
// anything that came over a network but application names, which are checked.

func directionName(d netmonpb.Direction) string {
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

func sourceName(s netmonpb.NameSource) string {
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

// reasonName is why traffic has no name, as the sensor says. A reason that is not
// known here is "unknown", so that no sensor can make many series.
func reasonName(detail string) string {
	if slices.Contains(rows.Reasons(), detail) {
		return detail
	}
	return "unknown"
}

// protocolName is the usual short name of an IANA protocol number, else the
// number.
func protocolName(number uint32) string {
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

// dnsTypeName is the mnemonic of a DNS type (IANA), else TYPE and the number as
// RFC 3597 section 5 writes it.
func dnsTypeName(t uint32) string {
	switch t {
	case 1:
		return "A"
	case 2:
		return "NS"
	case 5:
		return "CNAME"
	case 6:
		return "SOA"
	case 12:
		return "PTR"
	case 13:
		return "HINFO"
	case 15:
		return "MX"
	case 16:
		return "TXT"
	case 28:
		return "AAAA"
	case 33:
		return "SRV"
	case 35:
		return "NAPTR"
	case 43:
		return "DS"
	case 46:
		return "RRSIG"
	case 47:
		return "NSEC"
	case 48:
		return "DNSKEY"
	case 52:
		return "TLSA"
	case 64:
		return "SVCB"
	case 65:
		return "HTTPS"
	case 251:
		return "IXFR"
	case 252:
		return "AXFR"
	case 255:
		return "ANY"
	case 257:
		return "CAA"
	}
	return "TYPE" + strconv.FormatUint(uint64(t), 10)
}

// unanswered stands in the place of a response code where none came.
const unanswered = 4096

// rcodeName is the name of a DNS response code (IANA), in lower case.
func rcodeName(r uint32) string {
	switch r {
	case 0:
		return "noerror"
	case 1:
		return "formerr"
	case 2:
		return "servfail"
	case 3:
		return "nxdomain"
	case 4:
		return "notimp"
	case 5:
		return "refused"
	case 6:
		return "yxdomain"
	case 7:
		return "yxrrset"
	case 8:
		return "nxrrset"
	case 9:
		return "notauth"
	case 10:
		return "notzone"
	case unanswered:
		return "unanswered"
	}
	return strconv.FormatUint(uint64(r), 10)
}
