package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Program is any other program as a child: a daemon under test, a server that
// has no type of its own here. It runs in a process group of its own, and what
// it writes, on either stream, is in a file.
type Program struct {
	proc *process
	log  string
}

// StartProgram starts argv[0], from PATH unless it is a path, in the folder
// dir, which must be there. Its log is dir/NAME.log, and goes on over restarts.
// Whether the program is ready is for the caller to find out.
func StartProgram(dir string, argv ...string) (*Program, error) {
	p := &Program{log: filepath.Join(dir, filepath.Base(argv[0])+".log")}
	var err error
	p.proc, err = spawn(argv, dir, p.log, syscall.SIGKILL)
	return p, err
}

// Alive says whether it runs.
func (p *Program) Alive() bool { return p.proc.alive() }

// Done is closed when it has ended.
func (p *Program) Done() <-chan struct{} { return p.proc.done }

// Err is how it ended, nil for exit code 0. It is for after Done.
func (p *Program) Err() error { return p.proc.err }

// Signal sends it a signal; one that has ended gets none, which is no error.
func (p *Program) Signal(sig syscall.Signal) error {
	if err := p.proc.signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.proc.pid, err)
	}
	return nil
}

// Stop ends it in order (SIGTERM) and waits for it.
func (p *Program) Stop() error { return p.proc.stop(syscall.SIGTERM) }

// Kill ends it and its children at once (SIGKILL) and waits until they are
// gone.
func (p *Program) Kill() error { return p.proc.kill() }

// Log returns all that it has written, over restarts in the same folder too.
func (p *Program) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return "no log: " + err.Error()
	}
	return string(text)
}

// LogTail returns the last lines of the log.
func (p *Program) LogTail() string { return tail(p.log) }
