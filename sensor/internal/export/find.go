package export

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
)

// Find returns the program of an exporter type: command where it is set, else
// netmon-exporter-TYPE in the first of dirs that has it. It refuses a file that
// somebody else could have put there or may change.
func Find(exporterType, command string, dirs []string) (string, error) {
	if command != "" {
		path, err := filepath.Abs(command)
		if err != nil {
			return "", fmt.Errorf("exporter %q: command %s: %w", exporterType, command, err)
		}
		return path, inspect(path)
	}
	if exporterType == "" || strings.ContainsAny(exporterType, "/\x00") {
		return "", fmt.Errorf("exporter type %q is no part of a file name", exporterType)
	}
	program := prefix + exporterType
	for _, dir := range dirs {
		path := filepath.Join(dir, program)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return path, inspect(path)
	}
	return "", fmt.Errorf("exporter %q: no program %s in %s; install it there, or set command", exporterType, program, strings.Join(dirs, ", "))
}

// inspect says why the program at path must not be run.
func inspect(path string) error {
	if err := inspectFile(path, path); err != nil {
		return err
	}
	if err := Writable(path, owners()); err != nil {
		return fmt.Errorf("plugin %s could be replaced: %w", path, err)
	}
	return nil
}

// CheckDirectory says why others could put plugins into dir, nil where they cannot.
func CheckDirectory(dir string) error {
	if err := Writable(dir, owners()); err != nil {
		return fmt.Errorf("plugins in %s could be replaced: %w", dir, err)
	}
	return nil
}

// owners are the users, besides root, that plugins and their folders may belong to;
// nil for any.
func owners() []int {
	if os.Geteuid() != 0 {
		return nil
	}
	return []int{ownUser()}
}

// inspectFile says why what is at place must not be run; it is called path. The
// kernel follows symbolic links, so their target counts.
func inspectFile(path, place string) error {
	info, err := os.Stat(place)
	if err != nil {
		return fmt.Errorf("plugin %s: %w", path, errors.Unwrap(err))
	}
	mode := info.Mode()
	switch {
	case mode.IsDir():
		return fmt.Errorf("plugin %s is a directory, not a program", path)
	case !mode.IsRegular():
		return fmt.Errorf("plugin %s is not a regular file", path)
	case mode&0o111 == 0:
		return fmt.Errorf("plugin %s is not executable: chmod +x it", path)
	case mode&0o022 != 0:
		return fmt.Errorf("plugin %s may be changed by others (mode %v): chmod go-w it", path, mode.Perm())
	}
	if uid, _ := owner(info); os.Geteuid() == 0 && uid != 0 && uid != ownUser() {
		return fmt.Errorf("plugin %s belongs to user %d, who could change what root runs: chown it to root", path, uid)
	}
	return nil
}

// verify compares the file at place, which is called path, with its checksum, "sha256:" and hexadecimal digits.
// The value that go-plugin compares with is used up by one comparison, hence a
// new one at every start.
func verify(path, place, checksum string) error {
	if checksum == "" {
		return nil
	}
	digits, ok := strings.CutPrefix(checksum, "sha256:")
	want, err := hex.DecodeString(digits)
	if !ok || err != nil || len(want) != sha256.Size {
		return fmt.Errorf("checksum %q of plugin %s: want sha256: and 64 hexadecimal digits", checksum, path)
	}
	hash := sha256.New()
	secure := goplugin.SecureConfig{Checksum: want, Hash: hash}
	switch same, err := secure.Check(place); {
	case err != nil:
		return fmt.Errorf("checksum of plugin %s: %w", path, err)
	case !same:
		return fmt.Errorf("plugin %s is not the file its checksum is of: it has sha256:%x", path, hash.Sum(nil))
	}
	return nil
}

// ownUser is whom the sensor's own program belongs to. Who may change that may
// as well change its plugins: a tree built by a user and started with sudo works.
func ownUser() int {
	if self, err := os.Executable(); err == nil {
		if info, err := os.Stat(self); err == nil {
			uid, _ := owner(info)
			return uid
		}
	}
	return 0
}
