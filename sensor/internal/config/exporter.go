package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Exporter is one `exporter` block: what the sensor takes of it, and a body that only
// the plugin's schema makes sense of. One goroutine at a time may call its methods.
type Exporter struct {
	Type string // the program is netmon-exporter-TYPE
	Name string // the second label, or ""

	Enabled  bool
	Command  string            // the program's path; "" to look for it
	Checksum string            // "sha256:" and 64 digits of hex; "" is not checked
	Env      map[string]string // added to the plugin's environment

	Body  hcl.Body  // less the options above
	Range hcl.Range // of the block's header

	ctx    *hcl.EvalContext
	files  Files
	schema *netmonpb.Block // of the latest Evaluate
}

// hostOptions are those that every exporter block has.
type hostOptions struct {
	Enabled  bool              `netmon:"enabled" doc:"Whether it runs."`
	Command  string            `netmon:"command,format=path" doc:"The program's path; empty: looked for by its name."`
	Checksum string            `netmon:"checksum" doc:"What the program's file must have: sha256: and 64 digits; empty: anything."`
	Env      map[string]string `netmon:"env,sensitive" doc:"Added to the program's environment."`
}

var (
	checksumForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	labelForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
)

// Check finds a checksum or a variable that cannot be one.
func (o *hostOptions) Check() error {
	var errs []error
	if o.Checksum != "" && !checksumForm.MatchString(o.Checksum) {
		errs = append(errs, problem("Invalid checksum", "Write \"sha256:\" and the 64 lower-case digits that sha256sum prints.", "checksum"))
	}
	for name := range o.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			errs = append(errs, problem("Invalid variable", fmt.Sprintf("%q is no name of an environment variable.", name), "env", name))
		}
	}
	return errors.Join(errs...)
}

func exporters(blocks []*hclsyntax.Block, ctx *hcl.EvalContext, files Files) ([]*Exporter, hcl.Diagnostics) {
	var list []*Exporter
	var diags hcl.Diagnostics
	seen := map[string]hcl.Range{}
	for _, block := range blocks {
		e := &Exporter{Range: block.DefRange(), ctx: ctx, files: files}
		if d := e.setLabels(block); d != nil {
			diags = append(diags, d)
			continue
		}
		if first, again := seen[e.Label()]; again {
			diags = append(diags, mistake(e.Range, "Exporter given twice", fmt.Sprintf(
				"The exporter %s is at %s line %d already. A second one of a type needs a name of its own: exporter %q \"NAME\" { ... }.",
				e.Label(), first.Filename, first.Start.Line, e.Type)))
			continue
		}
		seen[e.Label()] = e.Range
		options := hostOptions{Enabled: true}
		body, more := plugins.DecodePart(block.Body, ctx, &options)
		diags = append(diags, more...)
		e.Enabled, e.Command, e.Checksum, e.Env, e.Body = options.Enabled, options.Command, options.Checksum, options.Env, body
		list = append(list, e)
	}
	return list, diags
}

func (e *Exporter) setLabels(block *hclsyntax.Block) *hcl.Diagnostic {
	switch n := len(block.Labels); {
	case n == 0:
		return mistake(block.DefRange(), "Missing type", "Say which exporter: exporter \"server\" { ... }.")
	case n > 2:
		return mistake(block.LabelRanges[2], "Label not wanted", "An exporter has a type and, where there are several of it, a name.")
	}
	for i, label := range block.Labels {
		if !labelForm.MatchString(label) {
			return mistake(block.LabelRanges[i], "Invalid label", "The type and the name of an exporter have 1 to 63 letters, digits, - and _.")
		}
	}
	e.Type = block.Labels[0]
	if len(block.Labels) == 2 {
		e.Name = block.Labels[1]
	}
	return nil
}

func mistake(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

// Label is the exporter's own among all: "server", or "server.name".
func (e *Exporter) Label() string {
	if e.Name == "" {
		return e.Type
	}
	return e.Type + "." + e.Name
}

// Evaluate returns the plugin's part of the block as JSON by its schema. The error is
// an *Error.
func (e *Exporter) Evaluate(schema *netmonpb.Block) ([]byte, error) {
	e.schema = schema
	text, diags := plugins.EvaluateBody(schema, e.Body, e.ctx, "enabled", "command", "checksum", "env")
	if diags.HasErrors() {
		return nil, &Error{diags, e.files}
	}
	return text, nil
}

// Explain returns what the plugin says of its configuration as an *Error that shows
// it at its place, or nil for nothing. What has no place points at the block.
func (e *Exporter) Explain(ds []*netmonpb.Diagnostic) error {
	if len(ds) == 0 {
		return nil
	}
	return &Error{plugins.ExplainIn(e.schema, e.Body, e.Range, ds), e.files}
}

// Error returns an *Error that points at the whole block.
func (e *Exporter) Error(summary string, cause error) error {
	return &Error{hcl.Diagnostics{mistake(e.Range, summary, cause.Error()+".")}, e.files}
}
