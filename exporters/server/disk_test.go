package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

const childFolder = "NETMON_TEST_DISK_FOLDER"

// TestDiskChild is no test but a process for TestDiskKilled: it applies windows, says
// so line by line, and never ends by itself.
func TestDiskChild(t *testing.T) {
	folder := os.Getenv(childFolder)
	if folder == "" {
		t.Skip("it is run by TestDiskKilled")
	}
	d, err := openDisk(folder, testLimits(), time.Now, createFile, hclog.NewNullLogger())
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for i := range 4 {
		go func() {
			id := fmt.Sprint("s", i)
			for n := watermarkOf(d, id) + 1; ; n++ {
				if n%5 == 0 {
					d.soon.Store(true)
				}
				if _, err := d.apply(t.Context(), windowOf(id, aLog, n)); err != nil {
					fmt.Println("error", err)
					return
				}
				fmt.Println(id, n)
			}
		}()
	}
	select {}
}

func watermarkOf(st store, id string) (n uint64) {
	st.read(func(s *state) {
		if one := s.sensor(id); one != nil {
			n = one.logs[0].watermark
		}
	})
	return n
}

// TestDiskKilled kills a server at any moment, again and again: what it has
// acknowledged is there, and what is there is a prefix. Meanwhile nobody else can
// use its folder.
func TestDiskKilled(t *testing.T) {
	folder := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 1))
	acknowledged := map[string]uint64{}
	for round := range 8 {
		child := exec.Command(os.Args[0], "-test.run=^TestDiskChild$", "-test.count=1")
		child.Env = append(os.Environ(), childFolder+"="+folder)
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		for left := 20 + rng.IntN(100); left > 0 && said.Scan(); left-- {
			note(t, said.Text(), acknowledged)
		}
		if _, err := openDisk(folder, testLimits(), time.Now, createFile, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), "in use by another server") {
			t.Errorf("a second server: %v", err)
		}
		_ = child.Process.Kill()
		for said.Scan() {
			note(t, said.Text(), acknowledged)
		}
		_ = child.Wait()
		d := diskAt(t, folder, testLimits(), createFile)
		var want uint64
		for id, n := range acknowledged {
			held := watermarkOf(d, id)
			if held < n {
				t.Errorf("round %d: %d windows of %s were acknowledged, and %d are held", round, n, id, held)
			}
			want += total(held)
		}
		wantTotal(t, serviceOn(d), want)
		d.die()
	}
	t.Logf("acknowledged: %v", acknowledged)
}

// note takes down a whole line of the child.
func note(t *testing.T, line string, acknowledged map[string]uint64) {
	var id string
	var n uint64
	if strings.HasPrefix(line, "error") {
		t.Error(line)
	} else if _, err := fmt.Sscan(line, &id, &n); err == nil {
		acknowledged[id] = max(acknowledged[id], n)
	}
}

// filled is a folder with a checkpoint and journals, as a kill leaves it.
func filled(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for n := uint64(1); n <= 6; n++ {
		d := diskAt(t, folder, testLimits(), createFile)
		if _, err := d.apply(t.Context(), windowOf("a", aLog, n)); err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			if err := d.close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		d.die()
	}
	return folder
}

// TestDiskDamage cuts and alters each file everywhere: what can be read is a prefix,
// and anything else is an error that names the file.
func TestDiskDamage(t *testing.T) {
	folder := filled(t)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damage := func(what string, bad []byte) {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			d := &disk{memory: memory{state: newState(testLimits(), time.Now)}, folder: folder, codec: filledCodec(t), logger: hclog.NewNullLogger()}
			err := d.load()
			switch {
			case err != nil && !strings.Contains(err.Error(), "journal-") && !strings.Contains(err.Error(), "checkpoint-"):
				t.Errorf("%s, %s: %v", e.Name(), what, err)
			case err == nil:
				n := watermarkOf(d, "a")
				if n < 5 && !strings.HasPrefix(e.Name(), "journal") {
					t.Errorf("%s, %s: only %d windows are held", e.Name(), what, n)
				}
				wantTotal(t, serviceOn(&d.memory), total(n))
			}
		}
		for at := 0; at < len(good); at += 7 {
			damage(fmt.Sprint("cut at ", at), good[:at])
			bad := append([]byte{}, good...)
			bad[at] ^= 0x55
			damage(fmt.Sprint("altered at ", at), bad)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A bad frame with good ones after it is not taken for a torn end.
	d := diskAt(t, folder, testLimits(), createFile)
	for n := uint64(7); n <= 9; n++ {
		if _, err := d.apply(t.Context(), windowOf("a", aLog, n)); err != nil {
			t.Fatal(err)
		}
	}
	path := d.path("journal", d.generation)
	d.die()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[frameHead+3] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(folder, testLimits(), time.Now, createFile, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), path+" is damaged at byte 0") {
		t.Errorf("a damaged middle: %v", err)
	}
}

func filledCodec(t *testing.T) *codec {
	t.Helper()
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// faultyFile fails when it is told to.
type faultyFile struct {
	file
	faults *faults
}

type faults struct {
	write, sync, truncate, create atomic.Pointer[error]
}

func (f *faults) files(path string) (file, error) {
	if err := f.create.Load(); err != nil {
		return nil, *err
	}
	real, err := createFile(path)
	return &faultyFile{real, f}, err
}

// Write writes half of what it should, as a full disk does.
func (f *faultyFile) Write(b []byte) (int, error) {
	if err := f.faults.write.Load(); err != nil {
		n, _ := f.file.Write(b[:len(b)/2])
		return n, *err
	}
	return f.file.Write(b)
}

func (f *faultyFile) Sync() error {
	if err := f.faults.sync.Load(); err != nil {
		return *err
	}
	return f.file.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.faults.truncate.Load(); err != nil {
		return *err
	}
	return f.file.Truncate(size)
}

// TestDiskFails: while the disk refuses, pushes are to be tried again and scrapes
// are answered; nothing is half applied, then or after a kill; and it heals.
func TestDiskFails(t *testing.T) {
	full, broken := error(unix.ENOSPC), error(unix.EIO)
	for name, set := range map[string]func(f *faults, on bool){
		"full": func(f *faults, on bool) { toggle(&f.write, &full, on) },
		"full, and cannot be cut": func(f *faults, on bool) {
			toggle(&f.write, &full, on)
			toggle(&f.truncate, &broken, on)
		},
		"no sync": func(f *faults, on bool) { toggle(&f.sync, &broken, on) },
		"all of it": func(f *faults, on bool) {
			toggle(&f.sync, &broken, on)
			toggle(&f.create, &full, on)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder, f := t.TempDir(), &faults{}
			d := diskAt(t, folder, testLimits(), f.files)
			s := serviceOn(d)
			mustTake(t, s, windowRequest(windowOf("a", aLog, 1)))
			for round := range uint64(3) {
				n := 2 + round
				set(f, true)
				for range 2 {
					_, err := s.take(t.Context(), windowRequest(windowOf("a", aLog, n)))
					var r *refusal
					if !errors.As(err, &r) || r.code != codeUnavailable || r.after == 0 {
						t.Errorf("a push: %v", err)
					}
					if _, err := d.remove(t.Context(), "a"); codeOf(err) != codeUnavailable {
						t.Errorf("a removal: %v", err)
					}
				}
				wantTotal(t, s, total(n-1))
				if d.ready() == nil {
					t.Error("it is ready")
				}
				set(f, false)
				eventually(t, "it heals", func() bool { return d.ready() == nil })
				mustTake(t, s, windowRequest(windowOf("a", aLog, n)))
				wantTotal(t, s, total(n))
				if round == 1 {
					continue
				}
				d.die()
				d = diskAt(t, folder, testLimits(), f.files)
				s = serviceOn(d)
				wantTotal(t, s, total(n))
			}
			if err := d.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func toggle(at *atomic.Pointer[error], err *error, on bool) {
	if !on {
		err = nil
	}
	at.Store(err)
}

// TestDiskFull fills a real file system.
func TestDiskFull(t *testing.T) {
	folder := t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getenv("NETMON_REQUIRE_NET") == "1" {
			t.Fatalf("mount a tmpfs, and NETMON_REQUIRE_NET=1: %v", err)
		}
		t.Skipf("needs CAP_SYS_ADMIN to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
	d := diskAt(t, folder, testLimits(), createFile)
	s := serviceOn(d)
	mustTake(t, s, windowRequest(windowOf("a", aLog, 1)))
	ballast, err := os.Create(filepath.Join(folder, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(ballast, zeros{}); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	n := uint64(2)
	for ; ; n++ { // until the page that is there already is full
		if _, err = s.take(t.Context(), windowRequest(windowOf("a", aLog, n))); err != nil {
			break
		}
	}
	if codeOf(err) != codeUnavailable || d.ready() == nil {
		t.Errorf("a push to a full disk: %v, ready: %v", err, d.ready())
	}
	wantTotal(t, s, total(n-1))
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	_ = ballast.Close()
	eventually(t, "it heals", func() bool { return d.ready() == nil })
	push(t, s, "a", aLog, n)
	d.die()
	d = diskAt(t, folder, testLimits(), createFile)
	wantTotal(t, serviceOn(d), total(n))
	d.die()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestDiskSweeps: who was silent while the server was away is not forgotten at once,
// and who is forgotten stays so.
func TestDiskSweeps(t *testing.T) {
	folder := t.TempDir()
	now := atomic.Pointer[time.Time]{}
	at := func(d time.Duration) { v := time.Unix(1_700_000_000, 0).Add(d); now.Store(&v) }
	at(0)
	l := testLimits()
	l.forgetAfter = time.Hour
	open := func() *disk {
		d, err := openDisk(folder, l, func() time.Time { return *now.Load() }, createFile, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open()
	for _, id := range []string{"a", "b"} {
		if _, err := d.apply(t.Context(), windowOf(id, aLog, 1)); err != nil {
			t.Fatal(err)
		}
	}
	d.die()
	at(2 * time.Hour)
	d = open()
	if forgotten, err := d.sweep(t.Context()); err != nil || len(forgotten) > 0 {
		t.Errorf("forgotten right after the start: %v %v", forgotten, err)
	}
	if _, err := d.apply(t.Context(), windowOf("b", aLog, 2)); err != nil {
		t.Fatal(err)
	}
	at(2*time.Hour + grace + time.Second)
	if forgotten, err := d.sweep(t.Context()); err != nil || len(forgotten) != 1 || forgotten[0] != "a" {
		t.Errorf("forgotten: %v %v", forgotten, err)
	}
	d.die()
	d = open()
	defer d.close()
	if a, b := watermarkOf(d, "a"), watermarkOf(d, "b"); a != 0 || b != 2 {
		t.Errorf("after a kill: %d windows of a, %d of b", a, b)
	}
}

// TestDiskLinks: where links stand in the place of the store's files nothing is made
// behind them.
func TestDiskLinks(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	for _, name := range []string{"lock", "checkpoint.tmp"} {
		folder := t.TempDir()
		if err := os.Symlink(outside, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
		d, err := openDisk(folder, testLimits(), time.Now, createFile, hclog.NewNullLogger())
		if err == nil { // it has no checkpoint to make before it ends
			err = d.close()
		}
		if !errors.Is(err, syscall.ELOOP) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(outside); err == nil {
			t.Errorf("%s was followed", name)
		}
	}
}
