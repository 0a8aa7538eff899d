package capture

import (
	"errors"

	"golang.org/x/net/bpf"
)

// maxProgram is BPF_MAXINSNS: the kernel refuses longer programs.
const maxProgram = 4096

var errTooLong = errors.New("filter has more instructions than the kernel takes")

// label is a place in a program. Jumps only go forward, so a label is used
// first and placed later; next is the instruction that follows the jump.
type label int

const next label = 0

// assembler writes classic BPF with labels for jump targets.
type assembler struct {
	items  []item
	places []int // of labels, as an index into items; places[0] is not used
}

// item is an instruction, or a branch where test is set, or a plain jump.
type item struct {
	plain    bpf.Instruction // nil: a branch
	cond     bpf.JumpTest
	value    uint32
	useX     bool // compare with X, not value
	always   bool // to yes
	yes, no  label
	far      bool // targets do not fit 8 bits
	at, size int  // in instructions, when placed
}

func newAssembler() *assembler { return &assembler{places: []int{-1}} }

func (a *assembler) label() label {
	a.places = append(a.places, -1)
	return label(len(a.places) - 1)
}

func (a *assembler) place(l label) { a.places[l] = len(a.items) }

func (a *assembler) emit(ins ...bpf.Instruction) {
	for _, in := range ins {
		a.items = append(a.items, item{plain: in, size: 1})
	}
}

// branch goes to yes where the accumulator passes the test, else to no.
func (a *assembler) branch(cond bpf.JumpTest, value uint32, yes, no label) {
	a.items = append(a.items, item{cond: cond, value: value, yes: yes, no: no, size: 1})
}

// branchX compares the accumulator with X.
func (a *assembler) branchX(cond bpf.JumpTest, yes, no label) {
	a.items = append(a.items, item{cond: cond, useX: true, yes: yes, no: no, size: 1})
}

func (a *assembler) jump(to label) {
	a.items = append(a.items, item{always: true, yes: to, size: 1})
}

// oneOf goes to yes where the accumulator is one of the values, else on.
func (a *assembler) oneOf(yes label, values ...uint32) {
	for _, v := range values {
		a.branch(bpf.JumpEqual, v, yes, next)
	}
}

// near is how many spans are tested by branches that reach both labels.
const near = 32

// in goes to yes where the accumulator lies in one of the spans, else to no, by
// halving: n spans cost about log2(n) + 2 comparisons and 2n instructions.
func (a *assembler) in(s spans, yes, no label) { a.inside(s, 0, yes, no, false) }

func (a *assembler) inside(s spans, least uint32, yes, no label, local bool) {
	if len(s) <= near && !local {
		here, there := a.label(), a.label()
		a.inside(s, least, here, there, true)
		a.place(here)
		a.jump(yes)
		a.place(there)
		a.jump(no)
		return
	}
	switch len(s) {
	case 0:
		a.jump(no)
	case 1:
		if s[0].lo == s[0].hi {
			a.branch(bpf.JumpEqual, s[0].lo, yes, no)
			return
		}
		if s[0].lo > least {
			a.branch(bpf.JumpLessThan, s[0].lo, no, next)
		}
		a.branch(bpf.JumpGreaterThan, s[0].hi, no, yes)
	default:
		mid, upper := len(s)/2, a.label()
		a.branch(bpf.JumpGreaterOrEqual, s[mid].lo, upper, next)
		a.inside(s[:mid], least, yes, no, local)
		a.place(upper)
		a.inside(s[mid:], s[mid].lo, yes, no, local)
	}
}

// program resolves the labels.
func (a *assembler) program() ([]bpf.Instruction, error) {
	for a.layout() {
	}
	var out []bpf.Instruction
	for i := range a.items {
		it := &a.items[i]
		yes, no := a.skip(it, it.yes), a.skip(it, it.no)
		switch {
		case it.plain != nil:
			out = append(out, it.plain)
		case it.always:
			out = append(out, bpf.Jump{Skip: uint32(yes)})
		case !it.far && it.useX:
			out = append(out, bpf.JumpIfX{Cond: it.cond, SkipTrue: uint8(yes), SkipFalse: uint8(no)})
		case !it.far:
			out = append(out, bpf.JumpIf{Cond: it.cond, Val: it.value, SkipTrue: uint8(yes), SkipFalse: uint8(no)})
		default: // over two long jumps, of which one is taken
			if it.useX {
				out = append(out, bpf.JumpIfX{Cond: it.cond, SkipFalse: 1})
			} else {
				out = append(out, bpf.JumpIf{Cond: it.cond, Val: it.value, SkipFalse: 1})
			}
			out = append(out, bpf.Jump{Skip: uint32(yes - 1)}, bpf.Jump{Skip: uint32(max(no-2, 0))})
		}
	}
	if len(out) > maxProgram {
		return nil, errTooLong
	}
	return out, nil
}

// layout places every item and makes room for long jumps; it returns whether
// that moved anything.
func (a *assembler) layout() (moved bool) {
	at := 0
	for i := range a.items {
		a.items[i].at = at
		at += a.items[i].size
	}
	for i := range a.items {
		it := &a.items[i]
		if it.plain != nil || it.always || it.far {
			continue
		}
		if a.skip(it, it.yes) > 255 || a.skip(it, it.no) > 255 {
			it.far, it.size, moved = true, 3, true
		}
	}
	return moved
}

// skip is how many instructions lie between the first of it and l. For a far
// branch next is past its own jumps.
func (a *assembler) skip(it *item, l label) int {
	if l == next {
		return it.size - 1
	}
	return a.items[a.places[l]].at - it.at - 1
}
