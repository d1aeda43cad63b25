package main

import (
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/cli"
)

const (
	shortest  = time.Second      // pause before SECOND is started again, doubled each time
	longest   = 30 * time.Second // up to this
	wellAfter = time.Minute      // SECOND has lived so long: the next pause is the shortest again
	grace     = 10 * time.Second // that SECOND has when MAIN has ended by itself
	retest    = 200 * time.Millisecond
)

// supervisor is one goroutine's: whatever happens comes to it as an event, one after another.
type supervisor struct {
	opt                options
	log                *slog.Logger
	main, second, test child

	stops   int // stop signals so far
	over    bool
	code    int           // of main, once it is over
	pause   time.Duration // the last one; 0: none so far
	started time.Time     // second, the last time

	restart, retry, giveUp, kill <-chan time.Time // nil: nothing is due
}

func newSupervisor(opt options, log *slog.Logger) *supervisor {
	return &supervisor{opt: opt, log: log}
}

// run returns main's exit code when nothing of ours is left running.
func (s *supervisor) run(signals, ended <-chan os.Signal) int {
	adopt(s.log)
	defer killAll()
	if len(s.opt.test) > 0 {
		s.giveUp = time.After(s.opt.testTimeout)
		s.startTest()
	} else {
		s.startMain()
	}
	for !s.over || s.second.runs() {
		select {
		case sig := <-signals:
			s.signal(sig.(syscall.Signal))
		case <-ended:
			for pid, how := range reaped() {
				s.ended(pid, how)
			}
		case <-s.restart:
			s.restart = nil
			s.startSecond()
		case <-s.retry:
			s.startTest()
		case <-s.giveUp:
			s.log.Warn("the test did not pass in time: main starts even so", "test", s.opt.test, "after", s.opt.testTimeout.String())
			s.startMain()
		case <-s.kill:
			s.second.signal(syscall.SIGKILL)
		}
	}
	return s.code
}

func (s *supervisor) startMain() {
	s.retry, s.giveUp = nil, nil
	s.test.signal(syscall.SIGKILL)
	if err := s.main.start(s.opt.main, true); err != nil {
		s.log.Error("main can't be started", "error", err)
		s.mainOver(notFound)
	}
	s.startSecond()
}

// startSecond starts second unless it runs, or waits for its next start.
func (s *supervisor) startSecond() {
	if len(s.opt.second) == 0 || s.over || s.second.runs() || s.restart != nil {
		return
	}
	s.started = time.Now()
	if err := s.second.start(s.opt.second, true); err != nil {
		s.log.Error("second can't be started", "error", err, "restart_in", s.again().String())
	}
}

func (s *supervisor) startTest() {
	s.retry = nil
	if err := s.test.start(s.opt.test, false); err != nil {
		s.retry = time.After(retest)
	}
}

// again has second started after a pause, and returns how long that is.
func (s *supervisor) again() time.Duration {
	if s.pause = min(2*s.pause, longest); s.pause == 0 || time.Since(s.started) > wellAfter {
		s.pause = shortest
	}
	s.restart = time.After(s.pause)
	return s.pause
}

// ended is told of each child that is no more; the orphans among them are nobody's concern.
func (s *supervisor) ended(pid int, how syscall.WaitStatus) {
	switch pid {
	case s.main.pid:
		s.main.pid = 0
		s.mainOver(exitCode(how))
	case s.second.pid:
		s.second.pid = 0
		s.secondOver(exitCode(how))
	case s.test.pid:
		s.test.pid = 0
		switch {
		case s.main.runs() || s.stops > 0: // it is not asked any more
		case exitCode(how) == 0:
			s.startMain()
		default: // what second does may be what it waits for
			s.startSecond()
			s.retry = time.After(retest)
		}
	}
}

func (s *supervisor) mainOver(code int) {
	s.over, s.code = true, code
	s.restart = nil
	if s.stops == 0 {
		s.log.Error("main has ended", "program", s.opt.main[0], "code", code)
		s.second.signal(syscall.SIGTERM)
		s.kill = time.After(grace)
	}
}

func (s *supervisor) secondOver(code int) {
	switch {
	case s.stops > 0:
		s.stopMain(s.opt.stop)
	case s.over:
	case code == cli.Refused:
		s.log.Error("second has ended, and refuses to run: it is not started again", "program", s.opt.second[0], "code", code)
		s.opt.second = nil
	default:
		s.log.Error("second has ended, main goes on", "program", s.opt.second[0], "code", code, "restart_in", s.again().String())
	}
}

// signal does what a signal to the container asks for.
func (s *supervisor) signal(sig syscall.Signal) {
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		s.stop()
		return
	case syscall.SIGHUP:
		s.second.signal(sig)
	}
	if slices.Contains(s.opt.pass, sig) {
		s.main.signal(sig)
	}
}

// stop ends all: second first, so that main still works while second takes its leave.
func (s *supervisor) stop() {
	s.stops++
	s.restart, s.retry, s.giveUp = nil, nil, nil
	switch {
	case s.stops == 1 && s.second.runs():
		s.second.signal(syscall.SIGTERM)
	case s.stops == 1:
		s.stopMain(s.opt.stop)
	case s.stops == 2:
		s.second.signal(syscall.SIGTERM)
		s.stopMain(syscall.SIGTERM)
	default:
		s.second.signal(syscall.SIGKILL)
		s.stopMain(syscall.SIGKILL)
	}
}

func (s *supervisor) stopMain(sig syscall.Signal) {
	if !s.main.runs() {
		s.over = true // it was never begun, or is over already
		return
	}
	s.main.signal(sig)
}
