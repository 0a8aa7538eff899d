package plugins

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Locate gives the diagnostics of an exporter the range in body that their path
// leads to, or the innermost part of it that is there.
func Locate(body hcl.Body, ds []*netmonpb.Diagnostic) hcl.Diagnostics {
	diags := make(hcl.Diagnostics, 0, len(ds))
	for _, d := range ds {
		at := locate(body, d.GetPath())
		severity := hcl.DiagError
		if d.GetSeverity() == netmonpb.Severity_SEVERITY_WARNING {
			severity = hcl.DiagWarning
		}
		diags = append(diags, &hcl.Diagnostic{
			Severity: severity, Summary: strings.TrimSuffix(d.GetSummary(), "."), Detail: d.GetDetail(), Subject: &at,
		})
	}
	return diags
}

func locate(body hcl.Body, path []string) hcl.Range {
	syntax, ok := body.(*hclsyntax.Body)
	if !ok || len(path) == 0 {
		return body.MissingItemRange()
	}
	if a := syntax.Attributes[path[0]]; a != nil {
		return locateInValue(a.Expr, path[1:])
	}
	var blocks []*hclsyntax.Block
	for _, b := range syntax.Blocks {
		if b.Type == path[0] {
			blocks = append(blocks, b)
		}
	}
	if len(blocks) == 0 {
		return body.MissingItemRange()
	}
	block, rest := blocks[0], path[1:]
	if len(rest) > 0 {
		if i, err := strconv.Atoi(rest[0]); err == nil {
			rest = rest[1:]
			if i >= 0 && i < len(blocks) {
				block = blocks[i]
			}
		}
	}
	if len(rest) == 0 || !has(block.Body, rest[0]) {
		// A label's name is the plugin's own; the header shows the label too.
		return block.DefRange()
	}
	return locate(block.Body, rest)
}

func has(body *hclsyntax.Body, name string) bool {
	return body.Attributes[name] != nil ||
		slices.ContainsFunc(body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == name })
}

func locateInValue(expr hcl.Expression, path []string) hcl.Range {
	for _, step := range path {
		inner := mapItem(expr, step)
		if list, _ := hcl.ExprList(expr); inner == nil {
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(list) {
				inner = list[i]
			}
		}
		if inner == nil {
			break
		}
		expr = inner
	}
	return expr.Range()
}
