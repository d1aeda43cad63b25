package nginx

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/step"
)

// interfering returns an Nginx whose binary runs the real one and then, after a test with -T, does what script says.
func (s *site) interfering(script string) *Nginx {
	s.t.Helper()
	real, err := exec.LookPath("nginx")
	if err != nil {
		s.t.Fatalf("nginx is not installed: run `make deps` (%v)", err)
	}
	s.write("bin/nginx", "#!/bin/sh\n"+real+" \"$@\"\nstatus=$?\ncase \"$1\" in -T) cd "+s.dir+" && "+script+" ;; esac\nexit $status\n")
	binary := filepath.Join(s.dir, "bin/nginx")
	if err := os.Chmod(binary, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return s.open(Options{Binary: binary})
}

// Somebody breaks the configuration between our test and our install.
func TestSecondTest(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"another file": "echo 'borken;' > conf.d/other.conf", "a new file": "echo 'borken;' > conf.d/new.conf",
		"the main file": "echo 'borken;' >> nginx.conf", "a file that is gone": "rm conf.d/needed",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "include conf.d/*.conf; include conf.d/needed;", map[string]string{
				"conf.d/out.conf": string(gen("g0")), "conf.d/other.conf": "# fine", "conf.d/needed": ""})
			s.start()
			same := s.undisturbed()
			s.n = s.interfering(script)
			out := s.refuses(step.Test, []File{{Path: s.out, Data: gen("g1")}}, "somebody changed the configuration during the test")
			if out.Changed || out.Running {
				t.Errorf("outcome %+v", out)
			}
			s.holds("conf.d/out.conf", gen("g0"))
			same()
			s.clean()
		})
	}
	t.Run("a harmless change", func(t *testing.T) {
		s := running(t)
		s.n = s.interfering("echo '# fine' > conf.d/new.conf")
		s.apply(File{Path: s.out, Data: gen("g1")})
		s.serves("g1")
	})
}

func TestOutputsThatCannotBe(t *testing.T) {
	s := running(t)
	if err := syscall.Mkfifo(filepath.Join(s.dir, "conf.d/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"conf.d/relative.conf":             "not absolute",
		s.dir + "/conf.d":                  "not a regular file",
		s.dir + "/conf.d/fifo":             "not a regular file",
		s.dir + "/no/such/folder/out.conf": "no such file or directory",
		"/proc/lbd.conf":                   "/proc",
	} {
		s.refuses(step.Install, []File{{Path: path, Data: gen("g1")}}, want)
	}
	s.clean()
}

// A second file that cannot be installed takes the first one back.
func TestInstallIsAllOrNothing(t *testing.T) {
	s := running(t)
	s.apply() // makes the state folder
	one := File{Path: s.out, Data: gen("g1")}
	two := File{Path: filepath.Join(s.dir, "conf.d/two.conf"), Data: []byte("#")}
	outs, err := s.n.outputs([]File{one, two})
	if err != nil {
		t.Fatal(err)
	}
	if err := stage(outs); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(outs[1].staged); err != nil {
		t.Fatal(err)
	}
	checkError(t, s.n.install(outs), step.Install, "install "+two.Path, "no such file")
	discard(outs)
	s.holds("conf.d/out.conf", gen("g0"))
	s.clean()
}

func TestWayOut(t *testing.T) {
	for err, want := range map[error]string{
		syscall.EBUSY: "mount the folder /etc/nginx/conf.d instead of the file", syscall.EROFS: "ReadWritePaths", fs.ErrPermission: "/etc/nginx/conf.d",
		syscall.ENOSPC: "make room", syscall.ENOENT: "make the folder /etc/nginx/conf.d",
	} {
		if got := wayOut(&fs.PathError{Err: err}, "/etc/nginx/conf.d/x.conf"); !strings.Contains(got, want) {
			t.Errorf("%v: %q", err, got)
		}
	}
	if got := wayOut(errors.New("x"), "/x"); got != "" {
		t.Errorf("a hint for nothing: %q", got)
	}
}

// Where lbd may not write beside nginx.conf, a link made once leads to where it may.
func TestShadowBehindALink(t *testing.T) {
	s := running(t)
	s.link(filepath.Join(s.dir, "state/main"), ".nginx.conf.lbd")
	s.write("state/main", "left by a killed lbd")
	if err := os.Chmod(filepath.Join(s.dir, "state/main"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.apply(File{Path: s.out, Data: gen("g1")})
	s.serves("g1")
	if _, err := os.Lstat(filepath.Join(s.dir, "state/main")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy stayed: %v", err)
	}
	s.refuses(step.Test, []File{{Path: s.out, Data: append(gen("g1"), "upstream u {}"...)}}, s.out+":2")
}

// A link made to the wrong file must not cost that file.
func TestShadowLinkToTheOperatorsFile(t *testing.T) {
	for _, mode := range []os.FileMode{0o644, 0o600} {
		s := running(t)
		main := filepath.Join(s.dir, "nginx.conf")
		if err := os.Chmod(main, mode); err != nil {
			t.Fatal(err)
		}
		s.link("nginx.conf", ".nginx.conf.lbd")
		s.refuses(step.Test, []File{{Path: s.out, Data: gen("g1")}}, "no copy that lbd made")
		if _, err := os.Stat(main); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}
