package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/lbd"
)

// wait waits until the condition holds.
func (s *Site) wait(within time.Duration, until func() error) {
	for deadline := time.Now().Add(within); ; {
		err := until()
		if err == nil {
			return
		}
		if s.ctx.Err() != nil {
			s.must(s.ctx.Err())
		}
		if time.Now().After(deadline) {
			s.fail("not within %v: %w", within, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// converges waits until lbd's Nginx serves these nodes, all of them and no other: they are in the file, lbd has proven
// it since then, and its traffic says the same. The time from since on is a figure of the row.
func (s *Site) converges(since time.Time, within time.Duration, ids ...string) {
	s.arrives(since, within, func() error { return s.settled(since, ids) })
	s.answers(ids...)
}

// arrives waits for a state and notes how long it took as the row's seconds to converge, unless it had longer waits.
func (s *Site) arrives(since time.Time, within time.Duration, until func() error) {
	s.wait(within, until)
	s.converged = max(s.converged, seconds(time.Since(since)))
}

// recovers is converges, and never are fewer than least nodes served on the way: those that were kept so far are not
// dropped because others are back.
func (s *Site) recovers(within time.Duration, least int, ids ...string) {
	since, enough := time.Now(), s.atLeast(least)
	s.arrives(since, within, func() error {
		s.must(enough())
		return s.settled(since, ids)
	})
	s.answers(ids...)
}

// settled returns nil once lbd serves what it wants, nothing is held, and that is these nodes.
func (s *Site) settled(since time.Time, ids []string) error {
	if err := s.inFile(ids); err != nil {
		return err
	}
	st, err := s.lbd.status(s.ctx)
	switch {
	case err != nil:
		return err
	case st.Redis.LastLook == nil || st.Redis.LastLook.Before(since):
		return fmt.Errorf("lbd has not looked since: %v", st.Redis)
	case st.Running != st.Wanted || st.Written != st.Wanted || st.Running == 0:
		return fmt.Errorf("generation %d is wanted, %d written, %d running: %q", st.Wanted, st.Written, st.Running, st.Problems)
	case st.Engine.Name != s.engine:
		return fmt.Errorf("changes go in by %s, want %s: %s", st.Engine.Name, s.engine, st.Engine.Why)
	case st.Engine.Pending != "":
		return fmt.Errorf("new requests may go by an older set: %s", st.Engine.Pending)
	case st.Guard.Held:
		return fmt.Errorf("held: %q", st.Guard.Why)
	}
	return s.lbd.ready(s.ctx)
}

// answers waits until all of these nodes answer the traffic to lbd's Nginx, and no other does.
func (s *Site) answers(ids ...string) {
	before := s.lb.gen.Counts()
	s.wait(retry, func() error {
		err := s.lb.answer(before, ids)
		if others := (*errOthers)(nil); errors.As(err, &others) {
			before = s.lb.gen.Counts() // requests under way; they end
		}
		return err
	})
}

// serves lets the traffic go on for d: all that time lbd's file has these nodes and no other, and so does the traffic.
func (s *Site) serves(d time.Duration, ids ...string) {
	slices.Sort(ids)
	before := s.lb.gen.Counts()
	s.during(d, func() error { return s.inFile(ids) })
	s.wait(retry, func() error { return s.lb.answer(before, ids) }) // a short d is too short for all of them to be asked
}

// sends lets the traffic go on for d: all of it goes to these nodes, whatever the file says.
func (s *Site) sends(d time.Duration, ids ...string) {
	before := s.lb.gen.Counts()
	s.during(d, func() error {
		err := s.lb.answer(before, ids)
		if others := (*errOthers)(nil); !errors.As(err, &others) {
			return nil
		}
		return err
	})
	s.wait(retry, func() error { return s.lb.answer(before, ids) })
}

// saysBehind waits until lbd says that its file is not what it serves live, and why.
func (s *Site) saysBehind(why ...string) {
	s.wait(soon, func() error {
		st, err := s.lbd.status(s.ctx)
		for _, text := range why {
			err = errors.Join(err, contains(st.Engine.Behind, text))
		}
		if err == nil && st.Written >= st.Running {
			err = fmt.Errorf("generation %d is said to be written, and %d to run", st.Written, st.Running)
		}
		return err
	})
}

// during ends the row if the condition does not hold at some moment of d.
func (s *Site) during(d time.Duration, holds func() error) {
	for end := time.Now().Add(d); time.Now().Before(end) && s.ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		s.must(holds())
	}
	s.must(s.ctx.Err())
}

func (s *Site) inFile(ids []string) error {
	got, err := s.served()
	if err == nil && !slices.Equal(got, ids) {
		err = fmt.Errorf("%s has %s, want %s", filepath.Base(s.lb.file()), few(got), few(ids))
	}
	return err
}

// few shows the first of many.
func few(ids []string) string {
	const most = 12
	if len(ids) > most {
		return fmt.Sprintf("%v and %d more", ids[:most], len(ids)-most)
	}
	return fmt.Sprint(ids)
}

// says waits until /status or /readyz of lbd tells its operator of each of the texts.
func (s *Site) says(within time.Duration, texts ...string) {
	s.wait(within, func() error {
		_, status, err := s.lbd.get(s.ctx, "/status")
		for _, text := range texts {
			if err == nil && !strings.Contains(string(status), text) {
				err = fmt.Errorf("/status does not say %q", text)
			}
		}
		return err
	})
}

// held waits until lbd says that its guard keeps at least n nodes.
func (s *Site) held(within time.Duration, n int) {
	s.wait(within, func() error {
		st, err := s.lbd.status(s.ctx)
		if err == nil && (!st.Guard.Held || len(st.Guard.Nodes) < n) {
			err = fmt.Errorf("%d nodes are held, want %d: %+v", len(st.Guard.Nodes), n, st.Guard)
		}
		return err
	})
}

// quarantined waits until each of these entries is refused for a reason.
func (s *Site) quarantined(within time.Duration, ids ...string) {
	s.wait(within, func() error {
		st, err := s.lbd.status(s.ctx)
		for _, id := range ids {
			if err == nil && !slices.ContainsFunc(st.Quarantined, func(q lbd.Quarantine) bool { return q.ID == id && q.Why != "" }) {
				err = fmt.Errorf("%.60q is not in quarantine", id)
			}
		}
		return err
	})
}

// untouched remembers when lbd's file was written. The function it returns fails the row if anybody has written it since.
func (s *Site) untouched() (still func()) {
	look := func() time.Time {
		info, err := os.Stat(s.lb.file())
		s.must(err)
		return info.ModTime()
	}
	at := look()
	return func() {
		if now := look(); !now.Equal(at) {
			s.fail("%s was written at %s, which nothing asked for", s.lb.file(), now.Format("15:04:05.000"))
		}
	}
}

// looks waits until lbd has looked at Redis n times more.
func (s *Site) looks(n int) {
	for range n {
		asked := time.Now()
		s.wait(soon, func() error {
			st, err := s.lbd.status(s.ctx)
			if err == nil && (st.Redis.LastLook == nil || st.Redis.LastLook.Before(asked)) {
				err = fmt.Errorf("lbd has not looked for %v", time.Since(asked))
			}
			return err
		})
	}
}

func contains(text, part string) error {
	if !strings.Contains(text, part) {
		return fmt.Errorf("no %q in %.300q", part, text)
	}
	return nil
}
