package plugins

import (
	"cmp"
	"flag"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// A Manual is a page for man(1) in the making, in the language mdoc(7).
type Manual struct {
	text strings.Builder
}

// NewManual begins the page name(section); about says in a line what it is of.
func NewManual(name, section, about string) *Manual {
	m := &Manual{}
	m.macro("Dd", revisionDay())
	m.call("Dt " + strings.ToUpper(name) + " " + section)
	m.call("Os")
	m.Section("NAME")
	m.macro("Nm", name)
	m.macro("Nd", strings.TrimSuffix(about, "."))
	return m
}

func (m *Manual) String() string { return m.text.String() }

// revisionDay is the day of the commit that the program was built from, else today.
func revisionDay() string {
	at := time.Now()
	if _, text, found := strings.Cut(revision, " "); found {
		if t, err := time.Parse(time.RFC3339, strings.Fields(text)[0]); err == nil {
			at = t
		}
	}
	return at.UTC().Format("January 2, 2006")
}

// macro writes a line of a macro with its arguments as they are.
func (m *Manual) macro(name string, args ...string) {
	m.text.WriteString("." + name)
	for _, a := range args {
		a = strings.NewReplacer(`\`, `\e`, `"`, `\(dq`, "()", `\&()`).Replace(a)
		switch {
		case a == "" || name != "Dd" && strings.ContainsAny(a, " \t"):
			a = `"` + a + `"`
		case utf8.RuneCountInString(a) == 1 || len(a) == 2:
			a = `\&` + a // neither punctuation nor a macro
		}
		m.text.WriteString(" " + a)
	}
	m.text.WriteByte('\n')
}

// call writes a line of macros, which are not escaped.
func (m *Manual) call(line string) { m.text.WriteString("." + line + "\n") }

// Section begins a section.
func (m *Manual) Section(title string) { m.macro("Sh", title) }

// Part begins a part of a section.
func (m *Manual) Part(title string) { m.macro("Ss", title) }

// lineWidth is how long lines of the source become.
const lineWidth = 76

// Text writes paragraphs, between which are empty lines.
func (m *Manual) Text(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			m.call("Pp")
		}
		m.words(paragraph)
	}
}

// words writes text in short lines, of which each sentence begins one.
func (m *Manual) words(text string) {
	line := ""
	end := func() {
		if line != "" {
			if line[0] == '.' || line[0] == '\'' {
				line = `\&` + line
			}
			m.text.WriteString(line + "\n")
		}
		line = ""
	}
	for word := range strings.FieldsSeq(text) {
		word = strings.NewReplacer(`\`, `\e`, "()", `\&()`).Replace(word) // no function of C
		if line != "" && len(line)+1+len(word) > lineWidth {
			end()
		}
		line = strings.TrimSpace(line + " " + word)
		if bare := strings.TrimRight(word, `)"'`); strings.HasSuffix(bare, ".") && bare != "..." || strings.HasSuffix(bare, "!") || strings.HasSuffix(bare, "?") {
			end()
		}
	}
	end()
}

// Synopsis writes forms of a command line: flags begin with a hyphen, what stands for
// something is in capitals.
func (m *Manual) Synopsis(forms ...string) {
	m.Section("SYNOPSIS")
	for _, form := range forms {
		m.call("Nm")
		m.call(formOf(form))
	}
}

// Form writes one form of a command line of a program on a line of its own.
func (m *Manual) Form(program, form string) {
	m.call("D1 Nm " + program + " " + formOf(form))
}

// formOf is a form of a command line in macros.
func formOf(form string) string {
	var out []string
	for word := range strings.FieldsSeq(form) {
		for strings.HasPrefix(word, "[") {
			out, word = append(out, "Oo"), word[1:]
		}
		closing := strings.Count(word, "]")
		word, more := strings.CutSuffix(strings.TrimRight(word, "]"), "...")
		switch {
		case word == "|":
			out = append(out, "|")
		case strings.HasPrefix(word, "-"):
			out = append(out, "Fl", word[1:])
		case word == strings.ToUpper(word):
			out = append(out, "Ar", word)
		default:
			out = append(out, "Cm", word)
		}
		if more {
			out = append(out, "...")
		}
		for range closing {
			out = append(out, "Oc")
		}
	}
	return strings.Join(out, " ")
}

// List begins a list, Item adds to it, EndList ends it.
func (m *Manual) List()    { m.call("Bl -tag -width Ds") }
func (m *Manual) EndList() { m.call("El") }
func (m *Manual) Item(tag, text string) {
	m.macro("It", tag)
	m.Text(text)
}

// Flags lists the flags of a set with their values and defaults.
func (m *Manual) Flags(set *flag.FlagSet) {
	any := false
	set.VisitAll(func(f *flag.Flag) {
		if !any {
			m.List()
			any = true
		}
		value, usage := flag.UnquoteUsage(f)
		line := "It Fl " + f.Name
		if value != "" {
			line += " Ar " + strings.ReplaceAll(value, " ", "-")
		}
		m.call(line)
		if d := f.DefValue; d != "" && d != "false" && d != "0" {
			usage += fmt.Sprintf(" (default %s)", d)
		}
		m.Text(usage + ".")
	})
	if any {
		m.EndList()
	}
}

// Code writes lines as they are.
func (m *Manual) Code(text string) {
	m.call("Bd -literal -offset indent")
	for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
		line = strings.ReplaceAll(line, `\`, `\e`)
		if line[0] == '.' || line[0] == '\'' {
			line = `\&` + line
		}
		m.text.WriteString(line)
	}
	m.call("Ed")
}

// Block lists the options of a block of the configuration, and of those inside it.
func (m *Manual) Block(s Section) {
	if s.Repeated {
		s.Text += " May be given more than once."
	}
	if s.Text = strings.TrimSpace(s.Text); s.Text != "" {
		m.Text(s.Text)
	}
	if len(s.Options)+len(s.Blocks) == 0 {
		return
	}
	m.List()
	for _, o := range s.Options {
		tag := o.Name
		if o.Default != "" {
			tag += " = " + o.Default
		}
		m.Item(tag, cmp.Or(o.describe(), "Of type "+o.Type+"."))
	}
	for _, inner := range s.Blocks {
		m.macro("It", inner.Head+" { ... }")
		m.Block(inner)
	}
	m.EndList()
}

var pageName = regexp.MustCompile(`^(.+)\((\d)\)$`)

// See ends the page with other pages, "netmon.hcl(5)", in the order of sections.
func (m *Manual) See(pages ...string) {
	m.Section("SEE ALSO")
	for i, page := range pages {
		part := pageName.FindStringSubmatch(page)
		comma := ","
		if i == len(pages)-1 {
			comma = ""
		}
		m.call(strings.TrimSpace(fmt.Sprintf("Xr %s %s %s", part[1], part[2], comma)))
	}
}

// manualOf is the page of an exporter.
func manualOf(p Plugin) string {
	name := "netmon-exporter-" + p.Type
	m := NewManual(name, "8", p.Summary)
	forms := []string{"-man | -version"}
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	if p.Flags != nil {
		p.Flags(set)
		forms = append([]string{"-config FILE"}, forms...)
	}
	m.Synopsis(forms...)
	m.Section("DESCRIPTION")
	m.call("Nm")
	m.words(p.Summary + ".")
	m.call("Pp")
	m.words(fmt.Sprintf("netmon-sensor(8) starts it, without any privilege, where the configuration has a block exporter %q, and sends it a window of counters every few seconds.", p.Type))
	if p.About != "" {
		m.call("Pp")
		m.Text(p.About)
	}
	if p.Flags != nil {
		m.Section("OPTIONS")
		m.Flags(set)
	}
	m.Section("CONFIGURATION")
	if schema, err := Schema(p.New().Config()); err == nil {
		s := Explain(fmt.Sprintf("exporter %q", p.Type), schema)
		m.Text(fmt.Sprintf("In the block %s, beside the options that every exporter has (netmon.hcl(5)):", s.Head))
		m.Block(s)
	}
	m.Section("EXIT STATUS")
	m.Text("0 after an end that was asked for, 1 after a failure, 2 for a mistake in command line or configuration.")
	m.See("netmon.hcl(5)", "netmon-sensor(8)")
	return m.String()
}
