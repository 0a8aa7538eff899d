package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format lays a configuration out in the usual way: two spaces for each level,
// equal signs below each other. Comments stay. The error is an *Error where src is
// no HCL.
func Format(name string, src []byte) ([]byte, error) {
	if _, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos); diags.HasErrors() {
		return nil, &Error{diags, Files{name: src}}
	}
	return hclwrite.Format(src), nil
}
