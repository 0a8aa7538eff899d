package server

import (
	"slices"
	"strconv"

	"github.com/netmon-sensor/netmon/proto/rows"
)

// The values of labels. They are part of what users see; none is made of
// anything that came over a network but application names, which are checked.

// reasonName is why traffic has no name, as the sensor says. A reason that is not
// known here is "unknown", so that no sensor can make many series.
func reasonName(detail string) string {
	if slices.Contains(rows.Reasons(), detail) {
		return detail
	}
	return "unknown"
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
