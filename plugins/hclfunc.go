package plugins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// maxInclude bounds what file() reads, in bytes.
const maxInclude = 1 << 20

// EvalContext holds the functions of a config file: env(name, default?),
// file(path), hostname(), trimspace, lower, upper, join, split, concat, format,
// replace and jsondecode. The paths of file() begin at baseDir.
func EvalContext(baseDir string) *hcl.EvalContext {
	return &hcl.EvalContext{
		Variables: map[string]cty.Value{},
		Functions: map[string]function.Function{
			"env":        envFunction(),
			"file":       fileFunction(baseDir),
			"hostname":   hostnameFunction(),
			"trimspace":  stdlib.TrimSpaceFunc,
			"lower":      stdlib.LowerFunc,
			"upper":      stdlib.UpperFunc,
			"join":       stdlib.JoinFunc,
			"split":      stdlib.SplitFunc,
			"concat":     stdlib.ConcatFunc,
			"format":     formatFunction(),
			"replace":    stdlib.ReplaceFunc,
			"jsondecode": jsondecodeFunction(),
		},
	}
}

// quietFunctions fail with messages that repeat names, never contents.
var quietFunctions = []string{"env", "file", "hostname"}

func stringFunction(run func(arguments []string) (string, error), names ...string) *function.Spec {
	spec := &function.Spec{
		Type: function.StaticReturnType(cty.String),
		Impl: func(values []cty.Value, _ cty.Type) (cty.Value, error) {
			arguments := make([]string, len(values))
			for i, v := range values {
				arguments[i] = v.AsString()
			}
			text, err := run(arguments)
			return cty.StringVal(text), err
		},
	}
	for _, name := range names {
		spec.Params = append(spec.Params, function.Parameter{Name: name, Type: cty.String})
	}
	return spec
}

func envFunction() function.Function {
	spec := stringFunction(func(arguments []string) (string, error) {
		if len(arguments) > 2 {
			return "", fmt.Errorf("env takes a name and a default, not %d arguments", len(arguments))
		}
		if value, ok := os.LookupEnv(arguments[0]); ok {
			return value, nil
		}
		if len(arguments) == 2 {
			return arguments[1], nil
		}
		return "", fmt.Errorf("environment variable %s is not set, and there is no default: env(%q, \"\")", arguments[0], arguments[0])
	}, "name")
	spec.VarParam = &function.Parameter{Name: "default", Type: cty.String}
	return function.New(spec)
}

func fileFunction(baseDir string) function.Function {
	return function.New(stringFunction(func(arguments []string) (string, error) {
		path := arguments[0]
		if !filepath.IsAbs(path) {
			path = filepath.Join(baseDir, path)
		}
		// Opening a pipe would wait for somebody to write into it.
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return "", fmt.Errorf("%s is no regular file", arguments[0])
		}
		text, err := readBounded(path, maxInclude)
		if err != nil {
			return "", fmt.Errorf("%s: %w", arguments[0], reason(err))
		}
		if !utf8.Valid(text) {
			return "", fmt.Errorf("%s is not text in UTF-8", arguments[0])
		}
		return string(text), nil
	}, "path"))
}

// reason is err without the path, which the reader knows in another form.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func hostnameFunction() function.Function {
	return function.New(stringFunction(func([]string) (string, error) {
		return os.Hostname()
	}))
}

// wideVerb has a width or a precision that would fill the memory.
var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|\*)`)

func formatFunction() function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{{Name: "format", Type: cty.String}},
		VarParam: &function.Parameter{Name: "arguments", Type: cty.DynamicPseudoType, AllowNull: true},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(arguments []cty.Value, _ cty.Type) (cty.Value, error) {
			if wideVerb.MatchString(arguments[0].AsString()) {
				return cty.DynamicVal, function.NewArgErrorf(0, "a width has at most three digits")
			}
			return stdlib.FormatFunc.Call(arguments)
		},
	})
}

func jsondecodeFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}},
		Type: func(arguments []cty.Value) (cty.Type, error) {
			v, err := decodeJSON(arguments[0])
			return v.Type(), err
		},
		Impl: func(arguments []cty.Value, _ cty.Type) (cty.Value, error) { return decodeJSON(arguments[0]) },
	})
}

// decodeJSON is stdlib's, less numbers with more digits than the memory holds.
func decodeJSON(text cty.Value) (cty.Value, error) {
	v, err := stdlib.JSONDecode(text)
	if err != nil {
		return cty.DynamicVal, err
	}
	err = cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) {
		if v.Type() == cty.Number && v.IsKnown() && !v.IsNull() {
			if exponent := v.AsBigFloat().MantExp(nil); exponent > 4096 || exponent < -4096 {
				return false, fmt.Errorf("a number is out of range")
			}
		}
		return true, nil
	})
	if err != nil {
		return cty.DynamicVal, err
	}
	return v, nil
}

// hush takes what a failed expression's diagnostics say of values out of them,
// unless it speaks of names only.
func hush(name string, diags hcl.Diagnostics) {
	for i, d := range diags {
		if _, plain := d.Expression.(*hclsyntax.ScopeTraversalExpr); plain {
			continue
		}
		if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && slices.Contains(quietFunctions, call.CalledFunctionName()) {
			continue
		}
		clone := *d
		clone.Detail = fmt.Sprintf("The value of %q cannot be evaluated. Details are not shown, because the option is sensitive.", name)
		diags[i] = &clone
	}
}

// suggestQuotes says the likely thing of a word that is no variable: level = info.
func suggestQuotes(expr hcl.Expression, diags hcl.Diagnostics) {
	word := hcl.ExprAsKeyword(expr)
	if word == "" || len(diags) != 1 {
		return
	}
	clone := *diags[0]
	clone.Detail = fmt.Sprintf("There is no variable %q. Text stands in quotes: write \"%s\".", word, word)
	diags[0] = &clone
}
