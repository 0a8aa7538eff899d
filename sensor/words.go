package sensor

import (
	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// sourceName is how the source of a name is shown; the numbers are netmonpb's.
func sourceName(s names.Source) string { return rows.SourceName(netmonpb.NameSource(s)) }

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
