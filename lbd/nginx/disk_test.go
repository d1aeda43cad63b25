package nginx

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/step"
)

// What disks and folders do to an Apply: nothing is lost, nothing is half done, the error says what to do, and once the
// trouble is over the same files go in. It mounts, so it runs in a mount namespace of its own.
func TestDiskTrouble(t *testing.T) {
	if os.Getenv("NGINX_TEST_MOUNTS") == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestDiskTrouble$", "-test.v")
		child.Env = append(os.Environ(), "NGINX_TEST_MOUNTS=1")
		child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if os.Geteuid() != 0 {
			child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
			child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		}
		out, err := child.CombinedOutput()
		if !bytes.Contains(out, []byte("--- PASS: TestDiskTrouble")) || err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		// do brings the trouble to the site and returns what ends it.
		do   func(m *mounts) (end func())
		at   step.Name // of the error; "": there is none
		want []string  // in the error
	}{
		{"the folder's disk is full", func(m *mounts) func() { return m.fill(m.tmpfs("conf.d")) }, step.Install, []string{"no space left", "make room on that file system"}},
		{"the state folder's disk is full", func(m *mounts) func() { return m.fill(m.tmpfs("state")) }, "", nil}, // goes in, unrecorded
		{"the folder is read-only", func(m *mounts) func() { return m.readOnly("conf.d") }, step.Install, []string{"read-only file system", "ReadWritePaths"}},
		{"the state folder is read-only", func(m *mounts) func() { return m.readOnly("state") }, step.Install, []string{"read-only file system", "ReadWritePaths"}},
		{"the output is a mount of one file", func(m *mounts) func() { return m.bind("conf.d/out.conf", "elsewhere") }, step.Install, []string{"device or resource busy", "mount the folder"}},
		{"the output is a folder", func(m *mounts) func() {
			m.must(os.Rename(m.s.out, m.s.out+".aside"), os.Mkdir(m.s.out, 0o755))
			return func() { m.must(os.Remove(m.s.out), os.Rename(m.s.out+".aside", m.s.out)) }
		}, step.Install, []string{"not a regular file"}},
		{"the output's link leads nowhere that can be", func(m *mounts) func() {
			m.must(os.Rename(m.s.out, m.s.out+".aside"), os.Symlink("../no/such/folder/x", m.s.out))
			return func() { m.must(os.Remove(m.s.out), os.Rename(m.s.out+".aside", m.s.out)) }
		}, step.Install, []string{"no such file or directory"}},
		{"the output's link leads to itself", func(m *mounts) func() {
			m.must(os.Rename(m.s.out, m.s.out+".aside"), os.Symlink("out.conf", m.s.out))
			return func() { m.must(os.Remove(m.s.out), os.Rename(m.s.out+".aside", m.s.out)) }
		}, step.Install, []string{"too many"}},
		{"the disk fills up while nginx reloads, and the reload fails", func(m *mounts) func() {
			dir := m.tmpfs("conf.d")
			m.s.n = m.s.open(Options{Reload: []string{"sh", "-c", "cat /dev/zero > " + dir + "/filler 2> /dev/null; exit 7"}})
			return func() { m.must(os.Remove(dir + "/filler")) }
		}, step.Reload, []string{"exit status 7", "the former files are not proven"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := running(t)
			s.apply(File{Path: s.out, Data: gen("before")})
			m := &mounts{s: s}
			t.Cleanup(m.undo)
			end := tc.do(m)
			live, _ := os.ReadFile(s.out) // some rows leave none that can be read
			same := s.undisturbed()
			files := []File{{Path: s.out, Data: append(gen("after"), bytes.Repeat([]byte("# much\n"), 1<<14)...)}}
			if tc.at == "" {
				if out := s.apply(files...); !out.Running {
					t.Errorf("outcome %+v", out)
				}
			} else {
				out, err := s.n.Apply(t.Context(), files, s.generation())
				checkError(t, err, tc.at, tc.want...)
				if out.Changed || out.Running {
					t.Errorf("outcome %+v", out)
				}
				if _, again := s.n.Apply(t.Context(), files, s.generation()); tc.at == step.Install && fmt.Sprint(again) != err.Error() {
					t.Errorf("the same trouble reads %q, and then %q", err, again)
				}
				if now, _ := os.ReadFile(s.out); !bytes.Equal(now, live) {
					t.Errorf("the live file holds %.100q, held %.100q", now, live)
				}
				same()
				s.serves("before")
			}
			end()
			s.n = s.open(Options{})
			if out := s.apply(File{Path: s.out, Data: gen("after")}); !out.Running {
				t.Errorf("outcome when it is over %+v", out)
			}
			s.serves("after")
			s.clean()
		})
	}
}

// mounts makes trouble in a site's folder and takes it away again.
type mounts struct {
	s     *site
	paths []string // mounted, in this order
}

func (m *mounts) must(errs ...error) {
	m.s.t.Helper()
	if err := errors.Join(errs...); err != nil {
		m.s.t.Fatal(err)
	}
}

func (m *mounts) undo() {
	for len(m.paths) > 0 {
		last := len(m.paths) - 1
		if err := unix.Unmount(m.paths[last], unix.MNT_DETACH); err != nil {
			m.s.t.Error(err)
		}
		m.paths = m.paths[:last]
	}
}

func (m *mounts) mount(source, name, kind string, flags uintptr, data string) string {
	m.s.t.Helper()
	path := filepath.Join(m.s.dir, name)
	m.must(os.MkdirAll(filepath.Dir(path), 0o755), unix.Mount(source, path, kind, flags, data))
	m.paths = append(m.paths, path)
	return path
}

// tmpfs puts a folder with what is in it on a small file system of its own. Nginx has nothing open there but its logs.
func (m *mounts) tmpfs(name string) (path string) {
	m.s.t.Helper()
	from := filepath.Join(m.s.dir, name)
	aside := m.s.t.TempDir()
	m.must(exec.Command("cp", "-a", from+"/.", aside).Run())
	path = m.mount("tmpfs", name, "tmpfs", 0, "size=512k")
	m.must(exec.Command("cp", "-a", aside+"/.", path).Run())
	return path
}

// fill leaves no room in the folder.
func (m *mounts) fill(dir string) (end func()) {
	m.s.t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		m.s.t.Fatal(err)
	}
	m.must(f.Close())
	return func() { m.must(os.Remove(f.Name())) }
}

func (m *mounts) readOnly(name string) (end func()) {
	m.s.t.Helper()
	path := m.mount(filepath.Join(m.s.dir, name), name, "", unix.MS_BIND, "")
	m.must(unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	return m.undo
}

// bind mounts a copy of a file on the file, as a container's single-file volume.
func (m *mounts) bind(name, source string) (end func()) {
	m.s.t.Helper()
	m.s.write(source, m.s.read(name))
	m.mount(filepath.Join(m.s.dir, source), name, "", unix.MS_BIND, "")
	return m.undo
}
