package sensor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/importyaml"
)

// maxConfig bounds what is read of a configuration file.
const maxConfig = 1 << 20

// Format lays out the configuration files at paths, or standard input for "-"
// alone, and names those it changed on out. With check nothing is written and a
// file that would change is an error.
func Format(paths []string, check bool, in io.Reader, out io.Writer) error {
	var errs []error
	for _, path := range paths {
		if path == "-" {
			src, err := readAll(in)
			if err == nil {
				src, err = config.Format("<stdin>", src)
			}
			if err == nil {
				_, err = out.Write(src)
			}
			errs = append(errs, inConfig(err))
			continue
		}
		changed, err := formatFile(path, check)
		if err == nil && changed {
			fmt.Fprintln(out, path)
			if check {
				err = fmt.Errorf("%s is not laid out as netmon-sensor fmt does it", path)
			}
		}
		errs = append(errs, inConfig(err))
	}
	return errors.Join(errs...)
}

func formatFile(path string, check bool) (changed bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	src, err := readAll(f)
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	laid, err := config.Format(path, src)
	if err != nil || bytes.Equal(laid, src) || check {
		return err == nil && !bytes.Equal(laid, src), err
	}
	return true, replaceFile(path, laid)
}

// replaceFile writes a file in one step, with the rights of the one before.
func replaceFile(path string, text []byte) error {
	old, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already where all went well
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(old.Mode().Perm()), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxConfig+1))
	if err == nil && len(text) > maxConfig {
		err = fmt.Errorf("more than %d bytes", maxConfig)
	}
	return text, err
}

// ImportYAML converts a configuration file of go-net-monitoring and prints netmon's
// on out. What has no option of its own is said on notes.
func ImportYAML(path string, out, notes io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return inConfig(err)
	}
	defer f.Close()
	text, err := readAll(f)
	if err != nil {
		return inConfig(fmt.Errorf("%s: %w", path, err))
	}
	r, err := importyaml.Convert(path, text)
	if err != nil {
		return inConfig(err)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(notes, strings.ReplaceAll(n, "\n", "\n    "))
	}
	laid, err := config.Format("<converted>", []byte(r.HCL))
	if err != nil {
		return fmt.Errorf("%s was converted into something that is no HCL: %w", path, err)
	}
	use := "netmon-sensor -config netmon.hcl"
	if r.Kind == "server" {
		use = "netmon-exporter-server -config server.hcl"
	}
	_, err = fmt.Fprintf(out, "# Made from %s. For: %s\n\n%s", filepath.Base(path), use, laid)
	return err
}

// inConfig makes an error one that ends the program as a mistake in a
// configuration does.
func inConfig(err error) error {
	if err == nil {
		return nil
	}
	return configError{err}
}
