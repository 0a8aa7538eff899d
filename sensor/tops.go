package sensor

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// volume is the traffic of something, as the server's API shows it.
type volume struct {
	BytesSent       uint64 `json:"bytes_sent"`
	BytesReceived   uint64 `json:"bytes_received"`
	Bytes           uint64 `json:"bytes"`
	PacketsSent     uint64 `json:"packets_sent"`
	PacketsReceived uint64 `json:"packets_received"`
	Connections     uint64 `json:"connections"`
	Accesses        uint64 `json:"accesses"`
}

func (v *volume) add(c *netmonpb.Counters) {
	v.BytesSent += c.BytesSent
	v.BytesReceived += c.BytesReceived
	v.Bytes += c.BytesSent + c.BytesReceived
	v.PacketsSent += c.PacketsSent
	v.PacketsReceived += c.PacketsReceived
	v.Connections += c.Connections
	v.Accesses += c.Accesses
}

type ranked struct {
	Domain   string `json:"domain,omitempty"`
	Address  string `json:"address,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	volume
}

func (r *ranked) name() string { return r.Domain + r.Address + r.Protocol }

// topGroup is a view and what its rows are called in a list.
type topGroup struct {
	view netmonpb.View
	name func(*netmonpb.Key) ranked
}

func tops() map[string]topGroup {
	return map[string]topGroup{
		"domains": {netmonpb.View_VIEW_DOMAINS, func(k *netmonpb.Key) ranked { return ranked{Domain: k.Domain} }},
		"addresses": {netmonpb.View_VIEW_ADDRESSES, func(k *netmonpb.Key) ranked {
			if a, ok := netip.AddrFromSlice(k.Address); ok {
				return ranked{Address: a.Unmap().String()}
			}
			return ranked{Address: k.Domain} // (other), (retired)
		}},
		"protocols": {netmonpb.View_VIEW_PROTOCOLS, func(k *netmonpb.Key) ranked {
			switch {
			case k.Application != "":
				return ranked{Protocol: k.Application}
			case k.Domain != "":
				return ranked{Protocol: k.Domain}
			}
			return ranked{Protocol: protocolName(uint8(k.Protocol))}
		}},
	}
}

// orders are what lists are sorted by.
func orders() map[string]func(*volume) uint64 {
	return map[string]func(*volume) uint64{
		"bytes":          func(v *volume) uint64 { return v.Bytes },
		"bytes_sent":     func(v *volume) uint64 { return v.BytesSent },
		"bytes_received": func(v *volume) uint64 { return v.BytesReceived },
		"connections":    func(v *volume) uint64 { return v.Connections },
		"accesses":       func(v *volume) uint64 { return v.Accesses },
	}
}

// serveTop answers from the running totals of the log, in the shape of the server's
// API: limit, 1 to 10000, and sort may be asked for.
func (s *status) serveTop(w http.ResponseWriter, r *http.Request, list string, group topGroup) {
	secure(w, "application/json")
	limit, sort := 50, "bytes"
	var err error
	for name, values := range r.URL.Query() {
		switch value := values[0]; name {
		case "limit":
			limit, err = strconv.Atoi(value)
		case "sort":
			sort = value
		default:
			err = strconv.ErrSyntax
		}
	}
	order := orders()[sort]
	if err != nil || limit < 1 || limit > 10_000 || order == nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{
			"code": "INVALID_REQUEST", "message": "limit is 1 to 10000, sort is one of bytes, bytes_sent, bytes_received, connections, accesses",
		}})
		return
	}
	all := map[string]*ranked{}
	var sum volume
	for _, row := range s.log.Snapshot().GetRows() {
		if row.Key.View != group.view || row.Counters == nil {
			continue
		}
		one := group.name(row.Key)
		if found := all[one.name()]; found != nil {
			found.add(row.Counters)
		} else {
			one.add(row.Counters)
			all[one.name()] = &one
		}
		sum.add(row.Counters)
	}
	out := make([]*ranked, 0, len(all))
	for _, one := range all {
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b *ranked) int {
		return cmp.Or(cmp.Compare(order(&b.volume), order(&a.volume)), strings.Compare(a.name(), b.name()))
	})
	total := len(out)
	out = out[:min(limit, total)]
	_ = json.NewEncoder(w).Encode(map[string]any{list: out, "count": len(out), "total": total, "sort": sort, "sum": sum})
}
