package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// diskRows are faults of the disks that lbd writes to. What can't be written is not written by half.
func diskRows() []Row {
	return []Row{{
		Name:      "disk: full where Nginx's files are",
		Short:     true,
		Does:      "the folder's file system is filled to the last byte; a node is frozen; later there is room",
		MustHold:  "the old file stays whole, nothing is reloaded, lbd says so; the freeze is served when there is room",
		Live:      behind + "when there is room",
		ShortLive: onlyLua,
		Setup:     Setup{Mounts: []string{"conf.d"}},
		Run:       func(s *Site) { s.fullDisk(filepath.Dir(s.lb.file()), "no space left") },
	}, {
		Name:     "disk: full where lbd's state is",
		Short:    true,
		Does:     "the file system of state_dir is filled to the last byte; a node is frozen; later there is room",
		MustHold: "traffic goes on, lbd says so; the freeze is served when there is room at the latest",
		Live:     "the freeze is served at once, lbd says what it can't write; all is written when there is room",
		Setup:    Setup{Mounts: []string{"../lbd/state"}},
		Run: func(s *Site) {
			free := s.fill(s.lbd.state())
			s.freeze("web1")
			s.pause(2 * time.Second)
			s.must(s.testConf())
			if s.live() {
				s.answers(s.but("web1")...)
			} else {
				s.answers(s.onDisk()...)
			}
			s.wait(soon, func() error { return contains(s.lbd.Log()+s.problems(), "no space left") })
			free()
			s.converges(time.Now(), retry, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "disk: read-only",
		Does:     "the file system of Nginx's files becomes read-only; a node is frozen; later it can be written again",
		MustHold: "nothing is reloaded, lbd says so; the freeze is served when it can be written",
		Live:     behind + "when they can be written",
		Setup:    Setup{Mounts: []string{"conf.d"}},
		Run: func(s *Site) {
			dir := filepath.Dir(s.lb.file())
			s.must(syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
			s.cantWrite(3*time.Second, "read-only file system")
			s.must(syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""))
			s.converges(time.Now(), retry, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:           "disk: the output becomes a link",
		Short:          true,
		Does:           "the operator moves lbd's file elsewhere and leaves a link; a node is frozen",
		MustHold:       "the link stays, the file that it names is kept in step",
		Reloads:        1, // it is another file
		ReloadsResolve: 1, // it goes back over a bridge
		Run: func(s *Site) {
			file := s.lb.file()
			real := filepath.Join(s.dir, "elsewhere", "upstream.conf")
			s.must(os.MkdirAll(filepath.Dir(real), 0o755))
			s.must(os.Rename(file, real))
			s.must(os.Symlink(real, file))
			s.worksOn()
			if to, err := os.Readlink(file); err != nil || to != real {
				s.fail("the link now names %q (%w)", to, err)
			}
		},
	}, {
		Name:     "disk: the output is a bind-mounted file",
		Does:     "a single file is mounted over lbd's, as container set-ups do; a node is frozen; the mount is taken away",
		MustHold: "lbd says that it can't replace it and writes no half file; the freeze is served afterwards",
		Live:     behind + "when the mount is gone",
		Reloads:  1, // the file is another one than was proven
		Run: func(s *Site) {
			file, other := s.lb.file(), filepath.Join(s.dir, "mounted.conf")
			text, err := os.ReadFile(file)
			s.must(err)
			s.must(write(other, string(text)))
			if err := syscall.Mount(other, file, "", syscall.MS_BIND, ""); err != nil {
				s.fail("%w: a bind mount needs root's right to mount: %w", errCannot, err)
			}
			mounted := true
			umount := func() error {
				if !mounted {
					return nil
				}
				mounted = false
				return syscall.Unmount(file, syscall.MNT_DETACH)
			}
			s.atEnd(umount)
			s.cantWrite(2*time.Second, "mount")
			s.must(s.testConf())
			s.must(umount())
			s.converges(time.Now(), retry, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:           "disk: the output is removed",
		Short:          true,
		Does:           "somebody deletes lbd's file while Nginx runs",
		MustHold:       "lbd writes it again by itself; traffic goes on",
		Reloads:        1, // Nginx is proven by reading what is on disk
		ReloadsResolve: 1, // it goes back over a bridge
		Run: func(s *Site) {
			s.must(os.Remove(s.lb.file()))
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:           "disk: the output is cut short",
		Short:          true,
		Does:           "somebody writes half a directive into lbd's file while Nginx runs",
		MustHold:       "lbd writes it again by itself; traffic goes on",
		Reloads:        1, // Nginx is proven by reading what is on disk
		ReloadsResolve: 1, // it goes back over a bridge
		Run: func(s *Site) {
			s.must(write(s.lb.file(), "upstream app_backend { serv"))
			s.converges(time.Now(), soon, s.all()...)
			s.must(s.testConf())
		},
	}, {
		Name:           "disk: lbd's memory is rubbish",
		Short:          true,
		Does:           "lbd is killed, every file of its state folder is overwritten with rubbish, Redis is empty; lbd starts",
		MustHold:       "the last good set is served all the time: Nginx's own file is believed",
		Reloads:        2, // what Nginx was proven to have read is not known any more, and which peers are whose
		ReloadsResolve: 1, // it goes back over a bridge
		Run: func(s *Site) {
			s.must(s.lbd.kill9())
			s.agents(s.all(), (*node).endAgent)
			s.redisDo("FLUSHALL")
			untouched := s.untouched()
			s.must(filepath.WalkDir(s.lbd.state(), func(path string, d os.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					err = write(path, "\x00rubbish{")
				}
				return err
			}))
			s.must(s.lbd.start())
			s.serves(3*time.Second, s.all()...)
			untouched()
			s.agents(s.all(), func(n *node) error { return n.startAgent(s.ctx) })
			s.converges(time.Now(), soon, s.all()...)
		},
	}}
}

// fullDisk fills the disk below Nginx's files.
func (s *Site) fullDisk(dir, says string) {
	free := s.fill(dir)
	s.cantWrite(3*time.Second, says)
	s.must(s.testConf())
	free()
	s.converges(time.Now(), retry, s.but("web1")...)
	s.unfreeze("web1")
	s.converges(time.Now(), soon, s.all()...)
}

// behind is what must hold where lbd can't write while a live engine goes on.
const behind = "the freeze is served at once, the old file stays whole, nothing is reloaded, lbd says that the file is behind; it catches up "

// cantWrite freezes a node while lbd can't write its file, and wants for some time that nothing changes, or with a live
// engine that the node gets nothing more; and that lbd says why the file is not what it should be.
func (s *Site) cantWrite(d time.Duration, says ...string) {
	untouched := s.untouched()
	before := reconfigured(s.lb.ErrorLog)
	s.freeze("web1")
	s.says(soon, says...)
	if s.live() {
		s.answers(s.but("web1")...)
		s.sends(d, s.but("web1")...)
		s.wait(soon, func() error {
			st, err := s.lbd.status(s.ctx)
			if err == nil && st.Written >= st.Running {
				err = fmt.Errorf("generation %d is said to be written, and %d to run", st.Written, st.Running)
			}
			return err
		})
	} else {
		s.serves(d, s.all()...)
	}
	untouched()
	if n := reconfigured(s.lb.ErrorLog); n != before {
		s.fail("%d reloads though nothing could be written", n-before)
	}
}

// fill leaves no byte free below dir; free gives them back.
func (s *Site) fill(dir string) (free func()) {
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	s.must(err)
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 { // to the last byte
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			s.must(err)
		}
	}
	return func() { s.must(os.Remove(path)) }
}

// problems is what /readyz complains of.
func (s *Site) problems() string { return fmt.Sprint(s.lbd.ready(s.ctx)) }
