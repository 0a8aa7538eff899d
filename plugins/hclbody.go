package plugins

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// EvaluateBody evaluates body by schema into a JSON object with the defaults filled
// in; blocks that are not there are left out. It finds every mistake that the schema
// can express and points at the value in the file. taken are names that belong to
// somebody else's part of the body: they count as suggestions for a name that
// nobody knows. The JSON is nil where the diagnostics have errors.
func EvaluateBody(schema *netmonpb.Block, body hcl.Body, ctx *hcl.EvalContext, taken ...string) ([]byte, hcl.Diagnostics) {
	e := &evaluation{ctx: ctx}
	object := e.block(schema, body, "", taken)
	e.diags = mask(schema, body, e.diags)
	SortDiagnostics(e.diags)
	if e.diags.HasErrors() {
		return nil, e.diags
	}
	text, err := json.Marshal(object)
	if err != nil {
		return nil, append(e.diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Unusable schema", Detail: fmt.Sprintf("The schema of the exporter has a mistake: %s.", err),
		})
	}
	return text, e.diags
}

type evaluation struct {
	ctx   *hcl.EvalContext
	diags hcl.Diagnostics
}

func (e *evaluation) fail(at hcl.Range, m *mistake) {
	e.diags = append(e.diags, errorAt(at, m.summary, m.detail))
}

func errorAt(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

// bodySchema is what hcl must know to split a body; label names an attribute that
// is the label of the body's block.
func bodySchema(schema *netmonpb.Block, label string) *hcl.BodySchema {
	s := &hcl.BodySchema{}
	for _, a := range schema.GetAttributes() {
		if a.Name != label {
			s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: a.Name})
		}
	}
	for _, b := range schema.GetBlocks() {
		header := hcl.BlockHeaderSchema{Type: b.Type}
		if b.Label != "" {
			header.LabelNames = []string{b.Label}
		}
		s.Blocks = append(s.Blocks, header)
	}
	return s
}

func (e *evaluation) block(schema *netmonpb.Block, body hcl.Body, label string, taken []string) map[string]any {
	object, rest := e.part(schema, body, label)
	e.unknown(bodySchema(schema, label), rest, taken)
	return object
}

// part evaluates what schema knows of a body and leaves the rest.
func (e *evaluation) part(schema *netmonpb.Block, body hcl.Body, label string) (map[string]any, hcl.Body) {
	content, rest, diags := body.PartialContent(bodySchema(schema, label))
	e.diags = append(e.diags, diags...)

	object := map[string]any{}
	for _, a := range schema.GetAttributes() {
		if a.Name == label {
			continue
		}
		if attribute := content.Attributes[a.Name]; attribute != nil {
			if value, ok := e.attribute(a, attribute); ok {
				object[a.Name] = value
				continue
			}
		} else if a.Required {
			e.fail(body.MissingItemRange(), mistakef("Missing option", "The option %q must be given here.", a.Name))
		}
		if a.DefaultJson != "" {
			object[a.Name] = json.RawMessage(a.DefaultJson)
		}
	}
	for _, nested := range schema.GetBlocks() {
		if value := e.nested(nested, content.Blocks.OfType(nested.Type), body.MissingItemRange()); value != nil {
			object[nested.Type] = value
		}
	}
	return object, rest
}

// nested evaluates the blocks of one type, to nil where there are none.
func (e *evaluation) nested(nested *netmonpb.NestedBlock, blocks hcl.Blocks, missing hcl.Range) any {
	if len(blocks) == 0 {
		if nested.Required {
			e.fail(missing, mistakef("Missing block", "A block %q must be given here.", nested.Type))
		}
		return nil
	}
	if len(blocks) > 1 && !nested.Repeated {
		for _, again := range blocks[1:] {
			e.fail(again.DefRange, mistakef("Block given twice", "There can be one block %q, and it is at %s already.",
				nested.Type, place(blocks[0].DefRange)))
		}
		blocks = blocks[:1]
	}
	list := make([]any, len(blocks))
	for i, block := range blocks {
		object := e.block(nested.Block, block.Body, nested.Label, nil)
		if nested.Label != "" {
			object[nested.Label] = block.Labels[0]
			if m := checkText(labelOf(nested), block.Labels[0]); m != nil {
				e.fail(block.LabelRanges[0], m)
			}
		}
		list[i] = object
	}
	if nested.Repeated {
		return list
	}
	return list[0]
}

// unknown tells of what is left of a body once all that is wanted is taken.
func (e *evaluation) unknown(wanted *hcl.BodySchema, rest hcl.Body, taken []string) {
	_, leftovers := rest.Content(&hcl.BodySchema{})
	syntax, _ := rest.(*hclsyntax.Body)
	names, blocks := slices.Clone(taken), []string(nil)
	for _, a := range wanted.Attributes {
		names = append(names, a.Name)
	}
	for _, b := range wanted.Blocks {
		blocks = append(blocks, b.Type)
	}
	for _, d := range leftovers {
		name, isBlock := leftover(syntax, d.Subject)
		detail := ""
		switch {
		case name == "":
			e.diags = append(e.diags, d)
			continue
		case isBlock && slices.Contains(names, name):
			detail = fmt.Sprintf("%q is an option: write %s = ...", name, name)
		case isBlock:
			detail = fmt.Sprintf("There is no block %q here.%s", name, didYouMean(name, append(blocks, names...)))
		case slices.Contains(blocks, name):
			detail = fmt.Sprintf("%q is a block: write %s { ... }, without =.", name, name)
		default:
			detail = fmt.Sprintf("There is no option %q here.%s", name, didYouMean(name, append(names, blocks...)))
		}
		summary := "Unknown option"
		if isBlock {
			summary = "Unknown block"
		}
		e.fail(*d.Subject, &mistake{summary, detail})
	}
}

// leftover finds the attribute or block whose name stands at a place.
func leftover(body *hclsyntax.Body, at *hcl.Range) (name string, isBlock bool) {
	if body == nil || at == nil {
		return "", false
	}
	for _, a := range body.Attributes {
		if a.NameRange == *at {
			return a.Name, false
		}
	}
	for _, b := range body.Blocks {
		if b.TypeRange == *at {
			return b.Type, true
		}
	}
	return "", false
}
