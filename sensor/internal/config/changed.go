package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/netmon-sensor/netmon/plugins"
)

// part is a block that may be given once.
type part struct {
	name string
	into any
	text string // what it is for, one line
}

func (c *Config) parts() []part {
	return []part{
		{"sensor", &c.Sensor, "Who the sensor is, how often it speaks, and where it keeps what it has to say."},
		{"capture", &c.Capture, "Where packets come from, and what they may cost."},
		{"filter", &c.Filter, "What is left out. Bytes of domains that are left out stay in the totals, as (excluded)."},
		{"views", &c.Views, "How many rows are kept of domains, addresses, protocols and resolvers, each."},
		{"plugins", &c.Plugins, "Where exporters are, and who they run as."},
		{"log", &c.Log, "What the sensor says of itself. Exporters write there, too."},
		{"status", &c.Status, "The sensor's own listener: metrics, probes and pages about itself."},
	}
}

// reloadable are the options that a sensor takes into use while it runs; a block's
// name alone stands for all of it. Exporter blocks are compared by who runs them.
func reloadable(block, option string) bool {
	switch block + " " + option {
	case "capture interfaces", "capture snap", "capture home_networks", "log level":
		return true
	}
	return block == "filter"
}

// Changed names the options of next that differ from c, as "block option". The error
// is an *Error that shows those that cannot change while the sensor runs.
func (c *Config) Changed(next *Config) (changed []string, err error) {
	var diags hcl.Diagnostics
	before := c.parts()
	for i, p := range next.parts() {
		was, err := plugins.Schema(before[i].into)
		if err != nil {
			return nil, err
		}
		is, err := plugins.Schema(p.into)
		if err != nil {
			return nil, err
		}
		for j, a := range is.Attributes {
			switch before := was.Attributes[j].DefaultJson; {
			case a.DefaultJson == before:
			case reloadable(p.name, a.Name):
				changed = append(changed, p.name+" "+a.Name)
			default:
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError, Summary: "Needs a restart", Subject: next.place(p.name, a.Name),
					Detail: fmt.Sprintf("%s { %s } was %s when the sensor was started and cannot change while it runs.", p.name, a.Name, before),
				})
			}
		}
	}
	if diags.HasErrors() {
		return nil, &Error{diags, next.files}
	}
	return changed, nil
}

// place finds an option in the file, or its block; nil where neither is there.
func (c *Config) place(block, option string) (at *hcl.Range) {
	for _, body := range c.bodies {
		for _, b := range body.Blocks {
			if b.Type != block {
				continue
			}
			r := b.DefRange()
			if a := b.Body.Attributes[option]; a != nil {
				r = a.Expr.Range()
			}
			at = &r
		}
	}
	return at
}
