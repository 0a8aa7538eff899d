package plugins

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Log is the `log` block of netmon.hcl and of a standalone program's file.
type Log struct {
	Level  string `netmon:"level,enum=trace|debug|info|warn|error" doc:"The least important lines to write."`
	Format string `netmon:"format,enum=text|json" doc:"Lines for people, or an object each for programs."`
	Output string `netmon:"output,format=path" doc:"stderr, stdout or a path."`
}

// DefaultLog is what holds without a `log` block.
func DefaultLog() Log { return Log{Level: "info", Format: "text", Output: "stderr"} }

// Check refuses a log that goes nowhere.
func (l *Log) Check() error {
	if l.Output == "" {
		return &Problem{Path: []string{"output"}, Summary: "Empty value", Detail: "Write \"stderr\", \"stdout\" or a path."}
	}
	return nil
}

// Standalone is the config file of an exporter that runs without a sensor:
//
//	server {
//	  listen = [":8080"]
//	}
//
//	log {}
//
// The body of the block named like the exporter's type is the body of its exporter
// block in netmon.hcl; functions and `locals` work as there.
type Standalone struct {
	Log     Log
	BaseDir string            // directory of the file, where relative paths begin
	Files   map[string][]byte // for WriteDiagnostics

	schema *netmonpb.Block
	body   *hclsyntax.Body
	header hcl.Range
}

// LoadStandalone reads the file at path into `into`, which holds the defaults; block
// is "server", say. The result is never nil, so that the diagnostics can be written.
func LoadStandalone(path, block string, into any) (*Standalone, hcl.Diagnostics) {
	s := &Standalone{Log: DefaultLog(), BaseDir: baseDir(path), Files: map[string][]byte{}}
	root, src, diags := ReadHCL(path)
	if src != nil {
		s.Files[path] = src
	}
	if diags.HasErrors() {
		return s, diags
	}
	ctx := EvalContext(s.BaseDir)
	diags = append(diags, Locals(ctx, root)...)
	blocks, more := TopBlocks([]*hclsyntax.Body{root}, []string{block, "log"})
	diags = append(diags, more...)
	for _, b := range blocks["log"] {
		diags = append(diags, DecodeBlock(b.Body, ctx, &s.Log)...)
	}
	for _, b := range blocks[block] {
		s.body, s.header = b.Body, b.DefRange()
		if schema, err := Schema(into); err == nil {
			s.schema = schema
		}
		diags = append(diags, DecodeBlock(b.Body, ctx, into)...)
	}
	if s.body == nil && !diags.HasErrors() {
		diags = append(diags, errorAt(root.MissingItemRange(), "Missing block",
			fmt.Sprintf("The file needs a block %s { ... }; it may be empty.", block)))
	}
	SortDiagnostics(diags)
	return s, diags
}

// Explain finds the places of a *Problem, or several joined, in the file.
func (s *Standalone) Explain(err error) hcl.Diagnostics {
	return ExplainIn(s.schema, s.body, s.header, diagnosticsOf(err))
}

// Write is WriteDiagnostics with the files of s.
func (s *Standalone) Write(w io.Writer, diags hcl.Diagnostics) error {
	return WriteDiagnostics(w, s.Files, diags)
}

// ExplainIn is Locate without the values of sensitive options: what concerns the whole block points at its header.
func ExplainIn(schema *netmonpb.Block, body hcl.Body, header hcl.Range, ds []*netmonpb.Diagnostic) hcl.Diagnostics {
	if body == nil || body == (*hclsyntax.Body)(nil) {
		return Locate(hcl.EmptyBody(), ds)
	}
	diags := Locate(body, ds)
	for _, d := range diags {
		if *d.Subject == body.MissingItemRange() {
			d.Subject = &header
		}
	}
	return mask(schema, body, diags)
}

// DecodeBlock evaluates a body by the schema of into and decodes it there. Where into
// has a method Check() error, it is asked last.
func DecodeBlock(body hcl.Body, ctx *hcl.EvalContext, into any) hcl.Diagnostics {
	rest, diags := DecodePart(body, ctx, into)
	if schema, err := Schema(into); err == nil {
		e := &evaluation{}
		e.unknown(bodySchema(schema, ""), rest, nil)
		diags = append(diags, mask(schema, body, e.diags)...)
	}
	return diags
}

// DecodePart is DecodeBlock for a body that holds more than into knows. The rest of
// it is returned.
func DecodePart(body hcl.Body, ctx *hcl.EvalContext, into any) (rest hcl.Body, diags hcl.Diagnostics) {
	schema, err := Schema(into)
	if err != nil {
		return body, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Unusable schema", Detail: err.Error()}}
	}
	e := &evaluation{ctx: ctx}
	object, rest := e.part(schema, body, "")
	diags = mask(schema, body, e.diags)
	// Also after a mistake, in whose place a default stands: so that all are told.
	text, err := json.Marshal(object)
	if err == nil {
		err = Decode(text, into)
	}
	if checker, ok := into.(interface{ Check() error }); ok && err == nil && !diags.HasErrors() {
		err = checker.Check()
	}
	return rest, append(diags, mask(schema, body, Locate(body, diagnosticsOf(err)))...)
}

// TopBlocks finds the blocks at the top of files by their type. Those of once can be
// there once and have no label, those of many are for the caller to judge. Anything
// else but `locals` is unknown.
func TopBlocks(files []*hclsyntax.Body, once []string, many ...string) (map[string][]*hclsyntax.Block, hcl.Diagnostics) {
	found := map[string][]*hclsyntax.Block{}
	var diags hcl.Diagnostics
	known := append(slices.Clone(once), append(many, "locals")...)
	for _, body := range files {
		for _, a := range body.Attributes {
			detail := fmt.Sprintf("The option %q stands outside of any block.%s", a.Name, didYouMean(a.Name, known))
			if slices.Contains(known, a.Name) {
				detail = fmt.Sprintf("%q is a block: write %s { ... }, without =.", a.Name, a.Name)
			}
			diags = append(diags, errorAt(a.NameRange, "Unknown option", detail))
		}
		for _, b := range body.Blocks {
			first := found[b.Type]
			switch {
			case !slices.Contains(known, b.Type):
				diags = append(diags, errorAt(b.TypeRange, "Unknown block",
					fmt.Sprintf("There is no block %q.%s", b.Type, didYouMean(b.Type, known))))
			case !slices.Contains(once, b.Type):
				found[b.Type] = append(first, b)
			case len(first) > 0:
				diags = append(diags, errorAt(b.DefRange(), "Block given twice",
					fmt.Sprintf("There can be one block %q, and it is at %s already.", b.Type, place(first[0].DefRange()))))
			case len(b.Labels) > 0:
				diags = append(diags, errorAt(b.LabelRanges[0], "Label not wanted", fmt.Sprintf("A block %q has no label.", b.Type)))
			default:
				found[b.Type] = append(first, b)
			}
		}
	}
	return found, diags
}

// baseDir is where the relative paths of a config file begin.
func baseDir(path string) string {
	dir := filepath.Dir(path)
	if absolute, err := filepath.Abs(dir); err == nil {
		return absolute
	}
	return dir
}
