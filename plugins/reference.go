package plugins

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// A Section is a block of a configuration in words, for every page that lists options.
type Section struct {
	Head     string // how the block begins: exporter "push", storage "TYPE"
	Text     string // one line, may be empty
	Repeated bool   // whether it may be given more than once
	Options  []Option
	Blocks   []Section // inside it
}

// An Option is an option in words.
type Option struct {
	Name, Text string   // one line each
	Type       string   // "duration", "list of strings"
	Default    string   // as HCL; "" where the option is required
	Enum       []string // all that it may be, where that is a choice
	Min, Max   string   // "" for no bound
	Required   bool
	Sensitive  bool // its value is never printed
}

// Explain puts the options of a block into words. head is how the block begins. The
// label of a block stands in its head, in capitals, and among its options where there
// is more to say of it than that it is needed.
func Explain(head string, b *netmonpb.Block) Section {
	s := Section{Head: head, Text: oneLine(b.GetDescription())}
	for _, a := range b.GetAttributes() {
		s.Options = append(s.Options, explainOption(a))
	}
	for _, n := range b.GetBlocks() {
		head := n.Type
		if n.Label != "" {
			head += ` "` + strings.ToUpper(n.Label) + `"`
		}
		inner := Explain(head, n.Block)
		inner.Repeated = n.Repeated
		for i := range inner.Options {
			if inner.Options[i].Name == n.Label {
				inner.Options[i].Name = strings.ToUpper(n.Label)
			}
		}
		s.Blocks = append(s.Blocks, inner)
	}
	return s
}

// Reference writes a section as the configuration that has all options with their
// defaults, each with what it is and may be.
func Reference(s Section) string {
	var w strings.Builder
	writeReference(&w, "", s)
	return w.String()
}

func writeReference(w *strings.Builder, indent string, s Section) {
	inner := indent + "  "
	if s.Text != "" {
		fmt.Fprintf(w, "%s# %s\n", indent, s.Text)
	}
	if s.Repeated {
		fmt.Fprintf(w, "%s# May be given more than once.\n", indent)
	}
	fmt.Fprintf(w, "%s%s {\n", indent, s.Head)
	for _, o := range s.Options {
		if o.Name == strings.ToUpper(o.Name) { // it is in the head
			fmt.Fprintf(w, "%s# %s: %s\n", inner, o.Name, o.describe())
			continue
		}
		value := o.Default
		if value == "" {
			value = "null"
		}
		fmt.Fprintf(w, "%s# %s\n%s%s = %s\n", inner, o.describe(), inner, o.Name, value)
	}
	for _, block := range s.Blocks {
		w.WriteByte('\n')
		writeReference(w, inner, block)
	}
	fmt.Fprintf(w, "%s}\n", indent)
}

// describe is what an option is, then what it may be.
func (o Option) describe() string {
	parts := []string{o.Text}
	if len(o.Enum) > 0 {
		parts = append(parts, "One of "+strings.Join(o.Enum, ", ")+".")
	}
	switch {
	case o.Min != "" && o.Max != "":
		parts = append(parts, fmt.Sprintf("From %s to %s.", o.Min, o.Max))
	case o.Min != "":
		parts = append(parts, fmt.Sprintf("At least %s.", o.Min))
	case o.Max != "":
		parts = append(parts, fmt.Sprintf("At most %s.", o.Max))
	}
	if o.Required {
		parts = append(parts, "Required.")
	}
	if o.Sensitive {
		parts = append(parts, "Never printed.")
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

func explainOption(a *netmonpb.Attribute) Option {
	bound := func(v *float64) string {
		switch {
		case v == nil:
			return ""
		case a.Format == netmonpb.Format_FORMAT_DURATION:
			return shortDuration(time.Duration(*v * float64(time.Second)))
		case a.Format == netmonpb.Format_FORMAT_BYTES:
			return Bytes(*v).String()
		}
		return fmt.Sprintf("%.0f", *v)
	}
	o := Option{
		Name: a.Name, Text: oneLine(a.Description), Type: typeOf(a), Enum: a.EnumValues, Min: bound(a.Minimum), Max: bound(a.Maximum),
		Required: a.Required, Sensitive: a.Sensitive,
	}
	if !a.Required {
		o.Default = defaultOf(a)
	}
	return o
}

// typeOf is a type in words, after the format where there is one.
func typeOf(a *netmonpb.Attribute) string {
	var of [2]string
	if json.Unmarshal([]byte(a.Type), &of[1]) != nil && json.Unmarshal([]byte(a.Type), &of) != nil {
		return a.Type
	}
	kind := of[1]
	switch a.Format {
	case netmonpb.Format_FORMAT_DURATION:
		kind = "duration"
	case netmonpb.Format_FORMAT_BYTES:
		kind = "size"
	case netmonpb.Format_FORMAT_LISTEN_ADDRESS:
		kind = "address"
	case netmonpb.Format_FORMAT_URL:
		kind = "URL"
	case netmonpb.Format_FORMAT_PATH:
		kind = "path"
	case netmonpb.Format_FORMAT_CIDR:
		kind = "network"
	}
	if of[0] == "" {
		return kind
	}
	if kind == "address" {
		kind += "e"
	}
	return of[0] + " of " + kind + "s"
}

// shortDuration is "1h" where Go says "1h0m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// defaultOf is the default as HCL, which writes such values as JSON does.
func defaultOf(a *netmonpb.Attribute) string {
	var v any
	if a.DefaultJson == "" || json.Unmarshal([]byte(a.DefaultJson), &v) != nil || v == nil {
		return "null"
	}
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(a.DefaultJson)
}

// oneLine keeps what a plugin says of itself from being anything but a comment.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 }), " ")
}
