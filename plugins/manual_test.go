package plugins

import (
	"flag"
	"strings"
	"testing"
)

// TestManual puts into a page what roff would take for its own.
func TestManual(t *testing.T) {
	m := NewManual("p", "5", "A page.")
	m.Synopsis("-a [-b FILE...] | list", "Ar")
	m.Section("DESCRIPTION")
	m.Text(".Sh is no macro. 'tis so? A \\e and f() stay; so does { ... } here.\n\nTwo.")
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.String("x", "\"", "a `how many` of \\n")
	set.Bool("y", false, "yes")
	m.Flags(set)
	m.Item("It", "of it")
	m.Item(`a = "b c"`, "quoted")
	m.Code(".Sh\n'a\n\\n\n")
	m.Block(Section{Text: "Some.", Repeated: true, Options: []Option{{Name: "id", Default: `"x"`, Type: "string"}}, Blocks: []Section{{Head: "in"}}})
	m.See("a(5)", "b(8)")
	_, got, _ := strings.Cut(m.String(), "\n") // the day
	want := `.Dt P 5
.Os
.Sh NAME
.Nm \&p
.Nd "A page"
.Sh SYNOPSIS
.Nm
.Fl a Oo Fl b Ar FILE ... Oc | Cm list
.Nm
.Cm Ar
.Sh DESCRIPTION
\&.Sh is no macro.
\&'tis so?
A \ee and f\&() stay; so does { ... } here.
.Pp
Two.
.Bl -tag -width Ds
.It Fl x Ar how-many
a how many of \en (default ").
.It Fl y
yes.
.El
.It \&It
of it
.It "a = \(dqb c\(dq"
quoted
.Bd -literal -offset indent
\&.Sh
\&'a
\en
.Ed
Some.
May be given more than once.
.Bl -tag -width Ds
.It "id = \(dqx\(dq"
Of type string.
.It "in { ... }"
.El
.Sh "SEE ALSO"
.Xr a 5 ,
.Xr b 8
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
