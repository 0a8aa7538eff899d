package plugins

import (
	"errors"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// diagnosticsOf turns an error of an exporter into what the host can show at its
// place. An error that is no *Problem concerns the whole block.
func diagnosticsOf(err error) []*netmonpb.Diagnostic {
	if err == nil {
		return nil
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*netmonpb.Diagnostic
		for _, one := range several.Unwrap() {
			all = append(all, diagnosticsOf(one)...)
		}
		return all
	}
	d := &netmonpb.Diagnostic{Severity: netmonpb.Severity_SEVERITY_ERROR, Summary: err.Error()}
	var p *Problem
	if errors.As(err, &p) {
		d.Path = p.Path
		if p.Warning {
			d.Severity = netmonpb.Severity_SEVERITY_WARNING
		}
		if err == error(p) {
			d.Summary, d.Detail = p.Summary, p.Detail
		}
	}
	return []*netmonpb.Diagnostic{d}
}

// refused says whether ds holds more than warnings.
func refused(ds []*netmonpb.Diagnostic) bool {
	for _, d := range ds {
		if d.Severity != netmonpb.Severity_SEVERITY_WARNING {
			return true
		}
	}
	return false
}
