package plugins

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Defaulter is a block that fills in its own defaults. It is needed where there
// is no value to read them from: behind a nil pointer and in a slice of blocks.
type Defaulter interface{ SetDefaults() }

// Schema describes the options of config, a pointer to a struct that holds the
// defaults, from the tags of its fields:
//
//	Listen []string `netmon:"listen,format=listen_address" doc:"Addresses to listen on."`
//
// The tag begins with the option's name; fields without one are left out, the
// fields of an embedded struct count as the struct's own. After the name:
//
//	required           must be given; an empty string is refused
//	sensitive          never printed
//	enum=a|b|c         the values allowed
//	min=1, max=64      bounds; for durations and sizes written as such: min=100ms, max=1GiB
//	format=url         duration, bytes, listen_address, url, path or cidr
//	label              the string field that receives the label of its block
//
// In lists and maps enum, min, max and format speak of each element.
//
// An option is a string, a bool, a number, a time.Duration ("5s"), a Bytes
// ("64MiB"), a netip.Prefix (a bare address is the prefix of that one address), any
// other encoding.TextUnmarshaler (a string), or a slice or a map[string] of these.
// The formats of the first three are understood. A struct or a pointer to one is a
// block that may be given once, a slice of structs a block that may be repeated.
//
// A label is among its block's attributes too, for its enum and description.
// Minimum and maximum of a duration are in seconds, of a size in bytes. An empty
// string stands for "off" and is let through unchecked, but where the option is
// required, or has a default and is a choice, a duration or a size.
//
// The error is a mistake in the program: a test of the exporter should call Schema.
func Schema(config any) (*netmonpb.Block, error) {
	v := reflect.ValueOf(config)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("schema of %T: want a pointer to a struct", config)
	}
	block, label, err := schemaOf(v.Elem(), 0)
	if err == nil && label != "" {
		err = fmt.Errorf("label %q: only a nested block has a label", label)
	}
	if err != nil {
		return nil, fmt.Errorf("schema of %T: %w", config, err)
	}
	return block, nil
}

// maxNesting ends the recursion of a struct that contains itself.
const maxNesting = 8

func schemaOf(v reflect.Value, depth int) (block *netmonpb.Block, label string, err error) {
	if depth > maxNesting {
		return nil, "", fmt.Errorf("blocks are nested deeper than %d", maxNesting)
	}
	fields, err := fieldsOf(v.Type())
	if err != nil {
		return nil, "", err
	}
	block = &netmonpb.Block{}
	for _, f := range fields {
		switch {
		case f.block:
			err = f.addBlock(block, v.FieldByIndex(f.index), depth)
		case f.label && label != "":
			err = fmt.Errorf("a block has one label, and %q has it", label)
		default:
			if f.label {
				label = f.name
			}
			err = f.addAttribute(block, v.FieldByIndex(f.index))
		}
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return block, label, nil
}

// field is a tagged field of a struct.
type field struct {
	name   string
	doc    string
	index  []int
	block  bool // a struct, a pointer to one or a slice of them
	label  bool
	schema *netmonpb.Attribute // nil for blocks
	must   bool
}

var optionName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func fieldsOf(t reflect.Type) ([]field, error) {
	var fields []field
	seen := map[string]bool{}
	for _, sf := range reflect.VisibleFields(t) {
		tag, tagged := sf.Tag.Lookup("netmon")
		if !tagged {
			continue
		}
		if !sf.IsExported() || throughPointer(t, sf.Index) {
			return nil, fmt.Errorf("field %s: not settable", sf.Name)
		}
		f, err := newField(sf, tag)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", sf.Name, err)
		}
		if seen[f.name] {
			return nil, fmt.Errorf("field %s: %q is there twice", sf.Name, f.name)
		}
		seen[f.name] = true
		fields = append(fields, f)
	}
	return fields, nil
}

// throughPointer says whether the way to the field leads through an embedded pointer.
func throughPointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		if t = t.Field(i).Type; t.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}

func newField(sf reflect.StructField, tag string) (field, error) {
	name, rest, _ := strings.Cut(tag, ",")
	f := field{name: name, doc: sf.Tag.Get("doc"), index: sf.Index}
	if !optionName.MatchString(name) {
		return f, fmt.Errorf("%q is no option name", name)
	}
	if blockElem(sf.Type) != nil {
		f.block = true
	} else {
		typ, format, err := attributeType(sf.Type)
		if err != nil {
			return f, err
		}
		f.schema = &netmonpb.Attribute{Name: name, Type: typ, Format: format, Description: f.doc}
	}
	for option := range strings.SplitSeq(rest, ",") {
		if option == "" {
			continue
		}
		if err := f.setOption(option); err != nil {
			return f, fmt.Errorf("tag %q: %w", option, err)
		}
	}
	if f.label && sf.Type.Kind() != reflect.String {
		return f, fmt.Errorf("a label is a string, not %s", sf.Type)
	}
	return f, f.setBounds(rest)
}

func (f *field) setOption(option string) error {
	key, value, _ := strings.Cut(option, "=")
	if key == "required" {
		f.must = true
		return nil
	}
	if f.block {
		return fmt.Errorf("does not fit a block")
	}
	switch key {
	case "sensitive":
		f.schema.Sensitive = true
	case "label":
		f.label = true
	case "enum":
		f.schema.EnumValues = strings.Split(value, "|")
	case "format":
		n, ok := netmonpb.Format_value["FORMAT_"+strings.ToUpper(value)]
		if !ok {
			return fmt.Errorf("unknown format")
		}
		f.schema.Format = netmonpb.Format(n)
	case "min", "max": // setBounds, once the format is known
	default:
		return fmt.Errorf("unknown option")
	}
	return nil
}

func (f *field) setBounds(options string) error {
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		if key != "min" && key != "max" {
			continue
		}
		bound, err := parseBound(f.schema.GetFormat(), value)
		if err != nil {
			return fmt.Errorf("tag %q: %w", option, err)
		}
		if key == "min" {
			f.schema.Minimum = &bound
		} else {
			f.schema.Maximum = &bound
		}
	}
	return nil
}

func parseBound(format netmonpb.Format, text string) (float64, error) {
	switch format {
	case netmonpb.Format_FORMAT_DURATION:
		d, err := time.ParseDuration(text)
		return d.Seconds(), err
	case netmonpb.Format_FORMAT_BYTES:
		b, err := ParseBytes(text)
		return float64(b), err
	}
	return strconv.ParseFloat(text, 64)
}

func (f *field) addAttribute(block *netmonpb.Block, v reflect.Value) error {
	a := f.schema
	a.Required = f.must || f.label
	if !a.Required {
		value, err := plainValue(v)
		if err != nil {
			return fmt.Errorf("default: %w", err)
		}
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("default: %w", err)
		}
		a.DefaultJson = string(text)
		if m := checkDefault(a, value); m != nil {
			return fmt.Errorf("default %s: %s: %s", text, m.summary, m.detail)
		}
	}
	block.Attributes = append(block.Attributes, a)
	return nil
}

func (f *field) addBlock(block *netmonpb.Block, v reflect.Value, depth int) error {
	value := newBlock(v.Type())
	switch {
	case v.Kind() == reflect.Struct:
		value = v
	case v.Kind() == reflect.Pointer && !v.IsNil():
		value = v.Elem()
	}
	inner, label, err := schemaOf(value, depth+1)
	if err != nil {
		return err
	}
	inner.Description = f.doc
	block.Blocks = append(block.Blocks, &netmonpb.NestedBlock{
		Type: f.name, Block: inner, Label: label, Required: f.must, Repeated: v.Kind() == reflect.Slice,
	})
	return nil
}

// labelOf finds the attribute of a block that its label stands for.
func labelOf(nested *netmonpb.NestedBlock) *netmonpb.Attribute {
	i := slices.IndexFunc(nested.GetBlock().GetAttributes(), func(a *netmonpb.Attribute) bool {
		return a.GetName() == nested.GetLabel()
	})
	if i < 0 {
		return &netmonpb.Attribute{Name: nested.GetLabel(), Type: `"string"`}
	}
	return nested.Block.Attributes[i]
}
