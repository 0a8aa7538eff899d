package export

import (
	"os"
	"os/exec"
	"testing"
)

// TestProgramIsNotOverwritten executes a program by a descriptor that is next to the
// highest that the child is given, with lower ones free: there the child would move
// its pipe.
func TestProgramIsNotOverwritten(t *testing.T) {
	open := func() *os.File {
		t.Helper()
		f, err := os.Open("/bin/true")
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	free := []*os.File{open(), open(), open(), open(), open(), open()}
	output, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	program := open()
	defer program.Close()
	closeAll(free)
	if output, err = above(output, program); err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd := &exec.Cmd{Path: executable(program, ""), Args: []string{"true"}, Stdout: output}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}
