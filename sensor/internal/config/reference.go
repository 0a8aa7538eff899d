package config

import (
	"fmt"

	"github.com/netmon-sensor/netmon/plugins"
)

// Sections are the blocks of netmon.hcl in words, in its order; that of an exporter
// has the options that all of them have.
func Sections() ([]plugins.Section, error) {
	var sections []plugins.Section
	add := func(head, text string, options any) error {
		schema, err := plugins.Schema(options)
		if err != nil {
			return fmt.Errorf("%s: %w", head, err)
		}
		schema.Description = text
		sections = append(sections, plugins.Explain(head, schema))
		return nil
	}
	c := Default()
	for _, p := range c.parts() {
		if p.name == "log" {
			if err := add(`exporter "TYPE" "NAME"`, "A program netmon-exporter-TYPE that is sent the windows. The name tells several of a type apart. In each of them:",
				&hostOptions{Enabled: true}); err != nil {
				return nil, err
			}
		}
		if err := add(p.name, p.text, p.into); err != nil {
			return nil, err
		}
	}
	sections[0].Options[0].Default = "hostname()" // id: what it is here says nothing
	return sections, nil
}
