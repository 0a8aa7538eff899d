package plugins

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	maxFileBytes = 256 << 10 // of a config file
	maxDepth     = 64        // brackets and templates within each other
	maxRun       = 64        // signs in a row, and conditionals in a file's statement
	maxExponent  = 3         // digits of a number's exponent
)

// ReadHCL reads and parses a config file of at most 256 KiB. The source is returned
// whenever it could be read, to show the diagnostics in it.
func ReadHCL(path string) (*hclsyntax.Body, []byte, hcl.Diagnostics) {
	src, err := readBounded(path, maxFileBytes)
	if err != nil {
		return nil, nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Unreadable config file", Detail: fmt.Sprintf("%s: %s.", path, reason(err)),
		}}
	}
	body, diags := parseHCL(src, path)
	return body, src, diags
}

// readBounded reads a file of at most limit bytes; path may be a pipe.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("more than %s", Bytes(limit))
	}
	return text, nil
}

// parseHCL parses HCL in its native syntax. The body is nil where the diagnostics
// have errors.
func parseHCL(src []byte, filename string) (*hclsyntax.Body, hcl.Diagnostics) {
	if d := tooDeep(src, filename); d != nil {
		return nil, hcl.Diagnostics{d}
	}
	file, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos)
	diags = firstOfEach(diags)
	if diags.HasErrors() {
		return nil, diags
	}
	return file.Body.(*hclsyntax.Body), diags
}

// firstOfEach leaves the first diagnostic of each kind: a quote that is not closed
// makes an error of every line after it.
func firstOfEach(diags hcl.Diagnostics) hcl.Diagnostics {
	var first hcl.Diagnostics
	for _, d := range diags {
		if !slices.ContainsFunc(first, func(f *hcl.Diagnostic) bool { return f.Summary == d.Summary }) {
			first = append(first, d)
		}
	}
	return first
}

// tooDeep finds what would overflow the stack of hcl's parser, which recurses, and
// numbers whose digits would fill the memory. Nobody writes such a file by mistake,
// but a process that reads files should not die of one.
func tooDeep(src []byte, filename string) *hcl.Diagnostic {
	tokens, _ := hclsyntax.LexConfig(src, filename, hcl.InitialPos)
	depth, run, conditionals := 0, 0, 0
	for i := range tokens {
		t := &tokens[i]
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth--
		case hclsyntax.TokenQuestion, hclsyntax.TokenColon:
			conditionals++
		case hclsyntax.TokenEqual:
			conditionals = 0
		case hclsyntax.TokenNumberLit:
			if i := bytes.IndexAny(t.Bytes, "eE"); i >= 0 && len(bytes.TrimLeft(t.Bytes[i+1:], "+-0")) > maxExponent {
				return outOfBounds(t, "Number out of range", "The exponent of a number has at most "+strconv.Itoa(maxExponent)+" digits.")
			}
		}
		if t.Type == hclsyntax.TokenBang || t.Type == hclsyntax.TokenMinus {
			run++
		} else {
			run = 0
		}
		if depth > maxDepth || run > maxRun || conditionals > maxRun {
			return outOfBounds(t, "Nested too deeply", "Brackets, templates, signs and conditionals can be nested "+strconv.Itoa(maxDepth)+" deep.")
		}
	}
	return nil
}

func outOfBounds(t *hclsyntax.Token, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &t.Range}
}
