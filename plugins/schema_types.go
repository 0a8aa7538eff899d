package plugins

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

var (
	durationType    = reflect.TypeFor[time.Duration]()
	bytesType       = reflect.TypeFor[Bytes]()
	prefixType      = reflect.TypeFor[netip.Prefix]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// blockElem is the struct behind a field that is a block, or nil.
func blockElem(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(unmarshalerType) {
		return nil
	}
	return t
}

// attributeType is the cty type as JSON and the format that a Go type brings.
func attributeType(t reflect.Type) (string, netmonpb.Format, error) {
	if name, format := scalarType(t); name != "" {
		return strconv.Quote(name), format, nil
	}
	switch {
	case t.Kind() == reflect.Slice:
		if name, format := scalarType(t.Elem()); name != "" {
			return `["list",` + strconv.Quote(name) + `]`, format, nil
		}
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		if name, format := scalarType(t.Elem()); name != "" {
			return `["map",` + strconv.Quote(name) + `]`, format, nil
		}
	}
	return "", 0, fmt.Errorf("type %s is no option's type", t)
}

func scalarType(t reflect.Type) (string, netmonpb.Format) {
	switch {
	case t == durationType:
		return "string", netmonpb.Format_FORMAT_DURATION
	case t == bytesType:
		return "string", netmonpb.Format_FORMAT_BYTES
	case t == prefixType:
		return "string", netmonpb.Format_FORMAT_CIDR
	case reflect.PointerTo(t).Implements(unmarshalerType), t.Kind() == reflect.String:
		return "string", 0
	case t.Kind() == reflect.Bool:
		return "bool", 0
	case isNumber(t.Kind()):
		return "number", 0
	}
	return "", 0
}

func isNumber(k reflect.Kind) bool {
	return k >= reflect.Int && k <= reflect.Float64 && k != reflect.Uintptr
}

// newBlock is a fresh, settable struct for a block field of type t, with its
// defaults.
func newBlock(t reflect.Type) reflect.Value {
	p := reflect.New(blockElem(t))
	if d, ok := p.Interface().(Defaulter); ok {
		d.SetDefaults()
	}
	return p.Elem()
}

// plainValue is v as encoding/json should write it.
func plainValue(v reflect.Value) (any, error) {
	switch {
	case v.Type() == durationType:
		return formatDuration(time.Duration(v.Int())), nil
	case v.Type().Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		return string(text), err
	case v.Kind() == reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			var err error
			if list[i], err = plainValue(v.Index(i)); err != nil {
				return nil, err
			}
		}
		return list, nil
	case v.Kind() == reflect.Map:
		object := make(map[string]any, v.Len())
		for key, value := range v.Seq2() {
			plain, err := plainValue(value)
			if err != nil {
				return nil, err
			}
			object[key.String()] = plain
		}
		return object, nil
	case v.Kind() == reflect.String:
		return v.String(), nil
	case reflect.PointerTo(v.Type()).Implements(unmarshalerType):
		return nil, fmt.Errorf("%s has UnmarshalText but no MarshalText", v.Type())
	}
	return v.Interface(), nil
}

// checkDefault finds a default that its own option would refuse.
func checkDefault(a *netmonpb.Attribute, value any) *mistake {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			if m := checkDefault(a, element); m != nil {
				return m
			}
		}
	case map[string]any:
		for _, element := range value {
			if m := checkDefault(a, element); m != nil {
				return m
			}
		}
	case string:
		return checkText(a, value)
	case bool:
	default:
		n, _ := strconv.ParseFloat(fmt.Sprint(value), 64)
		return checkNumber(a, n)
	}
	return nil
}
