package plugins

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Decode fills into, a pointer to a struct with tags as Schema reads them, from an
// object as EvaluateBody writes it. What the object leaves out keeps its value, so
// into should hold the defaults. The error is one *Problem or several joined, each
// with the path of the option, but for text that is no JSON at all. The bounds of
// the schema are not checked again: the host has done it.
func Decode(text []byte, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("decode into %T: want a pointer to a struct", into)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return fmt.Errorf("decode configuration: %w", err)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("decode configuration: want an object, not %s", kindOf(value))
	}
	return decodeBlock(object, v.Elem(), nil)
}

func decodeBlock(object map[string]any, into reflect.Value, path []string) error {
	fields, err := fieldsOf(into.Type())
	if err != nil {
		return fmt.Errorf("schema of %s: %w", into.Type(), err)
	}
	var errs []error
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		names = append(names, f.name)
		value, given := object[f.name]
		if !given || value == nil {
			continue
		}
		at, field := append(slices.Clip(path), f.name), into.FieldByIndex(f.index)
		if f.block {
			errs = append(errs, f.decodeBlocks(value, field, at))
		} else {
			errs = append(errs, f.decodeValue(value, field, at))
		}
	}
	for name := range object {
		if !slices.Contains(names, name) {
			errs = append(errs, &Problem{
				Path: append(slices.Clip(path), name), Summary: "Unknown option",
				Detail: fmt.Sprintf("There is no option %q here.%s", name, didYouMean(name, names)),
			})
		}
	}
	return errors.Join(errs...)
}

func (f *field) decodeBlocks(value any, into reflect.Value, path []string) error {
	if into.Kind() != reflect.Slice {
		return decodeOne(value, into, path)
	}
	list, ok := value.([]any)
	if !ok {
		return wrongType(path, "a list of blocks", value)
	}
	blocks := reflect.MakeSlice(into.Type(), len(list), len(list))
	var errs []error
	for i, element := range list {
		block := blocks.Index(i)
		if block.Kind() == reflect.Struct {
			block.Set(newBlock(block.Type()))
		}
		errs = append(errs, decodeOne(element, block, append(slices.Clip(path), strconv.Itoa(i))))
	}
	into.Set(blocks)
	return errors.Join(errs...)
}

func decodeOne(value any, into reflect.Value, path []string) error {
	object, ok := value.(map[string]any)
	if !ok {
		return wrongType(path, "a block", value)
	}
	if into.Kind() != reflect.Pointer {
		return decodeBlock(object, into, path)
	}
	block := newBlock(into.Type())
	if !into.IsNil() {
		block.Set(into.Elem())
	}
	into.Set(block.Addr())
	return decodeBlock(object, block, path)
}

func (f *field) decodeValue(value any, into reflect.Value, path []string) error {
	if name, _ := scalarType(into.Type()); name != "" {
		return f.decodeScalar(value, into, path)
	}
	var errs []error
	if into.Kind() == reflect.Slice {
		list, ok := value.([]any)
		if !ok {
			return wrongType(path, "a list", value)
		}
		elements := reflect.MakeSlice(into.Type(), len(list), len(list))
		for i, element := range list {
			errs = append(errs, f.decodeScalar(element, elements.Index(i), append(slices.Clip(path), strconv.Itoa(i))))
		}
		into.Set(elements)
		return errors.Join(errs...)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return wrongType(path, "a map", value)
	}
	elements := reflect.MakeMapWithSize(into.Type(), len(object))
	for key, element := range object {
		v := reflect.New(into.Type().Elem()).Elem()
		errs = append(errs, f.decodeScalar(element, v, append(slices.Clip(path), key)))
		elements.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), v)
	}
	into.Set(elements)
	return errors.Join(errs...)
}

func (f *field) decodeScalar(value any, into reflect.Value, path []string) error {
	switch value := value.(type) {
	case string:
		return f.decodeText(value, into, path)
	case bool:
		if into.Kind() == reflect.Bool {
			into.SetBool(value)
			return nil
		}
	case json.Number:
		if m := bareNumber(f.schema, value.String()); m != nil {
			return m.problem(path)
		}
		if isNumber(into.Kind()) {
			return decodeNumber(value, into, path)
		}
	}
	name, _ := scalarType(into.Type())
	return wrongType(path, describeType(name), value)
}

func (f *field) decodeText(text string, into reflect.Value, path []string) error {
	if text == "" && f.schema.Format != 0 && emptyAllowed(f.schema) {
		into.SetZero()
		return nil
	}
	unbounded := &netmonpb.Attribute{Name: f.name, Format: f.schema.Format}
	var err error
	switch target := into.Addr().Interface().(type) {
	case *time.Duration:
		if m := checkDuration(unbounded, text); m != nil {
			return m.problem(path)
		}
		*target, err = time.ParseDuration(text)
	case *Bytes:
		if m := checkBytes(unbounded, text); m != nil {
			return m.problem(path)
		}
		*target, err = ParseBytes(text)
	case *netip.Prefix:
		*target, err = parsePrefix(text)
	case encoding.TextUnmarshaler:
		err = target.UnmarshalText([]byte(text))
	default:
		if into.Kind() != reflect.String {
			name, _ := scalarType(into.Type())
			return wrongType(path, describeType(name), text)
		}
		into.SetString(text)
	}
	if err == nil {
		return nil
	}
	detail := err.Error() + "."
	if f.schema.Sensitive {
		detail = "What is wrong is not shown, because the option is sensitive."
	}
	return &Problem{Path: path, Summary: fmt.Sprintf("Invalid value of %q", f.name), Detail: detail}
}

func decodeNumber(number json.Number, into reflect.Value, path []string) error {
	ok := false
	switch {
	case into.CanInt():
		n, err := strconv.ParseInt(number.String(), 10, 64)
		if ok = err == nil && !into.OverflowInt(n); ok {
			into.SetInt(n)
		}
	case into.CanUint():
		n, err := strconv.ParseUint(number.String(), 10, 64)
		if ok = err == nil && !into.OverflowUint(n); ok {
			into.SetUint(n)
		}
	default:
		n, err := number.Float64()
		if ok = err == nil; ok {
			into.SetFloat(n)
		}
	}
	if !ok {
		return &Problem{Path: path, Summary: "Invalid number", Detail: fmt.Sprintf("%s is no whole number in range.", number)}
	}
	return nil
}

func (m *mistake) problem(path []string) *Problem {
	return &Problem{Path: path, Summary: m.summary, Detail: m.detail}
}

func wrongType(path []string, want string, got any) *Problem {
	return &Problem{Path: path, Summary: "Wrong type", Detail: fmt.Sprintf("This must be %s, not %s.", want, kindOf(got))}
}

func describeType(ctyName string) string {
	switch ctyName {
	case "bool":
		return "true or false"
	case "":
		return "a value of another type"
	}
	return "a " + ctyName
}

func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	}
	return "an object"
}
