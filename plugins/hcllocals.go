package plugins

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Locals evaluates the `locals` blocks of bodies, whose entries may refer to each
// other in any order, and adds them to ctx as the object "local".
func Locals(ctx *hcl.EvalContext, bodies ...hcl.Body) hcl.Diagnostics {
	l := &locals{
		ctx:     &hcl.EvalContext{Functions: ctx.Functions, Variables: map[string]cty.Value{}},
		entries: map[string]*hcl.Attribute{},
		values:  map[string]cty.Value{},
	}
	for _, body := range bodies {
		l.collect(body)
	}
	for _, name := range sortedByPlace(l.entries) {
		l.evaluate(name)
	}
	ctx.Variables["local"] = cty.ObjectVal(l.values)
	return l.diags
}

type locals struct {
	ctx     *hcl.EvalContext
	entries map[string]*hcl.Attribute
	values  map[string]cty.Value // an unknown value stands for one with a diagnostic
	trail   []string             // being evaluated, outermost first
	diags   hcl.Diagnostics
}

func (l *locals) collect(body hcl.Body) {
	content, _, diags := body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "locals"}}})
	l.diags = append(l.diags, diags...)
	for _, block := range content.Blocks {
		attributes, diags := block.Body.JustAttributes()
		l.diags = append(l.diags, diags...)
		for _, name := range sortedByPlace(attributes) {
			attribute := attributes[name]
			if first := l.entries[name]; first != nil {
				l.diags = append(l.diags, errorAt(attribute.NameRange, "Local defined twice",
					fmt.Sprintf("The local %q is defined at %s already.", name, place(first.NameRange))))
				continue
			}
			l.entries[name] = attribute
		}
	}
}

func (l *locals) evaluate(name string) {
	if _, done := l.values[name]; done {
		return
	}
	entry := l.entries[name]
	if i := slices.Index(l.trail, name); i >= 0 {
		circle := append(slices.Clone(l.trail[i:]), name)
		l.diags = append(l.diags, errorAt(entry.Expr.Range(), "Locals in a circle",
			fmt.Sprintf("A local cannot depend on itself: %s.", strings.Join(circle, " -> "))))
		l.values[name] = cty.DynamicVal
		return
	}
	l.trail = append(l.trail, name)
	referred := l.referredBy(entry)
	for _, other := range referred {
		l.evaluate(other)
	}
	l.trail = l.trail[:len(l.trail)-1]
	if _, inCircle := l.values[name]; inCircle {
		return
	}
	inSight := make(map[string]cty.Value, len(referred))
	for _, other := range referred {
		inSight[other] = l.values[other]
	}
	l.ctx.Variables["local"] = cty.ObjectVal(inSight)
	value, diags := entry.Expr.Value(l.ctx)
	if !diags.HasErrors() && !withinBound(value) {
		diags = append(diags, errorAt(entry.Expr.Range(), "Value too large", fmt.Sprintf("A local has at most %s.", Bytes(maxInclude))))
	}
	if diags.HasErrors() {
		value = cty.DynamicVal
	}
	suggestQuotes(entry.Expr, diags)
	l.diags = append(l.diags, diags...)
	l.values[name] = value
}

// referredBy are the locals that the entry names.
func (l *locals) referredBy(entry *hcl.Attribute) []string {
	var names []string
	for _, traversal := range entry.Expr.Variables() {
		if traversal.RootName() != "local" || len(traversal) < 2 {
			continue
		}
		name := ""
		switch step := traversal[1].(type) {
		case hcl.TraverseAttr:
			name = step.Name
		case hcl.TraverseIndex:
			if step.Key.Type() == cty.String {
				name = step.Key.AsString()
			}
		}
		if l.entries[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// withinBound says whether v has at most maxInclude bytes. Without it a few
// locals, each twice the one before, fill the memory.
func withinBound(v cty.Value) bool {
	left := maxInclude
	_ = cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) {
		left -= 16
		if v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
			left -= len(v.AsString())
		}
		if left < 0 {
			return false, errTooLarge
		}
		return true, nil
	})
	return left >= 0
}

var errTooLarge = errors.New("too large")

// sortedByPlace are the names of attributes in the order of the file.
func sortedByPlace(attributes map[string]*hcl.Attribute) []string {
	names := make([]string, 0, len(attributes))
	for name := range attributes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return comparePlaces(attributes[a].Range, attributes[b].Range)
	})
	return names
}
