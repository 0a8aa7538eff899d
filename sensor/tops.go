package sensor

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// ranked is a volume with the name of what it is of, in the field for its kind.
type ranked struct {
	Domain   string `json:"domain,omitempty"`
	Address  string `json:"address,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	rows.Volume
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
			return ranked{Protocol: rows.ProtocolName(k.Protocol)}
		}},
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
		if err != nil {
			break
		}
	}
	order := rows.VolumeOrders()[sort]
	if err != nil || limit < 1 || limit > 10_000 || order == nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{
			"code": "INVALID_REQUEST", "message": "limit is 1 to 10000, sort is one of bytes, bytes_sent, bytes_received, connections, accesses",
		}})
		return
	}
	all := map[string]*ranked{}
	var sum rows.Volume
	snapshot := s.log.Snapshot()
	// Rates want to know what the totals are through, and who asks often what is new.
	end := strconv.FormatUint(snapshot.GetEndNs(), 10)
	w.Header().Set("Netmon-Window-End", end)
	tag := `"` + hex.EncodeToString(snapshot.GetLogId()) + "-" + end + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	for _, row := range snapshot.GetRows() {
		if row.Key.View != group.view || row.Counters == nil {
			continue
		}
		one, volume := group.name(row.Key), rows.VolumeOf(row.Counters)
		found := all[one.name()]
		if found == nil {
			found = &one
			all[one.name()] = found
		}
		found.Add(&volume)
		sum.Add(&volume)
	}
	out := make([]*ranked, 0, len(all))
	for _, one := range all {
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b *ranked) int {
		return cmp.Or(cmp.Compare(order(&b.Volume), order(&a.Volume)), strings.Compare(a.name(), b.name()))
	})
	total := len(out)
	out = out[:min(limit, total)]
	_ = json.NewEncoder(w).Encode(map[string]any{list: out, "count": len(out), "total": total, "sort": sort, "sum": sum})
}
