package config

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// masked stands for the value of a sensitive option.
const masked = "***"

// Evaluated is the plugin's part of an exporter's block, as Exporter.Evaluate returns
// it, and the schema that it follows.
type Evaluated struct {
	Schema *netmonpb.Block
	JSON   []byte
}

// Print returns c as a file, with defaults filled in and expressions evaluated.
// Values of sensitive options are masked; but for these the file means the same. Of
// an exporter that is not among evaluated, by label, only the options that all have
// are shown.
func (c *Config) Print(evaluated map[string]Evaluated) ([]byte, error) {
	file := hclwrite.NewEmptyFile()
	for _, p := range c.parts() {
		schema, body, err := effective(p.into)
		if err == nil {
			err = writeBlock(section(file, p.name), schema, body, "")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for _, e := range c.Exporters {
		labels := []string{e.Type}
		if e.Name != "" {
			labels = append(labels, e.Name)
		}
		out := section(file, "exporter", labels...)
		schema, body, err := effective(&hostOptions{e.Enabled, e.Command, e.Checksum, e.Env})
		if err == nil {
			err = writeBlock(out, schema, body, "")
		}
		if own, ok := evaluated[e.Label()]; ok && err == nil {
			var body map[string]json.RawMessage
			if err = json.Unmarshal(own.JSON, &body); err == nil {
				out.AppendNewline()
				err = writeBlock(out, own.Schema, body, "")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("exporter %s: %w", e.Label(), err)
		}
	}
	return hclwrite.Format(file.Bytes()), nil
}

func section(file *hclwrite.File, name string, labels ...string) *hclwrite.Body {
	if len(file.Body().Blocks()) > 0 {
		file.Body().AppendNewline()
	}
	return file.Body().AppendNewBlock(name, labels).Body()
}

// effective is a struct's schema, and its values, which are the defaults of that.
func effective(from any) (*netmonpb.Block, map[string]json.RawMessage, error) {
	schema, err := plugins.Schema(from)
	if err != nil {
		return nil, nil, err
	}
	body := map[string]json.RawMessage{}
	for _, a := range schema.Attributes {
		body[a.Name] = json.RawMessage(a.DefaultJson)
	}
	return schema, body, nil
}

// writeBlock writes values in the order of the schema. label names the one that the
// block's header has.
func writeBlock(out *hclwrite.Body, schema *netmonpb.Block, body map[string]json.RawMessage, label string) error {
	for _, a := range schema.GetAttributes() {
		text := body[a.Name]
		if a.Name == label || len(text) == 0 || string(text) == "null" {
			continue
		}
		kind, err := ctyjson.ImpliedType(text)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		value, err := ctyjson.Unmarshal(text, kind)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		if a.Sensitive {
			value = mask(value)
		}
		out.SetAttributeValue(a.Name, value)
	}
	for _, nested := range schema.GetBlocks() {
		text := body[nested.Type]
		if len(text) == 0 {
			continue
		}
		var blocks []map[string]json.RawMessage
		if !nested.Repeated {
			text = append(append([]byte{'['}, text...), ']')
		}
		if err := json.Unmarshal(text, &blocks); err != nil {
			return fmt.Errorf("%s: %w", nested.Type, err)
		}
		for _, block := range blocks {
			var labels []string
			if nested.Label != "" {
				labels = make([]string, 1)
				if err := json.Unmarshal(block[nested.Label], &labels[0]); err != nil {
					return fmt.Errorf("%s: %w", nested.Type, err)
				}
			}
			if err := writeBlock(out.AppendNewBlock(nested.Type, labels).Body(), nested.Block, block, nested.Label); err != nil {
				return fmt.Errorf("%s: %w", nested.Type, err)
			}
		}
	}
	return nil
}

// mask replaces all that is in a value, but for emptiness.
func mask(v cty.Value) cty.Value {
	switch {
	case v.Type() == cty.String && v.AsString() == "", v.Type().IsObjectType() && v.LengthInt() == 0, v.Type().IsTupleType() && v.LengthInt() == 0:
		return v
	case v.Type().IsObjectType():
		hidden := map[string]cty.Value{}
		for name := range v.Type().AttributeTypes() {
			hidden[name] = cty.StringVal(masked)
		}
		return cty.ObjectVal(hidden)
	case v.Type().IsTupleType():
		return cty.TupleVal([]cty.Value{cty.StringVal(masked)})
	}
	return cty.StringVal(masked)
}
