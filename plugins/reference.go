package plugins

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Reference writes the options of a block as the configuration that has all of
// them with their defaults, each with what it is and may be. head is how the block
// begins, `exporter "push"`.
func Reference(head string, b *netmonpb.Block) string {
	var w strings.Builder
	writeReference(&w, "", head, "", b)
	return w.String()
}

func writeReference(w *strings.Builder, indent, head, label string, b *netmonpb.Block) {
	fmt.Fprintf(w, "%s%s {\n", indent, head)
	inner := indent + "  "
	for _, a := range b.Attributes {
		if a.Name == label {
			continue // it is in the head
		}
		fmt.Fprintf(w, "%s# %s\n%s%s = %s\n", inner, describe(a), inner, a.Name, defaultOf(a))
	}
	for _, n := range b.Blocks {
		head := n.Type
		if n.Label != "" {
			head += ` "` + n.Label + `"`
		}
		w.WriteByte('\n')
		if text := oneLine(n.Block.Description); text != "" {
			fmt.Fprintf(w, "%s# %s\n", inner, text)
		}
		if n.Repeated {
			fmt.Fprintf(w, "%s# May be given more than once.\n", inner)
		}
		writeReference(w, inner, head, n.Label, n.Block)
	}
	fmt.Fprintf(w, "%s}\n", indent)
}

// describe is what an option is, then what it may be.
func describe(a *netmonpb.Attribute) string {
	parts := []string{oneLine(a.Description)}
	if len(a.EnumValues) > 0 {
		parts = append(parts, "One of "+strings.Join(a.EnumValues, ", ")+".")
	}
	bound := func(v float64) string {
		switch a.Format {
		case netmonpb.Format_FORMAT_DURATION:
			return shortDuration(time.Duration(v * float64(time.Second)))
		case netmonpb.Format_FORMAT_BYTES:
			return Bytes(v).String()
		}
		return fmt.Sprintf("%.0f", v)
	}
	switch {
	case a.Minimum != nil && a.Maximum != nil:
		parts = append(parts, fmt.Sprintf("From %s to %s.", bound(*a.Minimum), bound(*a.Maximum)))
	case a.Minimum != nil:
		parts = append(parts, fmt.Sprintf("At least %s.", bound(*a.Minimum)))
	case a.Maximum != nil:
		parts = append(parts, fmt.Sprintf("At most %s.", bound(*a.Maximum)))
	}
	if a.Required {
		parts = append(parts, "Required.")
	}
	if a.Sensitive {
		parts = append(parts, "Never printed.")
	}
	return strings.TrimSpace(strings.Join(parts, " "))
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
