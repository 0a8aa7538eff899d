package main

import (
	"flag"
	"fmt"
	"strings"
)

// An option is a flag of a verb, in words.
type option struct {
	name, value, usage, byDefault string
	words                         []string // that the value may be
	files                         bool     // the value is one
}

// options are the flags of the verb by their names.
func (v *verb) options() (out []option) {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	v.define(set)
	set.VisitAll(func(f *flag.Flag) {
		o := option{name: f.Name, byDefault: f.DefValue}
		o.value, o.usage = flag.UnquoteUsage(f)
		o.files = o.value == "file"
		if c, ok := f.Value.(choice); ok {
			o.words = c.words
		}
		out = append(out, o)
	})
	return out
}

func optionNames(options []option) string {
	var names []string
	for _, o := range options {
		names = append(names, o.name)
	}
	return strings.Join(names, " ")
}

// completions are the scripts by their shells.
func completions() map[string]func() string {
	return map[string]func() string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
}

func shells() []string { return []string{"bash", "zsh", "fish"} }

func runCompletion(c *invocation) int {
	script := completions()[c.args[0]]
	if script == nil {
		fmt.Fprintf(c.stderr, "netmon-sensor completion: %q is not one of %s\n", c.args[0], strings.Join(shells(), ", "))
		return exitUsage
	}
	fmt.Fprint(c.stdout, script())
	return exitFine
}

// verbNames are those of the commands, without the program itself.
func verbNames() (names []string) {
	for _, v := range commands() {
		if v.name != "" {
			names = append(names, v.name)
		}
	}
	return names
}

func bashCompletion() string {
	var values, flags, operands strings.Builder
	for _, v := range commands() {
		options := v.options()
		fmt.Fprintf(&flags, "\t%s) flags=%s ;;\n", quoteShell(v.name), quoteShell(optionNames(options)))
		switch {
		case v.name == "":
			fmt.Fprintf(&operands, "\t'') [[ $COMP_CWORD -gt 1 ]] || words=%s ;;\n", quoteShell(strings.Join(verbNames(), " ")))
		case v.files:
			fmt.Fprintf(&operands, "\t%s) files=1 ;;\n", v.name)
		case v.words != nil:
			fmt.Fprintf(&operands, "\t%s) words=%s ;;\n", v.name, quoteShell(strings.Join(v.words, " ")))
		}
		for _, o := range options {
			switch {
			case o.files:
				fmt.Fprintf(&values, "\t'%s -%s') files=1 ;;\n", v.name, o.name)
			case o.words != nil:
				fmt.Fprintf(&values, "\t'%s -%s') words=%s ;;\n", v.name, o.name, quoteShell(strings.Join(o.words, " ")))
			case o.value != "":
				fmt.Fprintf(&values, "\t'%s -%s') return ;;\n", v.name, o.name)
			}
		}
	}
	return fmt.Sprintf(`# bash completion for netmon-sensor, written by netmon-sensor completion bash
_netmon_sensor() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb='' flags='' words='' files='' dash=-
	COMPREPLY=()
	case $cur:$prev in # -flag=value comes in three words
	=:*) cur='' ;;
	*:=) prev=${COMP_WORDS[COMP_CWORD-2]} ;;
	esac
	[[ $COMP_CWORD -le 1 ]] || case ${COMP_WORDS[1]} in
	%s) verb=${COMP_WORDS[1]} ;;
	esac
	[[ $prev != --* ]] || prev=${prev#-}
	case "$verb $prev" in
%s	*) case $cur in
		--*) dash=-- cur=${cur#--} ;;
		-*) cur=${cur#-} ;;
		*) dash='' ;;
		esac ;;
	esac
	if [[ -z $files$words && -n $dash ]]; then
		case $verb in
%s		esac
		mapfile -t COMPREPLY < <(compgen -P "$dash" -W "$flags" -- "$cur")
		return
	fi
	[[ -n $files$words ]] || case $verb in
%s	esac
	if [[ -n $files ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	fi
}
complete -F _netmon_sensor netmon-sensor
`, strings.Join(verbNames(), "|"), values.String(), strings.ReplaceAll(flags.String(), "\t", "\t\t"), operands.String())
}

// quoteShell is a word for any shell.
func quoteShell(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// inZsh is text for a description of _arguments and _describe.
var inZsh = strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`)

func zshCompletion() string {
	arguments := func(v *verb, more string) string {
		var w strings.Builder
		w.WriteString("_arguments -S")
		for _, o := range v.options() {
			spec := fmt.Sprintf("-%s[%s]", o.name, inZsh.Replace(o.usage))
			switch {
			case o.files:
				spec += ":file:_files"
			case o.words != nil:
				spec += fmt.Sprintf(":%s:(%s)", inZsh.Replace(o.value), strings.Join(o.words, " "))
			case o.value != "":
				spec += fmt.Sprintf(":%s: ", inZsh.Replace(o.value))
			}
			w.WriteString(" \\\n\t\t\t" + quoteShell(spec))
		}
		return w.String() + more
	}
	var verbs, cases strings.Builder
	all := commands()
	for i := range all {
		v := &all[i]
		if v.name == "" {
			continue
		}
		fmt.Fprintf(&verbs, "\t\t%s\n", quoteShell(v.name+":"+inZsh.Replace(v.about)))
		more := ""
		switch {
		case v.files:
			more = " \\\n\t\t\t'*:file:_files'"
		case v.words != nil:
			more = fmt.Sprintf(" \\\n\t\t\t'1:what:(%s)'", strings.Join(v.words, " "))
		}
		fmt.Fprintf(&cases, "\t\t%s) %s ;;\n", v.name, arguments(v, more))
	}
	return fmt.Sprintf(`#compdef netmon-sensor
# zsh completion for netmon-sensor, written by netmon-sensor completion zsh
_netmon-sensor() {
	local -a verbs=(
%s	)
	if (( CURRENT > 2 )) && [[ $words[2] == (%s) ]]; then
		shift words
		(( CURRENT-- ))
		case $words[1] in
%s		esac
	else
		%s
	fi
}
if [[ $funcstack[1] == _netmon-sensor ]]; then # autoloaded, not sourced
	_netmon-sensor "$@"
else
	compdef _netmon-sensor netmon-sensor
fi
`, verbs.String(), strings.Join(verbNames(), "|"), cases.String(), arguments(&all[0], " \\\n\t\t\t'1:command:{ _describe command verbs }'"))
}

func fishCompletion() string {
	var w strings.Builder
	w.WriteString("# fish completion for netmon-sensor, written by netmon-sensor completion fish\ncomplete -c netmon-sensor -f\n")
	for _, v := range commands() {
		when := "__fish_seen_subcommand_from " + v.name
		if v.name == "" {
			when = "not __fish_seen_subcommand_from " + strings.Join(verbNames(), " ")
		} else {
			fmt.Fprintf(&w, "complete -c netmon-sensor -n __fish_use_subcommand -a %s -d %s\n", v.name, quoteFish(v.about))
		}
		switch {
		case v.files:
			fmt.Fprintf(&w, "complete -c netmon-sensor -n %s -F\n", quoteFish(when))
		case v.words != nil:
			fmt.Fprintf(&w, "complete -c netmon-sensor -n %s -a %s\n", quoteFish(when+"; and not __fish_seen_subcommand_from "+strings.Join(v.words, " ")), quoteFish(strings.Join(v.words, " ")))
		}
		for _, o := range v.options() {
			value := ""
			switch {
			case o.files:
				value = " -r -F"
			case o.words != nil:
				value = " -x -a " + quoteFish(strings.Join(o.words, " "))
			case o.value != "":
				value = " -x"
			}
			fmt.Fprintf(&w, "complete -c netmon-sensor -n %s -o %s%s -d %s\n", quoteFish(when), o.name, value, quoteFish(o.usage))
		}
	}
	return w.String()
}

func quoteFish(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
