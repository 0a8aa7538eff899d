package sensor

import (
	"strconv"

	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// protocolName is the usual short name of an IANA protocol number, else the
// number.
func protocolName(number uint8) string {
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
	return strconv.Itoa(int(number))
}

func sourceName(s names.Source) string {
	switch s {
	case names.SNI:
		return "sni"
	case names.HTTPHost:
		return "http_host"
	case names.QUICSNI:
		return "quic_sni"
	case names.DNSClient:
		return "dns_client"
	case names.DNSAny:
		return "dns_any"
	}
	return "none"
}

// application is the protocol that a flow's first bytes show, else the one that
// its ports suggest.
func application(r *flow.Record) names.Application {
	if a := names.Application(r.Application); a != names.AppUnknown {
		return a
	}
	return names.ByPorts(r.Protocol, r.InitiatorPort, r.ResponderPort)
}

// nameFilter is the config's only_domains and ignore_domains. What they exclude
// keeps its bytes in a row of its own, so that totals still agree.
type nameFilter struct {
	only, ignore *names.Patterns // nil: no such filter
}

func (f nameFilter) apply(domain string) string {
	if f.only != nil && !f.only.Match(domain) || f.ignore != nil && f.ignore.Match(domain) {
		return view.Excluded
	}
	return domain
}

// newNameFilter returns the filter of patterns that the config has checked.
func newNameFilter(only, ignore []string) (nameFilter, error) {
	var f nameFilter
	var err error
	if len(only) > 0 {
		if f.only, err = names.NewPatterns(only); err != nil {
			return f, err
		}
	}
	if len(ignore) > 0 {
		f.ignore, err = names.NewPatterns(ignore)
	}
	return f, err
}
