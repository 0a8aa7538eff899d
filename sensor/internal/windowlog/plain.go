package windowlog

import (
	"errors"
	"os"
	"syscall"
)

// openPlain opens a file of the log's directory, which somebody else may write when
// root opens it. A link is not followed, and root takes no file of its own that has
// another name, for that may be any file of the machine's.
func openPlain(path string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode)
	if errors.Is(err, syscall.ELOOP) {
		return nil, &os.PathError{Op: "open", Path: path, Err: errors.New("it is a symbolic link, which is not followed")}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("it is no ordinary file")}
	}
	if err == nil {
		if st := info.Sys().(*syscall.Stat_t); st.Nlink > 1 && st.Uid == 0 && os.Geteuid() == 0 {
			err = &os.PathError{Op: "open", Path: path, Err: errors.New("it is a hard link, and root's: remove it if it is none of the sensor's")}
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
