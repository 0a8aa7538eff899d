package plugins

import (
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// attribute evaluates one option. It is not ok where the default should stand: the
// value is null, or wrong and told.
func (e *evaluation) attribute(a *netmonpb.Attribute, attribute *hcl.Attribute) (value any, ok bool) {
	v, diags := attribute.Expr.Value(e.ctx)
	if a.Sensitive {
		hush(a.Name, diags)
	}
	suggestQuotes(attribute.Expr, diags)
	e.diags = append(e.diags, diags...)
	at := attribute.Expr.Range()
	if diags.HasErrors() || !v.IsWhollyKnown() {
		return nil, false // unknown: a local with a diagnostic of its own
	}
	if v.IsNull() {
		if a.Required {
			e.fail(at, mistakef("Missing option", "The option %q must be given, and null is no value.", a.Name))
		}
		return nil, false
	}
	want, err := ctyjson.UnmarshalType([]byte(a.Type))
	if err != nil {
		e.fail(at, mistakef("Unusable schema", "The exporter's schema gives %q a type that does not exist.", a.Name))
		return nil, false
	}
	switch {
	case want.IsPrimitiveType():
		return e.scalar(a, v, want, at)
	case (want.IsListType() || want.IsSetType()) && want.ElementType().IsPrimitiveType():
		return e.list(a, v, want.ElementType(), attribute.Expr)
	case want.IsMapType() && want.ElementType().IsPrimitiveType():
		return e.object(a, v, want.ElementType(), attribute.Expr)
	}
	converted, err := convert.Convert(v, want)
	if err != nil {
		e.fail(at, mistakef("Wrong type", "%q must be %s.", a.Name, want.FriendlyName()))
		return nil, false
	}
	return ctyjson.SimpleJSONValue{Value: converted}, true
}

func (e *evaluation) list(a *netmonpb.Attribute, v cty.Value, want cty.Type, expr hcl.Expression) (any, bool) {
	if t := v.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		e.fail(expr.Range(), mistakef("Wrong type", "%q must be a list of %ss, in square brackets, not %s.", a.Name, want.FriendlyName(), kindOfType(t)))
		return nil, false
	}
	literals, _ := hcl.ExprList(expr)
	list, ok := make([]any, 0, v.LengthInt()), true
	for _, element := range v.Elements() {
		at := expr.Range()
		if len(literals) == v.LengthInt() {
			at = literals[len(list)].Range()
		}
		value, fine := e.scalar(a, element, want, at)
		list, ok = append(list, value), ok && fine
	}
	return list, ok
}

func (e *evaluation) object(a *netmonpb.Attribute, v cty.Value, want cty.Type, expr hcl.Expression) (any, bool) {
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		e.fail(expr.Range(), mistakef("Wrong type", "%q must be a map of %ss, in braces, not %s.", a.Name, want.FriendlyName(), kindOfType(t)))
		return nil, false
	}
	object, ok := map[string]any{}, true
	for key, element := range v.Elements() {
		at := expr.Range()
		if item := mapItem(expr, key.AsString()); item != nil {
			at = item.Range()
		}
		value, fine := e.scalar(a, element, want, at)
		object[key.AsString()], ok = value, ok && fine
	}
	return object, ok
}

// mapItem is the expression at a key of a literal map, or nil. Where the key is
// there twice the last one counts, as in evaluation.
func mapItem(expr hcl.Expression, key string) hcl.Expression {
	pairs, _ := hcl.ExprMap(expr)
	for _, pair := range slices.Backward(pairs) {
		if k, diags := pair.Key.Value(nil); !diags.HasErrors() && k.Type() == cty.String && k.IsKnown() && !k.IsNull() && k.AsString() == key {
			return pair.Value
		}
	}
	return nil
}

// scalar checks one value and converts it: "5" counts as a number, true as "true".
func (e *evaluation) scalar(a *netmonpb.Attribute, v cty.Value, want cty.Type, at hcl.Range) (any, bool) {
	if v.IsNull() {
		e.fail(at, mistakef("Missing value", "null cannot stand in %q.", a.Name))
		return nil, false
	}
	if v.Type() == cty.Number {
		if m := bareNumber(a, numberText(v.AsBigFloat())); m != nil {
			e.fail(at, m)
			return nil, false
		}
	}
	converted, err := convert.Convert(v, want)
	if err != nil {
		subject := strconv.Quote(a.Name)
		if strings.HasPrefix(a.Type, "[") {
			subject = "A value in " + subject
		}
		e.fail(at, mistakef("Wrong type", "%s must be %s, not %s.", subject, describeType(want.FriendlyName()), kindOfType(v.Type())))
		return nil, false
	}
	switch want {
	case cty.Bool:
		return converted.True(), true
	case cty.Number:
		n, _ := converted.AsBigFloat().Float64()
		if m := checkNumber(a, n); m != nil {
			e.fail(at, m)
			return nil, false
		}
		return json.Number(numberText(converted.AsBigFloat())), true
	}
	if m := checkText(a, converted.AsString()); m != nil {
		e.fail(at, m)
		return nil, false
	}
	return converted.AsString(), true
}

// numberText writes whole numbers as such and never with more digits than they
// are worth.
func numberText(n *big.Float) string {
	if i, accuracy := n.Int64(); accuracy == big.Exact {
		return strconv.FormatInt(i, 10)
	}
	return n.Text('g', 20)
}

func kindOfType(t cty.Type) string {
	switch {
	case t == cty.Bool:
		return "true or false"
	case t.IsPrimitiveType():
		return "a " + t.FriendlyName()
	case t.IsObjectType() || t.IsMapType():
		return "a map"
	case t.IsTupleType() || t.IsListType() || t.IsSetType():
		return "a list"
	}
	return "null"
}
