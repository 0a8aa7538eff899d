package plugins

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// WriteDiagnostics writes diags for people, each with its line of source and what is
// meant underlined:
//
//	Error: Unknown value of "fanout"
//
//	  on netmon.hcl line 8, column 17, in capture:
//	  8:   fanout = "hush"
//	                ^^^^^^
//	"hush" is not one of hash, cpu. Did you mean "hash"?
//
// files are the sources by name. Values of sensitive options are masked.
func WriteDiagnostics(w io.Writer, files map[string][]byte, diags hcl.Diagnostics) error {
	var out bytes.Buffer
	bodies := map[string]*hclsyntax.Body{}
	for i, d := range diags {
		if i > 0 {
			out.WriteByte('\n')
		}
		severity := "Error"
		if d.Severity == hcl.DiagWarning {
			severity = "Warning"
		}
		fmt.Fprintf(&out, "%s: %s\n", severity, printable(d.Summary))
		if d.Subject != nil {
			src := files[d.Subject.Filename]
			body, parsed := bodies[d.Subject.Filename]
			if !parsed {
				body, _ = parseHCL(src, d.Subject.Filename)
				bodies[d.Subject.Filename] = body
			}
			writeSource(&out, src, body, d)
		}
		if d.Detail != "" {
			fmt.Fprintf(&out, "%s\n", printable(d.Detail))
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

func writeSource(out *bytes.Buffer, src []byte, body *hclsyntax.Body, d *hcl.Diagnostic) {
	at := *d.Subject
	fmt.Fprintf(out, "\n  on %s line %d, column %d%s:\n", printable(at.Filename), at.Start.Line, at.Start.Column, enclosing(body, at))
	if at.Start.Byte > len(src) || src == nil {
		out.WriteString("  (source not available)\n")
		return
	}
	start := bytes.LastIndexByte(src[:at.Start.Byte], '\n') + 1
	end := len(src)
	if i := bytes.IndexByte(src[at.Start.Byte:], '\n'); i >= 0 {
		end = at.Start.Byte + i
	}
	line := strings.TrimSuffix(string(src[start:end]), "\r")
	secrets, _ := d.Extra.(secrets)
	if secrets == nil {
		secrets = guessSecrets(line, start)
	}
	text, marks := underline(line, start, at, secrets)
	number := fmt.Sprintf("  %d: ", at.Start.Line)
	fmt.Fprintf(out, "%s%s\n%s%s\n", number, text, strings.Repeat(" ", len(number)), marks)
}

// enclosing names the block that a place is in.
func enclosing(body *hclsyntax.Body, at hcl.Range) string {
	if body == nil {
		return ""
	}
	for _, b := range body.Blocks {
		if !b.Range().ContainsOffset(at.Start.Byte) {
			continue
		}
		name := b.Type
		for _, label := range b.Labels {
			name += " " + fmt.Sprintf("%q", label)
		}
		return ", in " + name
	}
	return ""
}

// masked is what stands for a secret.
const masked = "(sensitive)"

// underline shows a line of source, which starts at byte offset, without the secrets
// in it, and marks the part of it that at covers.
func underline(line string, offset int, at hcl.Range, secrets secrets) (text, marks string) {
	var shown, under strings.Builder
	for i := 0; i < len(line); {
		if s := secrets.covering(offset + i); s != nil {
			mark := " "
			if at.Start.Byte < s.End.Byte && s.Start.Byte < max(at.End.Byte, at.Start.Byte+1) {
				mark = "^"
			}
			shown.WriteString(masked)
			under.WriteString(strings.Repeat(mark, len(masked)))
			i = max(i+1, min(s.End.Byte-offset, len(line)))
			continue
		}
		r, size := utf8.DecodeRuneInString(line[i:])
		shown.WriteString(printable(string(r)))
		position := offset + i
		switch {
		case unicode.Is(unicode.Mn, r): // no width of its own
		case position >= at.Start.Byte && position < max(at.End.Byte, at.Start.Byte+1):
			under.WriteByte('^')
		case r == '\t':
			under.WriteByte('\t')
		default:
			under.WriteByte(' ')
		}
		i += size
	}
	if at.Start.Byte >= offset+len(line) {
		under.WriteByte('^')
	}
	return shown.String(), strings.TrimRight(under.String(), " \t")
}

// printable keeps a file's or a plugin's text from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}

// secrets are the ranges of the values of sensitive options.
type secrets []hcl.Range

func (s secrets) covering(position int) *hcl.Range {
	for i := range s {
		if position >= s[i].Start.Byte && position < s[i].End.Byte {
			return &s[i]
		}
	}
	return nil
}

// mask returns copies of diags, all of them about the file of body, that show no
// value of an option that schema calls sensitive, nor of an unknown one that is
// spelled almost like it.
func mask(schema *netmonpb.Block, body hcl.Body, diags hcl.Diagnostics) hcl.Diagnostics {
	syntax, ok := body.(*hclsyntax.Body)
	if !ok || len(diags) == 0 {
		return diags
	}
	found := findSecrets(schema, syntax)
	if found == nil {
		return diags
	}
	copies := make(hcl.Diagnostics, len(diags))
	for i, d := range diags {
		clone := *d
		clone.Extra = found
		copies[i] = &clone
	}
	return copies
}

func findSecrets(schema *netmonpb.Block, body *hclsyntax.Body) secrets {
	var found secrets
	var names []string
	sensitive := map[string]bool{}
	for _, a := range schema.GetAttributes() {
		names = append(names, a.Name)
		sensitive[a.Name] = a.Sensitive
	}
	for name, a := range body.Attributes {
		if sensitive[name] || !slices.Contains(names, name) && sensitive[nearest(name, names)] {
			found = append(found, a.Expr.Range())
		}
	}
	for _, block := range body.Blocks {
		for _, nested := range schema.GetBlocks() {
			if nested.Type == block.Type {
				found = append(found, findSecrets(nested.Block, block.Body)...)
			}
		}
	}
	return found
}

// A file that cannot be parsed says nothing of what is sensitive; names do.
var secretLine = regexp.MustCompile(`(?i)^\s*[\w-]*(?:password|passphrase|secret|token|credential)[\w-]*\s*=\s*("|<<)`)

func guessSecrets(line string, offset int) secrets {
	m := secretLine.FindStringSubmatchIndex(line)
	if m == nil {
		return nil
	}
	return secrets{{Start: hcl.Pos{Byte: offset + m[2]}, End: hcl.Pos{Byte: offset + len(line)}}}
}

// SortDiagnostics puts diags in the order of their files and places.
func SortDiagnostics(diags hcl.Diagnostics) {
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		switch {
		case a.Subject == nil && b.Subject == nil:
			return 0
		case a.Subject == nil:
			return -1
		case b.Subject == nil:
			return 1
		}
		return comparePlaces(*a.Subject, *b.Subject)
	})
}

func comparePlaces(a, b hcl.Range) int {
	return cmp.Or(cmp.Compare(a.Filename, b.Filename), cmp.Compare(a.Start.Byte, b.Start.Byte))
}

// place is a range for the middle of a sentence.
func place(r hcl.Range) string { return fmt.Sprintf("%s line %d", r.Filename, r.Start.Line) }
