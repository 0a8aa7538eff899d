package server

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// appendLabels renders the labels of the series in group g that shows rows of k.
func appendLabels(b []byte, host string, g groupID, k *netmonpb.Key) []byte {
	b = appendLabel(append(b, '{'), "host", host)
	b = appendLabel(append(b, ','), "interface", k.Interface)
	label := func(name, value string) { b = appendLabel(append(b, ','), name, value) }
	switch g {
	case byDomain:
		label("domain", k.Domain)
		label("direction", rows.DirectionName(k.Direction))
	case bySource:
		label("source", rows.SourceName(k.NameSource))
	case byReason:
		label("reason", reasonName(k.Detail))
	case byAddress:
		label("ip", remoteName(k))
	case byProtocol:
		label("protocol", sumOr(k, rows.ProtocolName(k.Protocol)))
	case byProtocolSide:
		label("protocol", sumOr(k, rows.ProtocolName(k.Protocol)))
		label("direction", rows.DirectionName(k.Direction))
	case byDirection:
		label("direction", rows.DirectionName(k.Direction))
	case byApplication:
		label("protocol", sumOr(k, applicationName(k)))
	case byQuestion:
		label("type", sumOr(k, dnsTypeName(k.DnsType)))
		label("rcode", sumOr(k, rcodeName(k.DnsRcode)))
	case byRcode:
		label("rcode", sumOr(k, rcodeName(k.DnsRcode)))
	case byResolver:
		label("resolver", remoteName(k))
		label("rcode", sumOr(k, rcodeName(k.DnsRcode)))
	case byIdentity:
		ip, mac := identity(k)
		label("ip_address", ip)
		label("mac_address", mac)
	case byState: // the detail is PROTOCOL/STATE
		protocol, state, _ := strings.Cut(k.Detail, "/")
		label("protocol", protocol)
		label("state", state)
	case byItem:
		label("shard", strconv.FormatUint(uint64(k.Shard), 10))
		label("detail", k.Detail)
	}
	return append(b, '}')
}

// sumOr is the name of a row of sums, which stands in the field domain in
// every view, or else the name given.
func sumOr(k *netmonpb.Key, name string) string {
	if k.Domain != "" {
		return k.Domain
	}
	return name
}

func remoteName(k *netmonpb.Key) string {
	if a, ok := netip.AddrFromSlice(k.Address); ok && k.Domain == "" {
		return a.String()
	}
	return sumOr(k, "")
}

func applicationName(k *netmonpb.Key) string {
	if k.Application != "" {
		return k.Application
	}
	return rows.ProtocolName(k.Protocol)
}

// identity finds the addresses of an interface: the IP address in the key, or
// both in the detail with a space between them.
func identity(k *netmonpb.Key) (ip, mac string) {
	if a, ok := netip.AddrFromSlice(k.Address); ok {
		ip = a.String()
	}
	for word := range strings.FieldsSeq(k.Detail) {
		if hw, err := net.ParseMAC(word); err == nil {
			mac = hw.String()
		} else if a, err := netip.ParseAddr(word); err == nil {
			ip = a.String()
		}
	}
	return ip, mac
}

// appendLabel escapes as both exposition formats want it.
func appendLabel(b []byte, name, value string) []byte {
	b = append(append(b, name...), '=', '"')
	for i := range len(value) {
		switch c := value[i]; c {
		case '\\', '"':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// eachLabel reads rendered labels back, in their order.
func eachLabel(labels string, f func(name, value string)) {
	for rest := labels[1 : len(labels)-1]; rest != ""; {
		name, quoted, _ := strings.Cut(rest, `="`)
		end, escaped := 0, false
		for end < len(quoted) && quoted[end] != '"' {
			if quoted[end] == '\\' {
				end, escaped = end+1, true
			}
			end++
		}
		value := quoted[:min(end, len(quoted))]
		if escaped {
			value = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(value)
		}
		f(name, value)
		rest = strings.TrimPrefix(quoted[min(end+1, len(quoted)):], ",")
	}
}
