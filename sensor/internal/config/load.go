package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/netmon-sensor/netmon/plugins"
)

// Files are the sources that were read, by name.
type Files map[string][]byte

// Error is mistakes in the config, with the sources to show them in.
type Error struct {
	Diags hcl.Diagnostics
	Files Files
}

// Error shows each mistake at its place.
func (e *Error) Error() string {
	return render(e.Files, e.Diags)
}

func render(files Files, diags hcl.Diagnostics) string {
	var text strings.Builder
	_ = plugins.WriteDiagnostics(&text, files, diags) // a Builder takes everything
	return strings.TrimRight(text.String(), "\n")
}

// Load reads the file at path, or every *.hcl of the directory at path as if they
// were one file. Warnings are ready to be printed, "" without any. The error is an
// *Error.
func Load(path string) (c *Config, warnings string, err error) {
	c, files, diags := Read(path)
	if diags.HasErrors() {
		return nil, "", &Error{diags, files}
	}
	return c, render(files, diags), nil
}

// maxFiles bounds a config directory.
const maxFiles = 256

// Read is Load for who wants the diagnostics themselves. The Config is nil where they
// have errors.
func Read(path string) (*Config, Files, hcl.Diagnostics) {
	files := Files{}
	paths, dir, err := configFiles(path)
	if err != nil {
		return nil, files, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Unreadable config", Detail: err.Error() + "."}}
	}
	var bodies []*hclsyntax.Body
	var diags hcl.Diagnostics
	for _, path := range paths {
		body, src, more := plugins.ReadHCL(path)
		if src != nil {
			files[path] = src
		}
		bodies = append(bodies, body)
		diags = append(diags, more...)
	}
	if diags.HasErrors() {
		return nil, files, diags
	}
	c, more := decode(bodies, files, dir)
	diags = append(diags, more...)
	plugins.SortDiagnostics(diags)
	if diags.HasErrors() {
		return nil, files, diags
	}
	return c, files, diags
}

// configFiles lists the files that path stands for and their directory.
func configFiles(path string) (paths []string, dir string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", err
	}
	if !info.IsDir() {
		dir, err = filepath.Abs(filepath.Dir(path))
		return []string{path}, dir, err
	}
	if dir, err = filepath.Abs(path); err != nil {
		return nil, "", err
	}
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return nil, "", err
	}
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && !strings.HasPrefix(name, ".") && filepath.Ext(name) == ".hcl" {
			paths = append(paths, filepath.Join(path, name))
		}
	}
	switch {
	case len(paths) == 0:
		return nil, "", fmt.Errorf("directory %s has no file *.hcl", path)
	case len(paths) > maxFiles:
		return nil, "", fmt.Errorf("directory %s has %d files *.hcl, and %d are the most", path, len(paths), maxFiles)
	}
	return paths, dir, nil
}

func decode(bodies []*hclsyntax.Body, files Files, dir string) (*Config, hcl.Diagnostics) {
	c := Default()
	c.Dir, c.bodies, c.files = dir, bodies, files
	ctx := plugins.EvalContext(dir)
	all := make([]hcl.Body, len(bodies))
	for i, body := range bodies {
		all[i] = body
	}
	diags := plugins.Locals(ctx, all...)

	parts := c.parts()
	var names []string
	for _, part := range parts {
		names = append(names, part.name)
	}
	blocks, more := plugins.TopBlocks(bodies, names, "exporter")
	diags = append(diags, more...)
	for _, part := range parts {
		for _, block := range blocks[part.name] {
			diags = append(diags, plugins.DecodeBlock(block.Body, ctx, part.into)...)
		}
	}
	for _, block := range blocks["sensor"] {
		if limit := block.Body.Attributes["memory_limit"]; limit != nil && c.Sensor.MemoryLimit > 0 {
			c.limitAt = new(limit.Expr.Range())
		}
	}
	c.Exporters, more = exporters(blocks["exporter"], ctx, files)
	diags = append(diags, more...)
	c.resolve()
	return &c, diags
}

// MemoryLimitError returns an *Error that points at sensor { memory_limit }.
func (c *Config) MemoryLimitError(detail string) error {
	const summary = "More memory than the limit"
	if c.limitAt == nil { // the Config was not read from a file
		return &Error{Diags: hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: detail}}}
	}
	return &Error{hcl.Diagnostics{mistake(*c.limitAt, summary, detail)}, c.files}
}

// resolve makes relative paths begin at the directory of the config.
func (c *Config) resolve() {
	c.Sensor.StateDir = c.path(c.Sensor.StateDir)
	c.Plugins.Directory = c.path(c.Plugins.Directory)
	if c.Log.Output != "stderr" && c.Log.Output != "stdout" {
		c.Log.Output = c.path(c.Log.Output)
	}
	for _, e := range c.Exporters {
		e.Command = c.path(e.Command)
	}
}

func (c *Config) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.Dir, p)
}
